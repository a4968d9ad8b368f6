"""Who takes part, behind one face: `build(max_size)` gives a thing that has `get_connection()`.

Another rival is one more function here and one more entry in `ALL`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .fifo import FifoPool
from .floor import FloorPool
from .published import load


class Pool(Protocol):
    """What the benchmarks use of a pool."""

    def get_connection(self) -> AbstractAsyncContextManager[object]:
        """Return a context manager that lends a connection."""
        ...


Build = Callable[[int], Pool]


def ours(max_size: int) -> Pool:
    """Build the pool of this repository with the defaults, and a strategy that overrides only what it must."""
    from asyncio_connection_pool import ConnectionPool, ConnectionStrategy

    class Strategy(ConnectionStrategy[object]):
        async def create_connection(self) -> object:
            return object()

        def connection_is_closed(self, conn: object) -> bool:
            return False

        async def close_connection(self, conn: object) -> None:
            pass

    return ConnectionPool(strategy=Strategy(), max_size=max_size)


def published(max_size: int) -> Pool:
    """Build the published 1.1.1 with the same strategy, under the name that it gives to its first member."""
    module = load()

    class Strategy(module.ConnectionStrategy):  # type: ignore[misc, name-defined]
        async def make_connection(self) -> object:
            return object()

        def connection_is_closed(self, conn: object) -> bool:
            return False

        async def close_connection(self, conn: object) -> None:
            pass

    pool: Pool = module.ConnectionPool(strategy=Strategy(), max_size=max_size)
    return pool


POOLS: Mapping[str, Build] = {"ours": ours, "published": published}
"""The pools proper: these keep some contract, and can be cancelled."""

WITH_FLOOR: Mapping[str, Build] = {"floor": FloorPool, **POOLS}
"""For what never waits."""

WITH_FIFO: Mapping[str, Build] = {"fifo": FifoPool, **POOLS}
"""For what waits."""
