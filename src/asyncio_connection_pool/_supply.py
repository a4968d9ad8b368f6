"""Supply: opens and resets in flight, each of which ends at the head of the queue."""

from __future__ import annotations

import inspect
import logging
import math
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from asyncio_connection_pool._errors import closed_at_birth, pool_timeout
from asyncio_connection_pool._maintenance import Shrinker
from asyncio_connection_pool._queue import Waiter
from asyncio_connection_pool._slot import GONE, OPENING, READY
from asyncio_connection_pool._strategy import creator, overrides
from asyncio_connection_pool._tasks import cancelled_by_others, failure

if TYPE_CHECKING:
    import asyncio

    from asyncio_connection_pool._closing import Close, Closing
    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._questions import Questions
    from asyncio_connection_pool._slot import Slot
    from asyncio_connection_pool._strategy import ConnectionStrategy
    from asyncio_connection_pool._tasks import PoolTasks

Conn = TypeVar("Conn")
log = logging.getLogger("asyncio_connection_pool")

STILLBIRTHS: Final = 16
"""New connections that may be closed in a row before a caller is told of it (C7)."""


class Supply(Generic[Conn]):
    """Opens connections while the queue needs them, and places what comes free."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger[Conn],
        tasks: PoolTasks,
        closing: Closing[Conn],
        strategy: ConnectionStrategy[Conn],
        questions: Questions[Conn],
        *,
        connect_timeout: float | None,
        shrink_delay: float,
    ) -> None:
        """Begin with nothing in flight; both times are in seconds."""
        self._loop = loop
        self._ledger = ledger
        self._tasks = tasks
        self._closing = closing
        self._strategy = strategy
        self._questions = questions
        self._connect_timeout = connect_timeout
        self._shrinker: Shrinker[Conn] | None = None
        if shrink_delay:
            retire = weakref.WeakMethod(self.retire_surplus)
            self._shrinker = Shrinker(loop, ledger, shrink_delay, retire)
        self._create_connection = creator(strategy)
        self._resets = overrides(strategy, "reset_connection")
        self._flights: dict[Slot[Conn], asyncio.Task[Any]] = {}
        self._stillbirths = 0
        self.last_failure: BaseException | None = None
        """Why the last open failed; None once one succeeds."""

    # Opening.

    def refill(self) -> None:
        """Open what the queue needs and the limits allow."""
        while (order := self._ledger.next_open()) is not None:
            self._open(*order)

    def _open(self, slot: Slot[Conn], waiter: Waiter) -> None:
        """Open a connection, with the context variables of `waiter` (C5)."""
        timer = None
        if self._connect_timeout is not None:
            timer = self._loop.call_later(self._connect_timeout, self._break_off, slot)
        try:
            self._flights[slot] = self._tasks.start(
                self._create(),
                partial(self._opened, slot, timer),
                to="open",
                context=waiter.context.copy(),
            )
        except BaseException:
            self._ledger.free(slot)
            if timer is not None:
                timer.cancel()
            raise

    async def _create(self) -> Conn:
        coming: Any = self._create_connection()
        if not inspect.isawaitable(coming):
            self._closing.drop(coming)
            raise TypeError(
                "create_connection must be a coroutine function; "
                f"it returned {coming!r} of type {type(coming).__qualname__}"
            )
        conn: Conn = await coming
        return conn

    def _opened(
        self,
        slot: Slot[Conn],
        timer: asyncio.TimerHandle | None,
        task: asyncio.Task[Conn],
    ) -> None:
        """Settle an open: a connection, a failure, or neither."""
        del self._flights[slot]
        if timer is not None:
            timer.cancel()
        error = failure(task)
        if slot.state is GONE:
            return  # in a forked child that goes on with its parent's loop
        if slot.state is not OPENING:
            self._unwind(slot, task, error)
        elif error is None:
            self.last_failure = None
            self._ledger.opened(slot, task.result())
            self._born(slot)
        elif cancelled_by_others(task):
            self._ledger.free(slot)
        else:
            self._ledger.open_failed(slot)
            self.last_failure = error
            self._refuse(error)
        self.refill()

    def _born(self, slot: Slot[Conn]) -> None:
        """Place a new connection, if it is not closed already (C7)."""
        try:
            stillborn = not self._fit_to_hand_over(slot)
        except BaseException as error:
            self._refuse(error)
            return
        if not stillborn:
            self._stillbirths = 0
            self._place(slot)
            return
        self._stillbirths += 1
        if self._stillbirths >= STILLBIRTHS:
            self._stillbirths = 0
            self._refuse(closed_at_birth(self._ledger.stats(), STILLBIRTHS))

    def _refuse(self, error: BaseException) -> None:
        """Raise what went wrong to the first waiter, else log it (C6)."""
        waiter = self._ledger.next_waiter()
        if waiter is not None:
            waiter.future.set_exception(error)
        else:
            self.log("nobody waits for what a connection failed with", error)

    def _break_off(self, slot: Slot[Conn]) -> None:
        """Give up an open that takes longer than `connect_timeout`."""
        task = self._flights[slot]
        if task.done() or self._connect_timeout is None:
            return
        stats = self._ledger.stats()
        self._ledger.break_off(slot)
        task.cancel()
        error = pool_timeout(stats, self._connect_timeout, "opening", None)
        self.last_failure = error
        self._refuse(error)

    def _unwind(self, slot: Slot[Conn], task: asyncio.Task[Conn], error: BaseException | None) -> None:
        """Settle an open that was given up: what it yields all the same is closed."""
        self._ledger.unwound(slot, yielded=error is None)
        if error is None:
            slot.conn = task.result()
            self._closing.begin(slot, self.refill)

    # Placing.

    def fit(self, slot: Slot[Conn]) -> bool:
        """Ask whether a connection is still open; drop it if not (C7).

        Raises:
            BaseException: See `Questions.closed`; the connection is dropped.
        """
        try:
            if not self._questions.closed(slot.conn):
                return True
        except BaseException:
            self.drop(slot)
            raise
        self.drop(slot)
        return False

    def _fit_to_hand_over(self, slot: Slot[Conn]) -> bool:
        """Ask only if somebody may be about to get the connection."""
        return not self._ledger.queue.length or bool(slot.doom) or self.fit(slot)

    def drop(self, slot: Slot[Conn]) -> None:
        """Free the slot of a closed connection at once, and see it off."""
        self._ledger.free(slot, "dead")
        self._closing.drop(slot.conn)

    def offer(self, slot: Slot[Conn]) -> Close[Conn] | None:
        """Give a connection to whom it is due, or lay it by, or close it.

        Returns:
            The close, if the connection is surplus.
        """
        try:
            if self._fit_to_hand_over(slot):
                return self._place(slot)
        except BaseException:
            self.refill()
            raise
        self.refill()
        return None

    def _offer_in_background(self, slot: Slot[Conn]) -> None:
        """Do so where the running caller is not to be told of what is wrong (C7)."""
        try:
            if self._fit_to_hand_over(slot):
                self._place(slot)
        except BaseException as error:
            self._refuse(error)
        self.refill()

    def lay_by(self, slot: Slot[Conn]) -> None:
        """Offer a connection that was handed over in vain."""
        if slot.state is READY:
            self._offer_in_background(slot)

    def _place(self, slot: Slot[Conn]) -> Close[Conn] | None:
        placed = self._ledger.place(slot)
        if isinstance(placed, Waiter):
            placed.future.set_result(slot)
        elif placed is not None:
            close = self._closing.begin(slot, self.refill)
            return close if placed == "surplus" else None
        elif self._shrinker is not None:
            self._shrinker.watch()
        return None

    # What comes back.

    def give_back(self, slot: Slot[Conn], exc: BaseException | None) -> Close[Conn] | None:
        """Take a connection back whose block has ended with `exc`.

        Returns:
            The close to wait for, if the connection is surplus (C8).
        """
        if slot.state is not READY:
            return None
        if slot.doom is None:
            self._judge(slot, exc)
        if self._resets and slot.doom is None and not self._ledger.sheds:
            self._reset(slot)
            return None
        return self.offer(slot)

    def _judge(self, slot: Slot[Conn], exc: BaseException | None) -> None:
        """Ask whether the connection is dirty, and doom it if so (C9)."""
        try:
            reusable = self._questions.reusable(slot.conn, exc)
        except BaseException:
            self._ledger.doom(slot, "dirty")
            self.offer(slot)
            raise
        if not reusable:
            self._ledger.doom(slot, "dirty")

    def _reset(self, slot: Slot[Conn]) -> None:
        self._ledger.begin_reset(slot)
        settle = partial(self._was_reset, slot)
        try:
            work = self._run_reset(slot.conn)
            self._flights[slot] = self._tasks.start(work, settle, to="reset")
        except BaseException:
            self._ledger.free(slot, "reset_failed")
            raise

    async def _run_reset(self, conn: Conn) -> None:
        await self._strategy.reset_connection(conn)

    def _was_reset(self, slot: Slot[Conn], task: asyncio.Task[None]) -> None:
        """Settle a reset: a clean connection, or one to close."""
        del self._flights[slot]
        error = failure(task)
        if slot.state is GONE:
            return
        if error is not None:
            self._ledger.doom(slot, "reset_failed")
            if not cancelled_by_others(task):
                self.log("reset_connection failed", error)
        self._offer_in_background(slot)

    # Limits and the end.

    def adjust(self) -> None:
        """Follow new limits: close what is surplus now, open what is needed."""
        if self._shrinker is not None:
            self._shrinker.redate()
        due = math.inf if self._shrinker is None else -math.inf
        while (slot := self._ledger.pop_surplus(due)) is not None:
            self.retire_surplus(slot)
        self.refill()

    def retire_surplus(self, slot: Slot[Conn]) -> None:
        """Close an idle connection that is reserved for that."""
        self._closing.begin(slot, self.refill)

    def cancel(self) -> None:
        """Cancel all that is in flight, and the timer (C12)."""
        if self._shrinker is not None:
            self._shrinker.stop()
        for task in self._flights.values():
            task.cancel()

    def log(self, what: str, error: BaseException) -> None:
        """Tell the log what no caller can be told."""
        log.warning("pool %r: %s", self._ledger.name, what, exc_info=error)
