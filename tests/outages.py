"""A server that goes away and comes back, and remembers who stood at its door."""

from __future__ import annotations

import asyncio
from itertools import repeat
from typing import Any

from ageing import now
from asyncio_connection_pool.testing import FakeStrategy


class Flaky(FakeStrategy):
    """Opens connections in `takes` seconds while it is up, and refuses them after as long while it is down."""

    def __init__(self, *, up: bool = True, takes: float = 0) -> None:
        super().__init__(create=repeat(self._connect))
        self.up = up
        self.takes = takes
        self.tries: list[float] = []
        """When each connect began."""
        self.crowds: list[int] = []
        """How many connects ran at once as each began, itself included."""
        self.refusals: list[OSError] = []

    async def _connect(self) -> None:
        self.tries.append(now())
        self.crowds.append(self.creating)
        await asyncio.sleep(self.takes)
        if not self.up:
            self.refusals.append(ConnectionRefusedError(f"refusal {len(self.refusals)}"))
            raise self.refusals[-1]

    def go_down(self) -> None:
        """Close every connection, and refuse new ones."""
        self.up = False
        for conn in self.connections:
            conn.closed = True

    def come_back(self) -> None:
        self.up = True


class Failover(Flaky):
    """Knows which failures mean that a server is lost."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[BaseException] = []

    def failure_is_fatal(self, exc: BaseException) -> bool:
        self.asked.append(exc)
        return isinstance(exc, ConnectionError)
