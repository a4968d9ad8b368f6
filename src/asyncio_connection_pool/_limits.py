"""How many connections there may be, and how many there should be."""

from __future__ import annotations

from typing import TypeVar

from asyncio_connection_pool._policies import Policies
from asyncio_connection_pool._queue import WaitQueue
from asyncio_connection_pool._slot import Slots

Conn = TypeVar("Conn")


class Limits(Slots[Conn]):
    """The numbers that bound a pool, compared with its slots and its queue."""

    def __init__(
        self,
        max_size: int,
        burst_limit: int | None,
        max_connecting: int | None,
        policies: Policies,
        *,
        plain: bool,
    ) -> None:
        """Begin with no slot taken and nobody waiting."""
        super().__init__()
        self.queue = WaitQueue()
        self.policies = policies
        self.max_connecting = max_connecting
        self.broken_off = 0
        """Opens that were given up, and still run."""
        self.allowance: int | None = None
        """Opens that may run at once while a server recovers; None: any number."""
        self.fills = False
        """Whether connections are opened that nobody waits for, up to `min_size`."""
        self.paused = False
        """Whether that has to wait, since the last one failed."""
        self.changed_at = 0.0
        """When the limits were last changed, on the clock of the event loop."""
        self.kept = 0 if plain and not policies.looks_at_exit else -1
        """With no more held than this, what is returned is simply laid by; -1: it has to be looked at."""
        self.set_limits(max_size, burst_limit)

    def set_limits(self, max_size: int, burst_limit: int | None) -> None:
        """Change the limits; what is open above them goes when it comes back."""
        self.max_size = max_size
        self.burst_limit = burst_limit
        self.limit = max_size if burst_limit is None else burst_limit
        """Connections that there may be now: fewer than `most` while a budget has no leave for them."""
        self.kept = max_size if self.kept >= 0 else -1
        self.calm = False

    @property
    def most(self) -> int:
        """Connections that there may ever be."""
        return self.max_size if self.burst_limit is None else self.burst_limit

    def limits_changed(self, now: float) -> None:
        """Have what is surplus be so from now on."""
        self.changed_at = now

    @property
    def may_supply(self) -> bool:
        """Whether there is something idle to validate, or room below the limit to open something."""
        return bool(self.idle) or len(self.slots) < self.limit

    @property
    def supply(self) -> int:
        """Connections in flight that end at the head of the queue, resets aside."""
        return self.opening + self.validating

    @property
    def room(self) -> int:
        """Connections that may be opened now; negative if `limit` was lowered."""
        free = self.limit - len(self.slots)
        if self.max_connecting is self.allowance is None:
            return free
        for most in (self.max_connecting, self.allowance):
            if most is not None:
                free = min(free, most - self.opening - self.broken_off)
        return free

    @property
    def lacks(self) -> bool:
        """Whether there are fewer connections than `min_size`, and there should not be."""
        return self.fills and self.held < self.policies.min_size

    @property
    def full(self) -> bool:
        """Whether as many connections are open as `min_size` asks for."""
        return self.held - self.opening >= min(self.policies.min_size, self.limit)

    @property
    def burst_due(self) -> float | None:
        """When the first caller will have waited long enough for a burst, if that is what it waits for."""
        bursts = self.policies.burst_delay and len(self.slots) >= self.max_size
        if not bursts or self.queue.length <= self.supply or self.room <= 0:
            return None
        first = self.queue.first_uncovered()
        return None if first is None else first.since + self.policies.burst_delay

    @property
    def sheds(self) -> bool:
        """Whether a connection that is returned now would be closed as surplus."""
        kept = self.held <= self.max_size or self.policies.shrink_delay > 0
        return not (kept or self.queue.length)

    @property
    def surplus_due(self) -> float | None:
        """When the surplus connection that was used longest ago is to be closed."""
        if self.held <= self.max_size or not self.idle:
            return None
        return max(self.idle[0].idle_since, self.changed_at) + self.policies.shrink_delay

    @property
    def idle_due(self) -> float | None:
        """When the connection that was used longest ago is to be closed for that, if `min_size` allows it."""
        longest = self.policies.max_idle
        if longest is None or self.held <= self.policies.min_size or not self.idle:
            return None
        return self.idle[0].idle_since + longest
