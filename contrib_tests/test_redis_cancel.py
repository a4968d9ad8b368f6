"""Cancelling a command at any moment gives nobody a wrong reply, loses no slot and leaves nobody waiting."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
import redis

from asyncio_connection_pool import ConnectionPool
from redis_eyes import until

CANCELS = 1_000
WORKERS = 20
SLOTS = 4


class Storm:
    """Workers that check every reply, each of them cancelled again and again at random moments."""

    def __init__(self, pool, seed):
        self.pool = pool
        self.random = random.Random(seed)
        self.cancels = self.served = self.wrong = self.swallowed = 0

    async def ask(self, token):
        """Use a connection in one of several ways; count a reply that is somebody else's."""
        async with self.pool.get_connection() as client:
            way = self.random.randrange(4)
            if way == 0:
                replies, expected = await client.echo(token), token
            elif way == 1:
                pipe = client.pipeline(transaction=False)
                replies, expected = await pipe.echo(token).echo(token).execute(), [token] * 2
            elif way == 2:
                pipe = client.pipeline()
                replies, expected = await pipe.set(token, token, px=50).get(token).execute(), [True, token]
            else:
                replies, expected = await client.blpop("empty", timeout=0.005), None
            self.wrong += replies != expected
            self.served += 1

    async def work(self, name):
        """Start one use after the other, and cancel most of them before they end."""
        while self.cancels < CANCELS:
            task = asyncio.create_task(self.ask(f"{name}-{self.random.random()}"))
            await asyncio.sleep(self.random.choice([0, 0, 0.0005, 0.001, 0.003]))
            cancelled = task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled() and (error := task.exception()):
                raise error
            self.cancels += cancelled
            self.swallowed += cancelled and not task.cancelled()

    async def blow(self):
        """Run all workers to their end."""
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for n in range(WORKERS):
                group.create_task(self.work(f"worker-{n}"))


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_storm_of_cancels_gives_no_wrong_reply_and_loses_no_slot(redis_server, seed):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=SLOTS) as pool:
        storm = Storm(pool, seed)
        await storm.blow()
        assert storm.cancels >= CANCELS
        assert storm.served > 0
        assert storm.wrong == 0
        assert storm.swallowed == 0
        await until(lambda: not pool.stats().closing)
        async with asyncio.timeout(5):  # every slot is there, and works
            tokens = [f"after-{n}" for n in range(SLOTS)]
            assert await asyncio.gather(*(hold(pool, token) for token in tokens)) == tokens
        await until(lambda: len(redis_server.ids()) == SLOTS)


async def hold(pool, token):
    async with pool.get_connection() as client:
        await asyncio.sleep(0.01)
        return await client.echo(token)


async def test_an_abandoned_blpop_eats_nothing(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        for n in range(50):
            with pytest.raises(TimeoutError):
                async with pool.get_connection() as client, asyncio.timeout(0.005):
                    await client.blpop("queue", timeout=1)
            await until(lambda: not pool.stats().closing)
            await until(lambda: not redis_server.ids())
            async with pool.get_connection() as client:
                await client.rpush("queue", n)
                assert await client.lpop("queue") == str(n)


async def test_a_cancellation_that_the_driver_swallows_is_raised_all_the_same(redis_server):
    sends = asyncio.Event()

    class Swallowing(redis.asyncio.Connection):  # as redis-py 8 does on Python 3.11, now and then
        async def send_packed_command(self, *args, **options):
            await super().send_packed_command(*args, **options)
            if sends.is_set():
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)

    strategy = redis_server.strategy(connection_class=Swallowing)
    async with ConnectionPool(strategy=strategy, max_size=1) as pool:
        async with pool.get_connection() as client:
            sends.set()
            task = asyncio.create_task(client.get("key"))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert strategy.connection_is_closed(client)
    await until(lambda: not redis_server.ids())


@pytest.mark.parametrize("error", [TimeoutError, asyncio.CancelledError, KeyboardInterrupt])
async def test_what_breaks_a_block_off_half_way_costs_the_connection(redis_server, error):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        with pytest.raises(error):
            async with pool.get_connection() as client:
                await client.ping()
                raise error
        assert pool.stats().closed["dirty"] == 1


async def test_a_cancelled_opening_leaves_no_connection(redis_server, own_valkey):
    strategy = redis_server.strategy(own_valkey.url)
    own_valkey.freeze()  # the kernel still accepts, so the greeting is what hangs
    try:
        opening = [asyncio.create_task(strategy.create_connection()) for _ in range(20)]
        for n, task in enumerate(opening):
            await asyncio.sleep(0.001 * (n % 3))
            task.cancel()
        done = await asyncio.gather(*opening, return_exceptions=True)
        assert {type(result) for result in done} == {asyncio.CancelledError}
    finally:
        own_valkey.thaw()
    with redis.Redis.from_url(own_valkey.url) as ask:
        await until(lambda: len(ask.client_list()) == 1)


async def test_a_connect_timeout_leaves_no_connection_and_frees_the_slot(redis_server, own_valkey):
    pool = ConnectionPool(strategy=redis_server.strategy(own_valkey.url), max_size=1, connect_timeout=0.05)
    async with pool:
        own_valkey.freeze()
        with pytest.raises(TimeoutError):
            async with pool.get_connection():
                pass
        own_valkey.thaw()
        async with pool.get_connection() as client:
            assert await client.ping()
            assert len([c for c in await client.client_list() if c["name"] == redis_server.label]) == 1
