"""Fairness: who gets a connection how often, and who waits how long.

"hot": how often each of 20 workers that always want a connection gets one of 2. A pool that lets the one who releases
take its connection back before the next in line has run gives nearly all to two workers and starves the rest. What is
even: fewest and most differ by one.

"slow": how long the unluckiest of 100 workers waits, each of which holds one of 10 connections for 0.2 s, three times
over. A queue has everybody wait for 1.8 s. The time is virtual.
"""

import asyncio
from collections.abc import Sequence

from asyncio_connection_pool import testing

from .contenders import POOLS, Build, close
from .figures import Figure, counted

WORKERS = 20
CONNECTIONS = 2
ACQUISITIONS = 1_100

CROWD = 100
SHARED = 10
HOLD = 0.2
EACH = 3


def run() -> Sequence[Figure]:
    """Count for every contender, each in an event loop of its own."""
    figures = []
    for name, build in POOLS.items():
        counts = testing.run(_count(build))
        figures.append(counted("hot workers, fewest", name, "acquisitions", min(counts)))
        figures.append(counted("hot workers, most", name, "acquisitions", max(counts)))
        figures.append(counted("slow workers, longest wait", name, "s", testing.run(_longest(build))))
    return figures


async def _count(build: Build) -> Sequence[int]:
    pool = await build(CONNECTIONS)
    counts = [0] * WORKERS

    async def work(worker: int) -> None:
        while sum(counts) < ACQUISITIONS:
            async with pool.get_connection():
                counts[worker] += 1
                await asyncio.sleep(0)

    await asyncio.gather(*(work(worker) for worker in range(WORKERS)))
    await close(pool)
    return counts


async def _longest(build: Build) -> float:
    pool = await build(SHARED)
    clock = asyncio.get_running_loop().time
    waits = []

    async def work() -> None:
        for _ in range(EACH):
            came = clock()
            async with pool.get_connection():
                waits.append(clock() - came)
                await asyncio.sleep(HOLD)

    await asyncio.gather(*(work() for _ in range(CROWD)))
    await close(pool)
    return max(waits)
