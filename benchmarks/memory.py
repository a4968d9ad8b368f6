"""Memory: the bytes that a queued caller costs beyond its task.

WAITERS tasks wait on one pool, and as many on bare futures; the difference, per task, is the pool's. Bytes are those
of `tracemalloc`, which sees every block that Python allocates, with its size; `sys.getallocatedblocks` counts blocks
but not how large they are, and the resident set hides blocks that were free before. What the queue itself holds, spare
room in its container included, is in the figure. The table of asyncio's own registry of tasks is not: it grows by leaps
of some 50 bytes per task, now in one measurement and now in another.
"""

import asyncio
import gc
import inspect
import tracemalloc
import weakref
from collections.abc import Callable, Coroutine, Sequence

from .contenders import WITH_FIFO, Pool, close
from .figures import Budget, Figure
from .measure import Spread, settle

ROUNDS = 2
WAITERS = 10_000

PER_WAITER = Budget("at most", 600)

REGISTRY = inspect.getfile(weakref.WeakSet)
TABLE = 64 * 1024
"""What a block in that file must exceed to be the table, and no entry of it."""

Caller = Callable[[], Coroutine[object, object, object]]


def run() -> Sequence[Figure]:
    """Weigh every contender in one event loop."""
    return asyncio.run(_run())


async def _run() -> Sequence[Figure]:
    bare = [await _weigh(_bare) for _ in range(ROUNDS)]
    figures = [Figure("a task on a bare future", "bytes", Spread.of(bare))]
    for name, build in WITH_FIFO.items():
        gross = [await _weigh_pool(await build(1)) for _ in range(ROUNDS)]
        net = Spread.of([g - b for g, b in zip(gross, bare, strict=True)])
        budget = PER_WAITER if name == "ours" else None
        figures.append(Figure(f"{name}, beyond the task", "bytes", net, budget, "bytes per waiter", name))
    return figures


async def _bare() -> None:
    await asyncio.get_running_loop().create_future()


async def _weigh_pool(pool: Pool) -> float:
    async def caller() -> None:
        async with pool.get_connection():
            await asyncio.get_running_loop().create_future()

    holder = asyncio.create_task(caller())
    await settle()
    weight = await _weigh(caller)
    holder.cancel()
    await asyncio.wait([holder])
    await close(pool)
    return weight


async def _weigh(caller: Caller) -> float:
    """Return the bytes per task of so many callers that wait, then send them away."""
    loop = asyncio.get_running_loop()
    waiting: list[asyncio.Task[object] | None] = [None] * WAITERS
    gc.collect()
    tracemalloc.start()
    for i in range(WAITERS):
        waiting[i] = loop.create_task(caller())
    await settle()
    gc.collect()
    snapshot = tracemalloc.take_snapshot()
    tracemalloc.stop()
    tasks = [task for task in waiting if task]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return sum(trace.size for trace in snapshot.traces if not _is_table(trace)) / WAITERS


def _is_table(trace: tracemalloc.Trace) -> bool:
    return trace.size > TABLE and trace.traceback[0].filename == REGISTRY
