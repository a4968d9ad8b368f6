"""What a pool has to say to DogStatsD, gathered, and sent together at most once in an interval."""

from __future__ import annotations

import weakref
from asyncio import get_running_loop
from contextvars import Context
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Iterator, Mapping, Sequence

    from asyncio_connection_pool import ConnectionPool, PoolStats
    from asyncio_connection_pool.events import Bursting

statsd: Any = import_module("datadog").statsd  # which has no types

BEAT: Final = 60.0
"""Seconds after which every gauge is sent, whether it has changed or not."""


def gauges(stats: PoolStats) -> Mapping[str, int]:
    """Name the counts of a pool as releases 1.x did."""
    return {
        "total_connections": stats.size,
        "available_connections": stats.idle,
        "waiting": max(0, stats.waiting - stats.opening),  # beyond those for whom one is being opened
        "connections_used": stats.in_use,
        "connections_acquiring": stats.waiting,
    }


def acquisitions(stats: PoolStats) -> Mapping[str, int]:
    """Name the ways to a connection as releases 1.x did."""
    return {
        "available": stats.acquired_at_once,
        "wait": stats.acquired_after_waiting,
        "new": stats.acquired_after_opening,
    }


class Meter:
    """Sends the gauges that have changed, the sums of what was counted, and the events.

    It asks the pool when it sends, and not before: to be woken costs next to nothing. Its timers hold it, and it
    holds the pool weakly, so a pool that is dropped is collected, and the timers find that out.

    Args:
        pool: Whose meter it is.
        service: Prefix of all names.
        tags: Sent with all.
        interval: Seconds between two datagrams.
    """

    def __init__(self, pool: ConnectionPool[Any], service: str, tags: Sequence[str], interval: float) -> None:
        """Begin with nothing sent."""
        self._pool = weakref.ref(pool)
        self._service = service
        self._tags = tags
        self._interval = interval
        self._sent: dict[str, int] = {}
        self._counted: Mapping[str, int] = acquisitions(pool.stats())
        self._events: list[Bursting] = []
        self._loop: AbstractEventLoop | None = None
        self._timer: TimerHandle | None = None
        self._beat: TimerHandle | None = None
        self._ended = False

    # When to send.

    def wake(self) -> None:
        """Have sent what has changed, within the interval; without a running event loop, later."""
        try:
            loop = get_running_loop()
        except RuntimeError:
            return
        if self._ended:
            return
        if loop is not self._loop:
            self._move(loop)
        if self._timer is None:
            self._timer = loop.call_later(self._interval, self._due, context=Context())

    def note(self, event: Bursting) -> None:
        """Have an event sent, within the interval."""
        self._events.append(event)
        self.wake()

    def end(self, stats: PoolStats) -> None:
        """Send what is left, and nothing after that."""
        self._ended = True
        self._cancel()
        self._send(stats)

    def _move(self, loop: AbstractEventLoop) -> None:
        """Begin anew in another event loop: the timers of a closed one are lost."""
        self._cancel()
        self._loop = loop
        self._beat = loop.call_later(BEAT, self._repeat, context=Context())

    def _cancel(self) -> None:
        for timer in (self._timer, self._beat):
            if timer is not None:
                timer.cancel()
        self._timer = self._beat = None

    def _repeat(self) -> None:
        """Have every gauge sent again."""
        self._beat = None
        if self._stats() is not None:
            self._sent.clear()
            self.wake()
            self._beat = get_running_loop().call_later(BEAT, self._repeat, context=Context())

    def _due(self) -> None:
        self._timer = None
        stats = self._stats()
        if stats is None:
            return
        self._send(stats)
        if stats.validating or stats.resetting or stats.closing:
            self.wake()  # nobody may tell of their end

    def _stats(self) -> PoolStats | None:
        """Ask the pool, if there is something to say of it."""
        pool = self._pool()
        if pool is None:
            return None
        stats = pool.stats()
        return None if pool.closed and not stats.size else stats

    # What to send.

    def _send(self, stats: PoolStats) -> None:
        changed = {name: value for name, value in gauges(stats).items() if self._sent.get(name) != value}
        counted = {how: number for how, number in self._count(acquisitions(stats)) if number}
        events, self._events = self._events, []
        if not (changed or counted or events):
            return
        with statsd:  # which makes one datagram of what it is told in between, if that fits
            for name, value in changed.items():
                statsd.gauge(f"{self._service}.pool.{name}", value, tags=self._tags, sample_rate=1)
            for how, number in counted.items():
                tags = [*self._tags, f"method:{how}"]
                statsd.increment(f"{self._service}.pool.getting_connection", number, tags=tags, sample_rate=1)
            for event in events:
                self._send_event(event)
        self._sent.update(changed)

    def _count(self, totals: Mapping[str, int]) -> Iterator[tuple[str, int]]:
        """Yield what was added to each total since the last time."""
        before, self._counted = self._counted, totals
        for how, total in totals.items():
            yield how, total - before[how]

    def _send_event(self, event: Bursting) -> None:
        title, text, alert_type = _words(event)
        text = f"{text} (pool {event.pool!r})"
        statsd.event(f"{self._service} pool {title}", text, alert_type=alert_type, tags=[*self._tags])


def _words(event: Bursting) -> tuple[str, str, str]:
    """Put an event into the words of releases 1.x: title, text, kind of alert."""
    if event.phase == "began":
        text = f"Pool max size of {event.max_size} will be exceeded temporarily, up to {event.burst_limit}"
        return "using burst capacity", text, "warning"
    if event.phase == "limit_reached":
        return "reached burst limit", "There are not enough connections to satisfy all users", "error"
    return "no longer bursting", f"Number of connections is not above {event.max_size} any more", "success"
