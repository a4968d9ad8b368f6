"""Where a connection goes that comes free: to the queue, to the idle stack, or away."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asyncio_connection_pool._errors import not_a_coroutine, queue_too_slow
from asyncio_connection_pool._maintenance import Maintenance
from asyncio_connection_pool._queue import Waiter
from asyncio_connection_pool._slot import CLOSING, GONE, READY
from asyncio_connection_pool._strategy import overrides
from asyncio_connection_pool._tasks import cancelled_by_others, failure, purpose

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from asyncio_connection_pool._closing import Close, Closing
    from asyncio_connection_pool._holders import Holders
    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._observe import Observers
    from asyncio_connection_pool._outage import Recovery
    from asyncio_connection_pool._questions import Questions
    from asyncio_connection_pool._slot import Slot
    from asyncio_connection_pool._stats import CloseReason
    from asyncio_connection_pool._strategy import ConnectionStrategy
    from asyncio_connection_pool._tasks import PoolTasks

Conn = TypeVar("Conn")
log = logging.getLogger("asyncio_connection_pool")


class Placing(ABC, Generic[Conn]):
    """Carries out what the ledger decides of a connection that is open."""

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
        self._reconnects = recovery is not None
        self._connect_timeout = connect_timeout
        self._loop = loop
        self._ledger = ledger
        self._tasks = tasks
        self._closing = closing
        self._strategy = strategy
        self._questions = questions
        self._observers = observers
        self._policies = ledger.policies
        self._resets = overrides(strategy, "reset_connection")
        self._times_resets = observers.hears_of("on_reset")
        self._asks = self._resets or questions.at_every_return
        """Whether a return without an error is the strategy's business."""
        self._looks_at_entry = ledger.policies.looks_at_entry
        self._wears = ledger.policies.wears
        self._sheds_load = ledger.queue_policy is not None
        self.plain = not (self._asks or self._wears or self._looks_at_entry or self._sheds_load)
        """Whether what comes back goes straight to who waits, with no more than a look whether it is closed."""
        self._flights: dict[Slot[Conn], asyncio.Task[Any]] = {}
        """What is being opened, reset or validated, and by which task."""
        self._fills: dict[asyncio.Future[None], Context] = {}
        """Calls of `open()` that wait for `min_size` connections, each with its context."""
        self.maintenance = Maintenance(loop, ledger, self, recovery, holders)

    @abstractmethod
    def refill(self) -> None:
        """Start what supply the queue and `min_size` need."""

    def refuse(self, error: BaseException) -> None:
        """Raise what went wrong to the first waiter, or from `open()`, else log it (C6)."""
        waiter = self._ledger.next_waiter()
        if waiter is not None:
            waiter.future.set_exception(error)
        elif not self.fail_fills(error):
            self.log("nobody waits for what a connection failed with", error)

    def fail_fills(self, error: BaseException) -> bool:
        """Raise what went wrong from each call of `open()`; false if there is none."""
        waiting = [fill for fill in self._fills if not fill.done()]
        for fill in waiting:
            fill.set_exception(error)
        return bool(waiting)

    def retire(self, slot: Slot[Conn]) -> Close[Conn]:
        """Close a connection that is reserved for that, and open another if `min_size` asks for it."""
        close = self._closing.begin(slot, self.refill)
        if self._policies.min_size:
            self.refill()
        return close

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
        conn = slot.conn
        self._ledger.free(slot, "dead")
        self._closing.drop(conn)
        if self._policies.min_size:
            self.refill()

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
            self.refuse(error)
        self.refill()

    def lay_by(self, slot: Slot[Conn]) -> None:
        """Offer a connection that was handed over in vain."""
        if slot.state is READY:
            self._offer_in_background(slot)

    def _place(self, slot: Slot[Conn]) -> Close[Conn] | None:
        if self._looks_at_entry:
            self._ledger.look_at_age(slot, self._loop.time())
        return self.settle(slot)

    def settle(self, slot: Slot[Conn]) -> Close[Conn] | None:
        """Carry out what the ledger decides of a connection that is fit for use."""
        placed = self._ledger.place(slot, self._loop.time()) if self._sheds_load else self._ledger.place(slot)
        if self._ledger.refused:
            self._refuse_late()
        if isinstance(placed, Waiter):
            placed.future.set_result(slot)
        elif placed is not None:
            close = self.retire(slot)
            return close if placed == "surplus" else None
        else:
            self.maintenance.rested(slot)
        return None

    # What comes back.

    def _refuse_late(self) -> None:
        late, self._ledger.refused = self._ledger.refused, []
        for waiter in late:
            waited = self._loop.time() - waiter.since
            waiter.future.set_exception(queue_too_slow(self._ledger.stats(), waited))
            self._observers.rejected("queue_policy")

    def give_back(self, slot: Slot[Conn], exc: BaseException | None) -> Close[Conn] | None:
        """Take a connection back whose block has ended with `exc`.

        Returns:
            The close to wait for, if the connection is surplus (C8).
        """
        if slot.state is not READY:
            return None
        if self._wears:
            self._ledger.wear(slot, self._loop.time())
        if exc is None and not (self._asks or slot.doom or self._ledger.queue.length):
            return self.settle(slot)
        if exc is not None and slot.doom != "evicted" and self._questions.fatal(exc):
            self.maintenance.evict(0)
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

    # Resets and validations.

    def _reset(self, slot: Slot[Conn]) -> None:
        self._ledger.begin_reset(slot)
        since = self._loop.time() if self._times_resets else None
        self._work_on(slot, self._strategy.reset_connection, "reset_failed", to="reset", since=since)

    def _validate(self, slot: Slot[Conn]) -> None:
        self._work_on(slot, self._strategy.validate_connection, "validation_failed", to="validate")

    def _work_on(
        self,
        slot: Slot[Conn],
        work: Callable[[Conn], Awaitable[None]],
        reason: CloseReason,
        *,
        to: str,
        since: float | None = None,
    ) -> None:
        """Have the strategy do something to a connection, and offer it, or close it if that fails."""
        timer = None
        if self._connect_timeout is not None and reason == "validation_failed":
            timer = self._loop.call_later(self._connect_timeout, self._give_validation_up, slot)
        settle = partial(self._worked_on, slot, reason, timer, since)
        try:
            self._flights[slot] = self._tasks.start(_await(work, slot.conn, to), settle, to=to, eager=to == "reset")
        except BaseException:
            self._ledger.free(slot, reason)
            if timer is not None:
                timer.cancel()
            raise

    def _give_validation_up(self, slot: Slot[Conn]) -> None:
        """Close a connection that takes longer than `connect_timeout` to prove itself alive."""
        task = self._flights[slot]
        if not task.done():
            self._ledger.begin_close(slot, "validation_failed")
            task.cancel()
            self.refill()

    def _worked_on(
        self,
        slot: Slot[Conn],
        reason: CloseReason,
        timer: asyncio.TimerHandle | None,
        since: float | None,
        task: asyncio.Task[None],
    ) -> None:
        del self._flights[slot]
        if timer is not None:
            timer.cancel()
        error = failure(task)
        if slot.state is GONE:
            return
        if slot.state is CLOSING:
            self.retire(slot)
            return
        if error is not None:
            self._ledger.doom(slot, reason)
            if not cancelled_by_others(task):
                self.log(f"{purpose(task)} failed", error)
        elif since is not None and not task.cancelling():
            self._observers.was_reset(self._loop.time() - since)
        self._offer_in_background(slot)

    def log(self, what: str, error: BaseException) -> None:
        """Tell the log what no caller can be told."""
        log.warning("pool %r: %s", self._ledger.name, what, exc_info=error)


async def _await(work: Callable[[Conn], Any], conn: Conn, to: str) -> None:
    coming = work(conn)
    if not isawaitable(coming):
        raise not_a_coroutine(f"{to}_connection", coming)
    await coming
