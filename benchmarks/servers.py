"""Servers: a real Valkey and a real PostgreSQL, through our pools and through those of the drivers.

"closed loop": 8 connections, and 1, 8, 50 or 500 tasks that do nothing but `GET` or `SELECT 1`, on asyncio's event loop
and on uvloop's. Throughput and latencies are of the wall clock; processor time is the client's, for one operation.

"open loop": requests arrive by chance, 300 a second, and in spikes 1,500, whatever has become of those before; each
keeps the server busy for 5 ms. The pool keeps 4 connections and may open 16. So at rest 1.5 are busy, and in a spike
7.5. What is counted is how many connections were opened and closed, those before the start included.
"""

import asyncio
import gc
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

import redis
import uvloop

from . import loads
from .drivers import POSTGRES, VALKEY, Client, Connect
from .figures import Figure
from .measure import Spread, now, quiet

ROUNDS = 5

RATE, SPIKE = 300, 5
PHASES = ((1.0, 1), (0.4, SPIKE), (1.0, 1), (0.4, SPIKE), (0.6, 1))
"""Seconds, and by how much more than `RATE` arrives."""
KEPT, MOST = 4, 16
DELAY = 0.5
PRECISE = 500
"""How often Valkey looks whether a timeout is over, in a second; its 10 would make 100 ms of the 5."""

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def run() -> Sequence[Figure]:
    """Start both servers, and measure everybody, on both event loops."""
    loads.find_servers()
    from servers import postgres, valkey  # type: ignore[import-not-found]

    figures: list[Figure] = []
    with valkey.start() as cache, postgres.start() as database:
        redis.Redis.from_url(cache.url).config_set("hz", PRECISE)
        for what, url, contenders in (("GET", cache.url, VALKEY), ("SELECT 1", database.dsn, POSTGRES)):
            for name, factory in LOOPS.items():
                with asyncio.Runner(loop_factory=factory) as runner:
                    figures += runner.run(_closed_loop(f"{what} on {name}", url, contenders))
                    figures += runner.run(_open_loop(f"{what} on {name}", url, contenders))
    return figures


async def _closed_loop(what: str, url: str, contenders: Mapping[str, Connect]) -> Sequence[Figure]:
    loads.settle_malloc()
    figures: list[Figure] = []
    async with AsyncExitStack() as stack:
        size = loads.CONNECTIONS
        clients = {
            name: await stack.enter_async_context(connect(url, size, size)) for name, connect in contenders.items()
        }
        for tasks in loads.TASKS:
            taken = await loads.take_turns({name: client.short for name, client in clients.items()}, tasks, ROUNDS)
            for name, each in taken.items():
                figures += _shown(f"{what}, {tasks} tasks", name, each)
    return figures


def _shown(case: str, who: str, each: Sequence[loads.Load]) -> Iterator[Figure]:
    rows = {
        "throughput": ("op/s", [1e6 / load.wall for load in each]),
        "p50": ("µs", [load.p50 for load in each]),
        "p99": ("µs", [load.p99 for load in each]),
        "processor time": ("µs", [load.processor for load in each]),
    }
    for row, (unit, values) in rows.items():
        yield Figure(f"{case}, {row}: {who}", unit, Spread.of(values), case=f"{case}: {row}", who=who)


async def _open_loop(what: str, url: str, contenders: Mapping[str, Connect]) -> Sequence[Figure]:
    delayed = {
        f"{name}, shrink_delay={DELAY}": partial(connect, shrink_delay=DELAY)
        for name, connect in contenders.items()
        if name.startswith("ours")
    }
    figures: list[Figure] = []
    for name, connect in {**contenders, **delayed}.items():
        async with connect(url, KEPT, MOST) as client:
            figures += await _arrive(f"{what}, open loop", name, client)
    return figures


async def _arrive(case: str, who: str, client: Client) -> Sequence[Figure]:
    """Send requests by the same chance for each contender."""
    latencies: list[float] = []

    async def request(due: float) -> None:
        await client.long()
        latencies.append(time.perf_counter() - due)

    await client.long()
    arrivals = list(_arrivals())
    gc.collect()
    with quiet():
        busy = now()
        began = time.perf_counter()
        tasks = []
        for due in arrivals:
            while (early := began + due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.append(asyncio.create_task(request(began + due)))
        await asyncio.gather(*tasks)
        busy = now() - busy
    opened, closed = client.count()
    latencies.sort()
    rows = {
        "opened": ("connections", opened),
        "closed": ("connections", closed),
        "p50": ("ms", latencies[len(latencies) // 2] * 1e3),
        "p99": ("ms", latencies[len(latencies) * 99 // 100] * 1e3),
        "processor time": ("µs", busy / 1e3 / len(arrivals)),
    }
    return [
        Figure(f"{case}, {row}: {who}", unit, Spread.of([value]), case=f"{case}: {row}", who=who)
        for row, (unit, value) in rows.items()
    ]


def _arrivals() -> Iterator[float]:
    """Yield the seconds at which requests are due."""
    chance = random.Random(0)
    due = ends = 0.0
    for seconds, times in PHASES:
        ends += seconds
        while due < ends:
            yield due
            due += chance.expovariate(RATE * times)
