"""An observer that writes down what it is told, and compares it with what the pool says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asyncio_connection_pool import ConnectionPool, PoolObserver, PoolStats, events


class Diary(PoolObserver):
    """Writes down each event, and each span with how it ended."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.spans: list[tuple[str, str]] = []
        self.attached: list[ConnectionPool] = []
        self.detached: list[ConnectionPool] = []

    def on_attach(self, pool):
        self.attached.append(pool)

    def on_detach(self, pool):
        self.detached.append(pool)

    def _write(self, event):
        self.events.append(event)

    on_acquire = on_release = on_timeout = on_reject = _write
    on_create = on_create_failure = on_reset = on_close = on_burst = _write

    @contextmanager
    def _span(self, name: str) -> Iterator[None]:
        self.spans.append((name, "begins"))
        try:
            yield
        except BaseException as error:
            self.spans.append((name, type(error).__name__))
            raise
        self.spans.append((name, "ends"))

    def acquiring_span(self, pool):
        return self._span("acquiring")

    def waiting_span(self, pool):
        return self._span("waiting")

    def opening_span(self, pool):
        return self._span("opening")

    def of(self, kind: type) -> list[Any]:
        """What it was told of that kind."""
        return [event for event in self.events if type(event) is kind]

    @property
    def phases(self) -> list[str]:
        """How the bursts went."""
        return [event.phase for event in self.of(events.Bursting)]


def differences(diary: Diary, stats: PoolStats) -> dict[str, tuple[object, object]]:
    """What a diary and the totals of a pool don't agree on: (told, counted)."""
    how = Counter(event.how for event in diary.of(events.Acquired))
    told = {
        "acquired_at_once": how["at_once"],
        "acquired_after_waiting": how["after_waiting"],
        "acquired_after_opening": how["after_opening"],
        "created": len(diary.of(events.Created)),
        "create_failures": len(diary.of(events.CreateFailed)),
        "timeouts": len(diary.of(events.TimedOut)),
        "rejections": len(diary.of(events.Rejected)),
        "released": len(diary.of(events.Released)),
    }
    counted: dict[str, object] = {name: getattr(stats, name) for name in told}
    told["closed"] = Counter(event.reason for event in diary.of(events.Closed))
    counted["closed"] = Counter(stats.closed)
    return {name: (told[name], counted[name]) for name in told if told[name] != counted[name]}
