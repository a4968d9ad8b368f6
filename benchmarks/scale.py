"""Scale: a crowd before one pool, a crowd of pools, and whether memory stays flat in the long run.

"crowd": 10,000 connections are opened, lent and given back, with 100,000 callers in the queue.
"pools": 1,000 pools in one event loop, each of which opens, lends and closes a connection.
"cycles": a million times an idle connection is taken and given back.
"churn": 100,000 times a connection is opened, used and closed as surplus, by 100 callers at a time.

Growth is what `tracemalloc` and the resident set have gained from one tenth of the way to its end.
"""

import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from resource import getpagesize

from .contenders import Pool, close, ours
from .figures import Budget, Figure
from .measure import Spread, now

CONNECTIONS = 10_000
WAITERS = 100_000
POOLS = 1_000
CYCLES = 1_000_000
CREATES = 100_000
AT_A_TIME = 100

FLAT = Budget("at most", 64)
"""KiB that may be gained: the interpreter has caches of its own."""


def run() -> Sequence[Figure]:
    """Measure each in an event loop of its own."""
    return [figure for part in (_crowd, _pools, _cycles, _churn) for figure in asyncio.run(part())]


async def _crowd() -> Sequence[Figure]:
    pool = await ours(CONNECTIONS)
    gate = asyncio.Event()

    async def call() -> None:
        async with pool.get_connection():
            await gate.wait()

    gc.collect()
    gc.freeze()
    began = now()
    tasks = [asyncio.create_task(call()) for _ in range(CONNECTIONS)]
    await _until(pool, "in_use", CONNECTIONS)
    opened = now()
    tasks += [asyncio.create_task(call()) for _ in range(WAITERS)]
    await _until(pool, "waiting", WAITERS)
    queued = now()
    _stats(pool)
    looked = now()
    gate.set()
    await asyncio.gather(*tasks)
    served = now()
    await close(pool)
    gc.unfreeze()
    what = f"crowd of {CONNECTIONS:,} connections and {WAITERS:,} waiters"
    return [
        _one(f"{what}: a task that opens one", "ns", (opened - began) / CONNECTIONS),
        _one(f"{what}: a task that queues", "ns", (queued - opened) / WAITERS),
        _one(f"{what}: stats()", "ns", looked - queued),
        _one(f"{what}: a caller that is served and leaves", "ns", (served - looked) / (CONNECTIONS + WAITERS)),
    ]


async def _until(pool: Pool, what: str, number: int) -> None:
    while getattr(_stats(pool), what) < number:
        await asyncio.sleep(0)


def _stats(pool: Pool) -> object:
    return pool.stats()  # type: ignore[attr-defined]


async def _pools() -> Sequence[Figure]:
    tracemalloc.start()
    pools = [await ours(1) for _ in range(POOLS)]
    unused, _ = tracemalloc.get_traced_memory()
    for pool in pools:
        async with pool.get_connection():
            pass
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for pool in pools:
        await close(pool)
    return [
        _one(f"each of {POOLS:,} pools, unused", "bytes", unused / POOLS),
        _one(f"each of {POOLS:,} pools, with one connection", "bytes", used / POOLS),
    ]


async def _cycles() -> Sequence[Figure]:
    pool = await ours(1)

    async def cycles(number: int) -> None:
        for _ in range(number):
            async with pool.get_connection():
                pass

    return await _grow(f"{CYCLES:,} cycles", cycles, CYCLES)


async def _churn() -> Sequence[Figure]:
    pool = await ours(0, AT_A_TIME)

    async def call() -> None:
        async with pool.get_connection():
            await asyncio.sleep(0)

    async def churn(number: int) -> None:
        for _ in range(number // AT_A_TIME):
            await asyncio.gather(*(call() for _ in range(AT_A_TIME)))

    return await _grow(f"{CREATES:,} creates", churn, CREATES)


async def _grow(what: str, work: Callable[[int], Awaitable[None]], times: int) -> Sequence[Figure]:
    """Time the work, and see what it leaves behind."""
    await work(times // 10)
    before = _resident()
    began = now()
    await work(times - times // 10)
    spent = now() - began
    resident = _resident() - before
    tracemalloc.start()
    await work(times // 100)
    gc.collect()
    early, _ = tracemalloc.get_traced_memory()
    await work(times // 10)
    gc.collect()
    late, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [
        _one(f"{what}: each", "ns", spent / (times - times // 10)),
        _one(f"{what}: resident set, gained", "KiB", resident / 1024),
        Figure(f"{what}: tracemalloc, gained", "KiB", Spread.of([(late - early) / 1024]), FLAT),
    ]


def _resident() -> int:
    """Read the bytes of memory that the process has, on Linux; elsewhere 0."""
    gc.collect()
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * getpagesize() if statm.exists() else 0


def _one(name: str, unit: str, value: float) -> Figure:
    return Figure(name, unit, Spread.of([value]), case=name, who="ours")
