"""What is due at a certain time: connections to retire, bursts to allow, opens to try again."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from asyncio_connection_pool._lifetimes import Lifetimes
from asyncio_connection_pool._slot import CLOSING, OPENING

if TYPE_CHECKING:
    import asyncio

    from asyncio_connection_pool._holders import Holders
    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._outage import Recovery
    from asyncio_connection_pool._slot import Slot
    from asyncio_connection_pool._stats import CloseReason

Conn = TypeVar("Conn")

JITTER: Final = 0.2
"""A lifetime is shorter by up to this part of it, so that connections of one age don't go together."""
GOLDEN: Final = 0.6180339887498949
"""Steps of this part of a circle leave no crowd: lifetimes are spread better than by chance."""
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 30.0
"""Seconds between attempts to fill a pool up to `min_size`, while they fail: doubled from the first to the last."""


class Keeper(Protocol):
    """What maintenance asks of the pool."""

    def retire(self, slot: Any) -> object:
        """Close the connection of a slot that is reserved for that."""
        ...

    def refill(self) -> None:
        """Open what the queue and `min_size` need."""
        ...


class Maintenance(Generic[Conn]):
    """Knows what is due next, and has one timer, armed only while something is (C13).

    The timer knows it weakly, so that it keeps no pool alive.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger[Conn],
        keeper: Keeper,
        recovery: Recovery | None,
        holders: Holders[Conn] | None,
    ) -> None:
        """Begin with nothing due."""
        self._recovery = recovery
        self._holders = holders
        self._loop = loop
        self._ledger = ledger
        self._keeper = weakref.ref(keeper)
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf
        self._lifetimes: Lifetimes[Conn] = Lifetimes()
        self._spread = 0.0
        """Where in the circle of jitter the last lifetime was; it begins anywhere."""
        self._failures = 0
        self._retry_at = math.inf
        self._pause_over = math.inf
        self._after_pause: Callable[[], None] | None = None
        policies = ledger.policies
        self._dates = policies.dates
        longest = math.inf if policies.max_idle is None else policies.max_idle
        self._patience = min(longest, policies.shrink_delay or math.inf)
        """Seconds that a connection may idle at least before anything is due."""

    # What happens to the pool.

    def born(self, slot: Slot[Conn]) -> None:
        """Give a new connection its time to live, and the pool the courage to open more."""
        self._failures = 0
        if self._recovery is not None:
            most = self._ledger.max_connecting
            self._recovery.succeeded(self._ledger.limit if most is None else min(most, self._ledger.limit))
            self._ledger.allowance = self._recovery.allowance
        else:
            self.retry_now()
        lifetime = self._ledger.policies.max_lifetime
        if lifetime is not None:
            self._spread = ((self._spread or _random()) + GOLDEN) % 1
            self._end(slot, self._loop.time() + lifetime * (1 - JITTER * self._spread), "expired")
            self.arm()

    def failed(self) -> bool:
        """Wait before connections that nobody waits for, or any at all, are opened again.

        Returns:
            Whether the wait begins with this failure: those that fail together are one step.
        """
        if self._recovery is not None:
            longest = self._recovery.failed()
            if longest is None:
                return False
            wait = longest * _random()
            self._ledger.allowance = 0
        elif self._ledger.lacks and not self._ledger.paused:
            wait = min(LAST_RETRY, FIRST_RETRY * 2**self._failures) * (1 - _random() / 2)
            self._failures = min(self._failures + 1, 10)
            self._ledger.paused = True
        else:
            return False
        self._retry_at = self._loop.time() + wait
        self.arm()
        return True

    def pause(self, seconds: float, then: Callable[[], None]) -> None:
        """Do something after so many seconds, less up to a half by chance."""
        self._pause_over = self._loop.time() + seconds * (1 - _random() / 2)
        self._after_pause = then
        self.arm()

    def rested(self, slot: Slot[Conn]) -> None:
        """Look after a connection that has just become idle."""
        if self._dates or (self._ledger.policies.shrink_delay and self._ledger.surplus_due is not None):
            now = self._loop.time()
            self._ledger.date(slot, now)
            self.arm_by(now + self._patience)

    def evict(self, over: float, opened_before: float = math.inf) -> None:
        """Retire open connections, evenly spread over so many seconds.

        Args:
            over: The seconds.
            opened_before: The number of a slot: only those whose open began before that one's.
        """
        now = self._loop.time()
        old = (slot for slot in self._ledger.slots if slot.number < opened_before)
        slots = [slot for slot in old if slot.state not in (OPENING, CLOSING)]
        for number, slot in enumerate(slots):
            self._end(slot, now + over * number / len(slots), "evicted")
        self.fire(now)

    def _end(self, slot: Slot[Conn], when: float, fate: CloseReason) -> None:
        if self._ledger.limit_life(slot, when, fate):
            self._lifetimes.add(slot, len(self._ledger.slots))

    # The timer.

    def arm(self) -> None:
        """See to it that the timer fires when something is due."""
        if self._ledger.shut:
            return
        due = min(self._dues())
        if due == math.inf:
            self.stop()
        elif due < self._armed:
            self.stop()
            self._armed = due
            self._timer = self._loop.call_at(due, _fire, weakref.ref(self), due)

    def arm_by(self, due: float) -> None:
        """See to that for what is due at `due` at the earliest: mostly the timer fires before that anyway."""
        if due < self._armed:
            self.arm()

    @property
    def armed(self) -> bool:
        """Whether the timer is."""
        return self._timer is not None

    def stop(self) -> None:
        """Disarm the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._armed = math.inf

    def _dues(self) -> Iterator[float]:
        yield self._retry_at
        yield self._pause_over
        ledger = self._ledger
        leak_due = None if self._holders is None else self._holders.leak_due
        surplus_due = ledger.surplus_due if ledger.policies.shrink_delay else None
        for due in (self._lifetimes.next, ledger.idle_due, surplus_due, ledger.burst_due, leak_due):
            if due is not None:
                yield due

    def fire(self, now: float) -> None:
        """Do what is due at `now`, then look what is due next.

        `now` is the time that it was armed for: the clock may be a little behind that when a timer fires.
        """
        self.stop()
        keeper = self._keeper()
        if keeper is None:
            return
        for slot in self._retired(now):
            keeper.retire(slot)
        if self._retry_at <= now:
            self._retry()
        if self._after_pause is not None and self._pause_over <= now:
            self._pause_over = math.inf
            self._after_pause()
        if self._holders is not None:
            self._holders.tell_leaks(now)
        keeper.refill()
        self.arm()

    def retry_now(self) -> None:
        """Fill the pool again without waiting for the next attempt."""
        if self._recovery is None and self._ledger.paused:
            self._retry()
            self.arm()

    def _retry(self) -> None:
        self._retry_at = math.inf
        self._ledger.paused = False
        if self._recovery is not None:
            self._recovery.probe()
            self._ledger.allowance = self._recovery.allowance

    def _retired(self, now: float) -> Iterator[Slot[Conn]]:
        for slot in self._lifetimes.due(now):
            if self._ledger.retire(slot):
                yield slot
        while (old := self._ledger.pop_idle(now)) is not None:
            yield old
        if self._ledger.policies.shrink_delay:
            while (old := self._ledger.pop_surplus(now)) is not None:
                yield old


def _fire(reference: weakref.ref[Any], due: float) -> None:
    maintenance = reference()
    if maintenance is not None:
        maintenance.fire(max(due, maintenance._loop.time()))


def _random() -> float:
    import random  # noqa: PLC0415 - most pools never need it, and the import takes milliseconds

    return random.random()  # noqa: S311 - nothing is kept secret by it
