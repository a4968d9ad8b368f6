"""Fairness: how often each of 20 workers that always want a connection gets one of 2.

A pool that lets the one who releases take its connection back before the next in line has run gives nearly all to two
workers and starves the rest. What is even: fewest and most differ by one.
"""

import asyncio
from collections.abc import Sequence

from .contenders import POOLS, Build
from .figures import Figure
from .measure import Spread

WORKERS = 20
CONNECTIONS = 2
ACQUISITIONS = 1_100


def run() -> Sequence[Figure]:
    """Count for every contender, each in an event loop of its own."""
    figures = []
    for name, build in POOLS.items():
        counts = asyncio.run(_count(build))
        figures.append(Figure(f"{name}, fewest", "acquisitions", Spread.of([min(counts)])))
        figures.append(Figure(f"{name}, most", "acquisitions", Spread.of([max(counts)])))
    return figures


async def _count(build: Build) -> Sequence[int]:
    pool = build(CONNECTIONS)
    counts = [0] * WORKERS

    async def work(worker: int) -> None:
        while sum(counts) < ACQUISITIONS:
            async with pool.get_connection():
                counts[worker] += 1
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for worker in range(WORKERS):
            group.create_task(work(worker))
    return counts
