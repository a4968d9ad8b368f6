"""A load that makes everything happen to a pool that a metric could tell of, in virtual time.

Every number that it leads to is the same in each run, however slow the machine.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from asyncio_connection_pool import CoDel, ConnectionPool, PoolError, PoolObserver, PoolStats
from asyncio_connection_pool.testing import FakeStrategy, FullFakeStrategy

T = TypeVar("T")

OPEN = 0.03  # seconds that an open takes
HELD = 0.5  # seconds that a caller holds a connection in a burst
CALLERS = 30


def strategy() -> FullFakeStrategy:
    """Each fourth open fails; resets and validations take their time, and one of either fails."""
    return FullFakeStrategy(
        create=[OPEN, OPEN, OPEN, ConnectionRefusedError("the server is full")] * 50,
        close=[0.02] * 200,
        reset=[0.01] * 20 + [ConnectionResetError("cut")] + [0.01] * 400,
        validate=[ConnectionResetError("cut")] + [0.01] * 200,
    )


def build(observers: Iterable[PoolObserver], name: str = "load", **options: object) -> ConnectionPool:
    """Build the pool that is loaded."""
    settings: dict[str, object] = {
        "max_size": 2,
        "burst_limit": 5,
        "min_size": 1,
        "max_waiting": 20,
        "acquire_timeout": 2,
        "shrink_delay": 0.3,
        "validate_after": 1,
        "queue_policy": CoDel(target=0.1, interval=0.5, observe=True),
    }
    return ConnectionPool(strategy=strategy(), name=name, observers=observers, **settings | options)


async def use(pool: ConnectionPool, seconds: float) -> None:
    """Hold a connection for some time, if there is one."""
    try:
        async with pool.get_connection():
            await asyncio.sleep(seconds)
    except (PoolError, ConnectionError):
        pass


async def load(pool: ConnectionPool, look: Callable[[], object] = lambda: None, *, every: float = 0.01) -> PoolStats:
    """Send two bursts through a pool and some quiet callers after each, and look every so many virtual seconds."""
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(_look_again_and_again(look, every))
        for _ in range(2):
            async with asyncio.TaskGroup() as burst:
                for _ in range(CALLERS):
                    burst.create_task(use(pool, HELD))
            for _ in range(5):
                await use(pool, 0.01)
                await asyncio.sleep(1.5)
        looking.cancel()
    return pool.stats()


async def _look_again_and_again(look: Callable[[], object], every: float) -> None:
    while True:
        look()
        await asyncio.sleep(every)


NAMES = {f"pool {number}" for number in range(5)}
"""Of the pools that come and go."""


def read_while_pools_come_and_go(observer: PoolObserver, read: Callable[[], T], times: int) -> list[T]:
    """Call `read` in a thread, at least so many times, while pools are built, used, and closed or dropped.

    Returns:
        What it read; all the pools are gone by then.
    """
    done = threading.Event()
    seen: list[T] = []

    def reading() -> None:
        while not done.is_set():
            seen.append(read())

    async def main() -> None:
        while len(seen) < times:
            pools = [
                ConnectionPool(strategy=FakeStrategy(), max_size=3, name=name, observers=[observer])
                for name in sorted(NAMES)
            ]
            await asyncio.gather(*[use(pool, 0) for pool in pools for _ in range(10)])
            await pools[0].close()
            await asyncio.sleep(0.005)  # the reader needs the interpreter as well

    thread = threading.Thread(target=reading)
    thread.start()
    try:
        asyncio.run(main())
    finally:
        done.set()
        thread.join()
    gc.collect()
    return seen
