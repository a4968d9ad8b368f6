"""Who takes part, behind one face: `await build(max_size)` gives a thing that has `get_connection()`.

The rivals that have to be installed are in `rivals.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, Protocol

from . import rivals
from .fifo import FifoPool
from .floor import FloorPool
from .published import load

Dial = Callable[[], Awaitable[None]]
"""Called whenever a pool opens a connection: takes the time that it shall take, and counts."""


class Pool(Protocol):
    """What the benchmarks use of a pool. If it has `close`, that is awaited at the end."""

    def get_connection(self) -> AbstractAsyncContextManager[object]:
        """Return a context manager that lends a connection."""
        ...


class Build(Protocol):
    """What builds a pool, in the event loop that runs."""

    async def __call__(self, max_size: int, burst_limit: int | None = None, dial: Dial = rivals.at_once) -> Pool:
        """Build a pool that keeps `max_size` connections and, under load, has up to `burst_limit`."""
        ...


async def floor(max_size: int, burst_limit: int | None = None, dial: Dial = rivals.at_once) -> Pool:
    """Build the lower bound for what never waits."""
    return FloorPool(max_size)


async def fifo(max_size: int, burst_limit: int | None = None, dial: Dial = rivals.at_once) -> Pool:
    """Build the lower bound for what waits."""
    return FifoPool(max_size)


def strategy(dial: Dial = rivals.at_once) -> Any:
    """Build a strategy for ours that overrides only what it must."""
    from asyncio_connection_pool import ConnectionStrategy

    class Strategy(ConnectionStrategy[object]):
        async def create_connection(self) -> object:
            await dial()
            return object()

        def connection_is_closed(self, conn: object) -> bool:
            return False

        async def close_connection(self, conn: object) -> None:
            pass

    return Strategy()


async def ours(
    max_size: int, burst_limit: int | None = None, dial: Dial = rivals.at_once, shrink_delay: float = 0
) -> Pool:
    """Build the pool of this repository with the defaults."""
    from asyncio_connection_pool import ConnectionPool

    return ConnectionPool(
        strategy=strategy(dial), max_size=max_size, burst_limit=burst_limit, shrink_delay=shrink_delay
    )


async def published(max_size: int, burst_limit: int | None = None, dial: Dial = rivals.at_once) -> Pool:
    """Build the published 1.1.1 with the same strategy, under the name that it gives to its first member."""
    module = load()

    class Strategy(module.ConnectionStrategy):  # type: ignore[misc, name-defined]
        async def make_connection(self) -> object:
            await dial()
            return object()

        def connection_is_closed(self, conn: object) -> bool:
            return False

        async def close_connection(self, conn: object) -> None:
            pass

    pool: Pool = module.ConnectionPool(strategy=Strategy(), max_size=max_size, burst_limit=burst_limit)
    return pool


DELAY = 0.1
PATIENCE = 5
"""Seconds to wait for a pool to close: some that lost a connection wait for it in vain."""

POOLS: Mapping[str, Build] = {"ours": ours, "published": published, **rivals.installed()}
"""The pools proper: these keep some contract, and can be cancelled."""

WITH_DELAY: Mapping[str, Build] = {"ours": ours, f"ours, shrink_delay={DELAY}": partial(ours, shrink_delay=DELAY)}
"""For what bursts."""

WITH_FLOOR: Mapping[str, Build] = {"floor": floor, **POOLS}
"""For what never waits."""

WITH_FIFO: Mapping[str, Build] = {"fifo": fifo, **POOLS}
"""For what waits."""


async def close(pool: Pool) -> None:
    """Close a pool that can be closed, if it comes to an end."""
    end = getattr(pool, "close", None)
    if end is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(end(), PATIENCE)
