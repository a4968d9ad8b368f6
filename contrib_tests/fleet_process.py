"""One process of a real fleet: workers that use a pool as much as they can.

It is given its orders as JSON, and counts what it does in a file that whoever started it reads, so that it may be
killed at any moment. The address of the server says what is pooled.
"""

from __future__ import annotations

import asyncio
import json
import logging
import mmap
import signal
import struct
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from asyncio_connection_pool import ConnectionPool, PoolError

SERVED, BROKEN, TIMEOUTS, READY = range(4)
COUNTERS = 4


def postgres_user(orders: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Make a strategy for PostgreSQL, a use of a connection, and name what a broken one raises."""
    import asyncpg

    from asyncio_connection_pool.contrib.asyncpg import PostgresConnectionStrategy

    async def use(conn):
        await conn.fetchval("SELECT pg_sleep($1)", orders["query"])

    lost = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError)
    return PostgresConnectionStrategy(orders["server"], reset=False, timeout=30), use, lost


def redis_user(orders: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Make the same for Valkey."""
    import redis

    from asyncio_connection_pool.contrib.redis import RedisConnectionStrategy

    async def use(conn):
        await conn.ping()
        await asyncio.sleep(orders["query"])

    return RedisConnectionStrategy.from_url(orders["server"]), use, (OSError, redis.RedisError)


def make_budget(orders: dict[str, Any]) -> Any:
    """Make the budget that the orders ask for."""
    settings = {"limit": orders["limit"], "lease_time": orders["lease_time"]}
    if orders["coordinator"].startswith("redis"):
        from asyncio_connection_pool.contrib.redis import RedisBurstBudget

        return RedisBurstBudget(orders["coordinator"], key="fleet", **settings)
    from asyncio_connection_pool.contrib.asyncpg import PostgresBurstBudget

    return PostgresBurstBudget(orders["coordinator"], name="fleet", **settings)


class Counts(Counter):
    """Counters in a file."""

    def __init__(self, path: str, number: int) -> None:
        super().__init__()
        with Path(path).open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._at = number * COUNTERS * 8

    def add(self, what: int) -> None:
        self[what] += 1
        struct.pack_into("q", self._memory, self._at + what * 8, self[what])


async def work(pool: ConnectionPool, use, lost, counts: Counts, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            async with pool.get_connection(timeout=30) as conn:
                await use(conn)
            counts.add(SERVED)
        except PoolError:
            counts.add(TIMEOUTS)
        except lost:
            counts.add(BROKEN)


async def main(orders: dict[str, Any]) -> None:
    counts, stop = Counts(orders["counters"], orders["number"]), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    strategy, use, lost = (redis_user if orders["server"].startswith("redis") else postgres_user)(orders)
    sizes = {"max_size": orders["max_size"], "burst_limit": orders["burst_limit"]}
    options = {"shrink_delay": orders["shrink_delay"], "name": f"process-{orders['number']}"}
    async with ConnectionPool(strategy=strategy, burst_budget=make_budget(orders), **sizes, **options) as pool:
        counts.add(READY)
        async with asyncio.TaskGroup() as group:
            for _ in range(orders["workers"]):
                group.create_task(work(pool, use, lost, counts, stop))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(main(json.loads(sys.argv[1])))
