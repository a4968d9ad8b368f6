"""redis-py's own client on our pool, as the tests of the pool see it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext

import redis
from redis.asyncio import Redis

from asyncio_connection_pool.contrib.redis import RedisConnectionPool
from redis_driver import RedisDriver
from strategy_contract import SOON, until


class PoolDriver(RedisDriver):
    """A driver whose connections are not seen: whoever uses it uses a client."""

    name = f"redis-py {redis.__version__} on our pool"

    def pool(self, **options):
        return RedisConnectionPool(host="127.0.0.1", port=self.port, **{"decode_responses": True, **options})

    @asynccontextmanager
    async def client(self, **options):
        """Lend a client; at its end nothing may be in use, and nothing be left at the server."""
        pool = self.pool(**options)
        yield Redis(connection_pool=pool)
        await until(lambda: not pool.stats().in_use)
        await pool.aclose()
        await until(lambda: pool.stats().size == 0)
        await until(self._nobody_is_seen)

    async def _nobody_is_seen(self):
        return await self.seen() == 0

    def cut_all(self):
        """Have the server close every connection but the one that this is asked over."""
        with self.ask() as asker:
            mine = str(asker.client_id())
            for client in asker.client_list():
                if client["id"] != mine:
                    asker.client_kill_filter(_id=client["id"])
            asker.connection_pool.disconnect()


class Shared:
    """A client in place of the pool that a scenario expects: each user of it gets that client."""

    def __init__(self, client):
        self.client = client

    def get_connection(self):
        return nullcontext(self.client)


async def aclose(thing):
    """Close a client, a subscription and so on, by the name that its version has for that."""
    await (getattr(thing, "aclose", None) or thing.close)()


async def every_slot_works(driver, client):
    """Use all slots at the same time, so that none can be lost, and compare with what the server sees."""
    stats = client.connection_pool.stats
    together = asyncio.Barrier(stats().limit)

    async def hold(n):
        async with client.client() as one:
            await together.wait()
            assert await driver.echo(one, f"slot {n}") == f"slot {n}"

    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        for n in range(stats().limit):
            group.create_task(hold(n))
    await until(lambda: stats().size == stats().idle)

    async def counts_agree():
        return await driver.seen() == stats().size

    await until(counts_agree)
