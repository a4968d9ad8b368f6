"""What the tests of policies share: a server that keeps a diary, and looks at what a loop has in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from asyncio_connection_pool.testing import Behaviour, FakeConnection, FakeStrategy


class Server(FakeStrategy):
    """Remembers what it was asked for and when, by the clock of the loop, and validates as it is told."""

    def __init__(self, *, validate: Iterable[Behaviour] = (), **scripts: Iterable[Behaviour]) -> None:
        super().__init__(**scripts)
        self._scripts["validate"] = iter(validate)
        self.tried: list[float] = []
        self.closed: list[tuple[float, FakeConnection]] = []
        self.validated: list[FakeConnection] = []

    async def create_connection(self) -> FakeConnection:
        self.tried.append(now())
        return await super().create_connection()

    async def close_connection(self, conn: FakeConnection) -> None:
        self.closed.append((now(), conn))
        await super().close_connection(conn)

    async def validate_connection(self, conn: FakeConnection) -> None:
        self.validated.append(conn)
        await self._play("validate")

    @property
    def closed_at(self) -> list[float]:
        return [when for when, _ in self.closed]


def now() -> float:
    return asyncio.get_running_loop().time()


def stall(seconds: float) -> None:
    """Let time pass in which the loop does nothing, as when somebody blocks it."""
    asyncio.get_running_loop().advance(seconds)  # type: ignore[attr-defined]


def timers() -> list[asyncio.TimerHandle]:
    """The timers that are armed."""
    scheduled: Any = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [timer for timer in scheduled if not timer.cancelled()]


def tasks() -> list[asyncio.Task[Any]]:
    """The tasks that run, but for the one that asks."""
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def most_within(seconds: float, times: list[float]) -> int:
    """Count the events of the busiest stretch of so many seconds."""
    times = sorted(times)
    first = most = 0
    for last, when in enumerate(times):
        while times[first] < when - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
