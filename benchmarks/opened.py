"""Opened: how many connections a pool opens for 1,000 short holds.

50 tasks make 20 holds each of 1 ms, with a pause of 1 ms in between; the pool keeps 10 connections and may have 50;
opening one takes 2 ms. The time is virtual, so each contender sees the very same load. A pool that closes what is
surplus the moment that it comes back opens it again at once.
"""

from asyncio import gather, sleep
from collections.abc import Sequence

from asyncio_connection_pool import testing

from .contenders import POOLS, WITH_DELAY, Build, close
from .figures import Figure, counted

TASKS = 50
HOLDS = 20
HOLD = PAUSE = 0.001
DIAL = 0.002
KEPT, MOST = 10, 50


def run() -> Sequence[Figure]:
    """Count for every contender, each in an event loop of its own."""
    case = f"opened for {TASKS * HOLDS:,} holds"
    return [
        counted(case, name, "connections", testing.run(_count(build)))
        for name, build in {**POOLS, **WITH_DELAY}.items()
    ]


async def _count(build: Build) -> int:
    opened = 0

    async def dial() -> None:
        nonlocal opened
        opened += 1
        await sleep(DIAL)

    async def work() -> None:
        for _ in range(HOLDS):
            async with pool.get_connection():
                await sleep(HOLD)
            await sleep(PAUSE)

    pool = await build(KEPT, MOST, dial)
    await gather(*(work() for _ in range(TASKS)))
    await close(pool)
    return opened
