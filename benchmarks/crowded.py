"""Crowded: what one acquisition costs where 100 tasks share 10 connections, and where a burst is ridden.

Each task holds its connection for one step of the event loop, again and again. "10 connections" is what a service sees
that is well used. "A burst": the pool keeps 10 and may open 50 (rivals: see `rivals.py`), and the load swings between
5 tasks and 50; opening takes no time, so what is seen is the pool's own work at opening and closing.
"""

import asyncio
from collections.abc import Sequence

from .contenders import POOLS, WITH_DELAY, WITH_FIFO, Pool, close
from .figures import Figure, timed
from .measure import Timer, interleave, now

ROUNDS = 15
TASKS = 100
EACH = 10
CONNECTIONS = 10
MOST = 50
TIDE = (5, 50, 5, 50)
"""How many tasks there are, one phase after the other."""


def run() -> Sequence[Figure]:
    """Measure every contender in one event loop."""
    return asyncio.run(_run())


async def _run() -> Sequence[Figure]:
    crowded = {name: await build(CONNECTIONS) for name, build in WITH_FIFO.items()}
    bursting = {name: await build(CONNECTIONS, MOST) for name, build in {**POOLS, **WITH_DELAY}.items()}
    tasks, burst = f"{TASKS} tasks on {CONNECTIONS} connections", f"a burst from {CONNECTIONS} to {MOST} connections"
    figures = [
        *timed(tasks, await interleave({name: _timer(pool, [TASKS]) for name, pool in crowded.items()}, ROUNDS)),
        *timed(burst, await interleave({name: _timer(pool, TIDE) for name, pool in bursting.items()}, ROUNDS)),
    ]
    for pool in [*crowded.values(), *bursting.values()]:
        await close(pool)
    return figures


def _timer(pool: Pool, phases: Sequence[int]) -> Timer:
    async def work() -> None:
        for _ in range(EACH):
            async with pool.get_connection():
                await asyncio.sleep(0)

    async def serve() -> float:
        began = now()
        for tasks in phases:
            await asyncio.gather(*(work() for _ in range(tasks)))
        return (now() - began) / (EACH * sum(phases))

    return serve
