"""Supply: opens and resets in flight, each of which ends at the head of the queue."""

from __future__ import annotations

import inspect
import logging
import math
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncio_connection_pool._account import NoLeave
from asyncio_connection_pool._errors import closed_at_birth, connect_timeout, not_a_coroutine
from asyncio_connection_pool._placing import Placing
from asyncio_connection_pool._queue import Waiter
from asyncio_connection_pool._slot import GONE, OPENING
from asyncio_connection_pool._strategy import creator
from asyncio_connection_pool._tasks import cancelled_by_others, failure

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from asyncio_connection_pool._account import Account
    from asyncio_connection_pool._closing import Closing
    from asyncio_connection_pool._holders import Holders
    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._observe import Observers
    from asyncio_connection_pool._outage import Recovery
    from asyncio_connection_pool._questions import Questions
    from asyncio_connection_pool._slot import Slot
    from asyncio_connection_pool._strategy import ConnectionStrategy
    from asyncio_connection_pool._tasks import PoolTasks

Conn = TypeVar("Conn")
log = logging.getLogger("asyncio_connection_pool")

STILLBIRTHS: Final = 16
"""New connections that may be closed in a row before a caller is told of it (C7)."""


class Supply(Placing[Conn]):
    """Opens connections while the queue or `min_size` needs them."""

    account: Account[Conn] | None = None
    """What is borrowed from a budget, where there is one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger[Conn],
        tasks: PoolTasks,
        closing: Closing[Conn],
        strategy: ConnectionStrategy[Conn],
        questions: Questions[Conn],
        recovery: Recovery | None,
        holders: Holders[Conn] | None,
        observers: Observers,
        *,
        connect_timeout: float | None,
    ) -> None:
        """Begin with nothing in flight; `connect_timeout` is in seconds."""
        parts = (loop, ledger, tasks, closing, strategy, questions, recovery, holders, observers)
        super().__init__(*parts, connect_timeout=connect_timeout)
        self._create_connection = creator(strategy)
        self._clocks: dict[Slot[Conn], asyncio.TimerHandle] = {}
        """What bounds each open by `connect_timeout`."""
        self._stillbirths = 0
        self.last_failure: BaseException | None = None
        """Why the last open failed; None once one succeeds."""

    # Opening.

    def refill(self) -> None:
        """Validate and open what the queue needs, open what `min_size` needs, as the limits allow."""
        if not (self._ledger.may_supply or self._policies.burst_delay or self.maintenance.armed):
            return
        while (due := self._ledger.next_validation()) is not None:
            self._validate(due)
        waits = self._policies.burst_delay
        now = self._loop.time() if waits else math.inf
        while (order := self._ledger.next_open(now)) is not None:
            self._open(*order)
        if waits or self.maintenance.armed:
            self.maintenance.arm()

    def _open(self, slot: Slot[Conn], waiter: Waiter | None) -> None:
        """Open a connection, with the context variables of `waiter` (C5)."""
        self._start_clock(slot)
        self._fly(slot, self._create(), waiter)

    def _fly(self, slot: Slot[Conn], opening: Coroutine[Any, Any, Conn], waiter: Waiter | None) -> None:
        try:
            self._flights[slot] = self._tasks.start(
                opening,
                partial(self._opened, slot, self._loop.time()),
                to="open",
                context=self._context_for(waiter),
            )
        except BaseException:
            self._stop_clock(slot)
            self._ledger.free(slot)
            raise

    def _context_for(self, waiter: Waiter | None) -> Context:
        """Choose the context of an open: that of who asked for it, else an empty one."""
        asked: Context | None = next(iter(self._fills.values()), None) if waiter is None else waiter.context
        return Context() if asked is None else asked.copy()

    def _start_clock(self, slot: Slot[Conn]) -> None:
        if self._connect_timeout is not None:
            self._clocks[slot] = self._loop.call_later(self._connect_timeout, self._break_off, slot)

    def _stop_clock(self, slot: Slot[Conn]) -> None:
        if slot in self._clocks:
            self._clocks.pop(slot).cancel()

    async def _create(self) -> Conn:
        span = self._observers.span("opening_span")
        try:
            conn = await self._create_unseen()
        except BaseException as error:
            span.close(error)
            raise
        span.close()
        return conn

    async def _create_unseen(self) -> Conn:
        coming: Any = self._create_connection()
        if not inspect.isawaitable(coming):
            self._closing.drop(coming)
            raise not_a_coroutine("create_connection", coming)
        conn: Conn = await coming
        return conn

    def _opened(self, slot: Slot[Conn], began: float, task: asyncio.Task[Conn]) -> None:
        """Settle an open: a connection, a failure, or neither."""
        del self._flights[slot]
        self._stop_clock(slot)
        error = failure(task)
        took = self._loop.time() - began
        if slot.state is GONE:
            return  # in a forked child that goes on with its parent's loop
        if slot.state is not OPENING:
            self._unwind(slot, task, error, took)
        elif error is None:
            self.last_failure = None
            self._ledger.opened(slot, task.result())
            self._observers.created(took)
            self._born(slot)
        elif isinstance(error, NoLeave) or cancelled_by_others(task):
            self._ledger.free(slot)
        else:
            self._ledger.open_failed(slot)
            self._observers.create_failed(took, error)
            self._fail(error, slot)
        self.refill()

    def _fail(self, error: BaseException, slot: Slot[Conn]) -> None:
        """Tell of an open that failed (C6), and see when the next one may be tried."""
        self.last_failure = error
        begins = self.maintenance.failed()
        if not self._reconnects:
            self.refuse(error)
        elif not self.fail_fills(error) and begins:
            self.log("a connection could not be opened; the next is tried after a while", error)
        if self._questions.fatal(error):
            self.maintenance.evict(0, slot.number)

    def _born(self, slot: Slot[Conn]) -> None:
        """Place a new connection, if it is not closed already (C7)."""
        try:
            stillborn = not self._fit_to_hand_over(slot)
        except BaseException as error:
            self.refuse(error)
            return
        if not stillborn:
            self._stillbirths = 0
            self.maintenance.born(slot)
            self._place(slot)
            return
        self._stillbirths += 1
        if self._stillbirths < STILLBIRTHS and not self._reconnects:
            return
        reason = closed_at_birth(self._ledger.stats(), self._stillbirths, self._questions.raised)
        if self._reconnects:
            self._fail(reason, slot)
        else:
            self._stillbirths = 0
            self.refuse(reason)

    def _break_off(self, slot: Slot[Conn]) -> None:
        """Give up an open that takes longer than `connect_timeout`."""
        task = self._flights[slot]
        if task.done() or self._connect_timeout is None:
            return
        stats = self._ledger.stats()
        self._ledger.break_off(slot)
        task.cancel()
        error = connect_timeout(stats, self._connect_timeout)
        self._observers.create_failed(self._connect_timeout, error)
        self._fail(error, slot)

    def _unwind(self, slot: Slot[Conn], task: asyncio.Task[Conn], error: BaseException | None, took: float) -> None:
        """Settle an open that was given up: what it yields all the same is closed."""
        self._ledger.unwound(slot, yielded=error is None)
        if error is None:
            self._observers.created(took)
            slot.conn = task.result()
            self._closing.begin(slot, self.refill)

    async def fill(self) -> None:
        """Open what `min_size` lacks, now and from now on, and wait for that.

        Raises:
            BaseException: What an open failed with.
        """
        fill: asyncio.Future[None] = self._loop.create_future()
        self._fills[fill] = copy_context()
        self._ledger.fills = True
        self.maintenance.retry_now()
        try:
            self.refill()
            await self._tasks.until(lambda: fill.done() or self._ledger.shut or self._ledger.full, None)
        except BaseException:
            if fill.done() and (error := fill.exception()) is not None:
                self.log("nobody waits for what a connection failed with", error)
            raise
        finally:
            del self._fills[fill]
        if fill.done():
            fill.result()

    # Limits and the end.

    def adjust(self) -> None:
        """Follow new limits: close what is surplus now, open what is needed."""
        self._ledger.limits_changed(self._loop.time())
        self.maintenance.arm()
        now = -math.inf if self._policies.shrink_delay else math.inf
        while (slot := self._ledger.pop_surplus(now)) is not None:
            self.retire(slot)
        self.refill()

    def cancel(self) -> None:
        """Cancel all that is in flight, and the timer (C12)."""
        self.maintenance.stop()
        for task in self._flights.values():
            task.cancel()
