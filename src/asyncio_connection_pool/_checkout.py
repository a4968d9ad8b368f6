"""How a caller gets a connection, and gives it back."""

from __future__ import annotations

from asyncio import BaseEventLoop
from contextvars import copy_context
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from asyncio_connection_pool import _errors
from asyncio_connection_pool._options import DEFAULT, Unset
from asyncio_connection_pool._queue import Waiter, WatchedWaiter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable

    from asyncio_connection_pool._closing import Close, Closing
    from asyncio_connection_pool._errors import PoolError, PoolTimeoutError, Stage
    from asyncio_connection_pool._holders import Holders
    from asyncio_connection_pool._ledger import Ledger, Refusal
    from asyncio_connection_pool._observe import Observers
    from asyncio_connection_pool._questions import Questions
    from asyncio_connection_pool._slot import Slot
    from asyncio_connection_pool._supply import Supply

Conn = TypeVar("Conn")

LONGEST: Final = 3
"""Holders of whom an error tells."""
SAME_MOMENT: Final = 0.01
"""Seconds in which timeouts tell the same ages, so that a thousand of them cost as much as one."""


class Checkout(Generic[Conn]):
    """What a `Lease` asks of the pool, where it is more than the ledger can say."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger[Conn],
        supply: Supply[Conn],
        closing: Closing[Conn],
        questions: Questions[Conn],
        holders: Holders[Conn] | None,
        observers: Observers,
        timeout: float | None,
    ) -> None:
        """Begin with nobody; `timeout` is for who brings none, in seconds."""
        self._loop = loop
        self._ledger = ledger
        self._is_closed = questions.is_closed
        self._supply = supply
        self._closing = closing
        self._questions = questions
        self._holders = holders
        self._observers = observers
        self._looked_at = -SAME_MOMENT
        self._ages = ""
        self._timeout = timeout
        self._plain = holders is None and supply.plain
        self._clock = monotonic if type(loop).time is BaseEventLoop.time else loop.time
        self._make_waiter = Waiter if holders is None else WatchedWaiter

    def take(self) -> Slot[Conn] | None:
        """Take an idle connection in a pool whose policies have a say in that."""
        now = self._loop.time()
        if self._supply.account is not None:
            self._supply.account.look()
        while (slot := self._ledger.take(now)) is not None:
            if slot.doom is not None:
                self._ledger.untake()
                self._supply.offer(slot)
                continue
            try:
                answer: object = self._is_closed(slot.conn)
                if not answer:
                    self._remember_holder(slot, now)
                    return slot
            except BaseException as exc:
                answer = exc
            self.refuse_idle(slot, answer)
        return None

    def _remember_holder(self, slot: Slot[Conn], now: float) -> None:
        if self._holders is not None:
            self._supply.maintenance.arm_by(self._holders.enter(slot, now))

    def refuse_idle(self, slot: Slot[Conn], answer: object) -> None:
        """Drop an idle connection that was taken, and is closed (C7).

        Args:
            slot: It.
            answer: What its strategy said, or raised, when asked.

        Raises:
            BaseException: See `Questions.judge`.
        """
        self._ledger.untake()
        self._refuse(slot, answer)

    def _refuse(self, slot: Slot[Conn], answer: object) -> None:
        self._supply.drop(slot)
        try:
            self._questions.judge(answer)
        except BaseException:
            self._supply.refill()
            raise

    def park(self, timeout: float | Unset | None) -> Waiter:
        """Queue the running caller, and have the queue supplied.

        Raises:
            PoolError: The pool is closed or overloaded, or `timeout` is 0.
        """
        seconds = self._timeout if timeout is DEFAULT else timeout
        refusal = self._ledger.refusal(patient=seconds != 0)
        if refusal is not None:
            raise self._refused(refusal)
        loop = self._loop
        make = self._make_waiter if seconds is None else WatchedWaiter
        waiter = make(loop.create_future(), copy_context(), self._clock())
        if seconds is not None:
            waiter.timer = loop.call_later(seconds, self._time_out, waiter, seconds)
        self._ledger.park(waiter)
        try:
            self._supply.refill()
            if self._holders is not None and self._holders.park(waiter):
                raise _errors.deadlock(self._ledger.stats(), self._holders.describe(loop.time()))
        except BaseException as exc:
            self.abandon(waiter, exc)
            raise
        return waiter

    def _refused(self, refusal: Refusal) -> PoolError:
        stats = self._ledger.stats()
        if refusal == "closed":
            return _errors.pool_closed(stats)
        if refusal == "overloaded":
            self._observers.rejected("max_waiting")
            return _errors.pool_overloaded(stats, self._ledger.max_waiting)
        error = self._late(0)
        self._observers.timed_out(0, error.stage)
        return error

    def _late(self, seconds: float) -> PoolTimeoutError:
        """Describe a wait of `seconds`: were there opens enough for all who wait?"""
        stats = self._ledger.stats()
        stage: Stage = "waiting"
        recovering = self._ledger.allowance is not None and stats.limit > stats.size
        if recovering:
            stage = "opening"
        elif stats.opening + stats.validating >= stats.waiting > 0:
            stage = "opening" if stats.opening else "validating"
        return _errors.pool_timeout(stats, seconds, stage, self._supply.last_failure, self._who_holds())

    def _who_holds(self) -> str:
        now = self._loop.time()
        if self._holders is not None:
            holders = self._holders.describe(now)
            return f"; held by {holders}" if holders else ""
        if now - self._looked_at > SAME_MOMENT:
            self._looked_at = now
            ages = [f"{'over ' * older}{_errors.age(age)}" for age, older in self._ledger.held_for(now, LONGEST)]
            self._ages = f"; held longest: {', '.join(ages)} (track_holders=True tells by whom)" if ages else ""
        return self._ages

    def _time_out(self, waiter: Waiter, seconds: float) -> None:
        if not waiter.future.done():
            error = self._late(seconds)
            self._ledger.time_out(waiter)
            waiter.future.set_exception(error)
            self._observers.timed_out(seconds, error.stage)

    def accept(self, waiter: Waiter, slot: Slot[Conn]) -> None:
        """Settle a hand-over in the step in which the caller goes on.

        Raises:
            PoolClosedError: `close()` ran out of time in the tick since.
        """
        if waiter.timer is not None:
            waiter.timer.cancel()
        if self._holders is not None:
            self._holders.unpark(waiter)
        if not self._ledger.accept(waiter, slot, self._clock()):
            raise _errors.pool_closed(self._ledger.stats())
        if self._holders is not None:
            self._remember_holder(slot, slot.taken_at)

    def abandon(self, waiter: Waiter, exc: BaseException) -> None:
        """Settle a wait that ended with `exc`: nothing that was meant for it is lost.

        A future that is done and a task that is cancelled in the same tick: the task
        sees the cancellation, while the future holds the connection.
        """
        if waiter.timer is not None:
            waiter.timer.cancel()
        if self._holders is not None:
            self._holders.unpark(waiter)
        future = waiter.future
        if self._ledger.abandon(waiter) or not future.done() or future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._supply.lay_by(future.result())
        elif error is not exc and not isinstance(error, _errors.PoolError):
            self._supply.log("the caller of what a connection failed with left", error)

    def give_back(self, slot: Slot[Conn], exc: BaseException | None) -> Awaitable[None] | None:
        """Take a connection back whose block has ended with `exc`.

        What most often happens to one that is not laid by stands first: in a pool without
        policies it goes to the caller that has waited longest. `benchmarks/README.md` tells
        what that saves.

        Returns:
            What to wait for, if the connection is surplus (C8).
        """
        if exc is None and self._plain and slot.doom is None and self._ledger.queue.length:
            try:
                answer: object = self._is_closed(slot.conn)
                fit = not answer
            except BaseException as error:
                answer, fit = error, False
            if not fit:
                self._refuse_returned(slot, answer)
                return None
            if (waiter := self._ledger.hand_over(slot)) is not None:
                waiter.future.set_result(slot)
                return None
            return self._wait_for(self._supply.settle(slot))
        if self._holders is not None:
            self._holders.leave(slot, self._loop.time())
        return self._wait_for(self._supply.give_back(slot, exc))

    def _wait_for(self, close: Close[Conn] | None) -> Awaitable[None] | None:
        return None if close is None else self._closing.wait(close)

    def _refuse_returned(self, slot: Slot[Conn], answer: object) -> None:
        self._refuse(slot, answer)
        self._supply.refill()
