"""A cancellation is never swallowed, and leaves nothing half-open."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress

import pytest
import redis

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib import _redis_session
from redis_eyes import Eyes, until
from strategy_contract import SOON


@pytest.fixture
def patient(monkeypatch):
    """Have nobody give up on a server that still holds a command which blocks."""
    monkeypatch.setattr(_redis_session, "LETS_GO_WITHIN", 600)


@pytest.fixture
def eyes(own_valkey):
    """What the server of this test says."""
    with Eyes(own_valkey.url) as eyes:
        yield eyes


async def test_a_cancellation_that_the_driver_swallows_is_raised_all_the_same(redis_server):
    sends, sent = asyncio.Event(), asyncio.Event()

    class Swallowing(redis.asyncio.Connection):  # as redis-py 8 does on Python 3.11, now and then
        async def send_packed_command(self, *args, **options):
            await super().send_packed_command(*args, **options)
            if sends.is_set():
                sent.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)

    strategy = redis_server.strategy(connection_class=Swallowing)
    async with ConnectionPool(strategy=strategy, max_size=1) as pool:
        async with pool.get_connection() as client:
            sends.set()
            task = asyncio.create_task(client.get("key"))
            await sent.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert strategy.connection_is_closed(client)
    await until(lambda: not redis_server.ids())


async def test_an_error_of_sending_is_in_no_cycle_with_the_task_that_has_it(redis_server):
    class Failing(redis.asyncio.Connection):
        async def send_packed_command(self, *args, **options):
            if self._sealed:
                raise redis.DataError
            await super().send_packed_command(*args, **options)

    client = await redis_server.strategy(connection_class=Failing).create_connection()
    session = client.connection_pool.session
    gc.disable()
    try:
        sending = asyncio.create_task(session.send_packed_command([b"PING"]))
        await asyncio.wait([sending])
        error = weakref.ref(sending.exception())
        del sending
        await asyncio.sleep(0)
        assert error() is None
    finally:
        gc.enable()
        await session.disconnect()


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
        async with asyncio.timeout(SOON), await patiently(pool) as client:
            assert len([c for c in await client.client_list() if c["name"] == redis_server.label]) == 1


async def test_a_blpop_that_is_given_up_ends_only_when_the_server_has_let_go_of_it(own_valkey, eyes, patient):
    async with ConnectionPool(strategy=eyes.strategy(), max_size=1) as pool:
        eater = asyncio.create_task(pop(pool))
        await until(lambda: eyes.ask.info("clients")["blocked_clients"])
        own_valkey.freeze()
        eater.cancel()
        done, _ = await asyncio.wait([eater], timeout=0.1)
        own_valkey.thaw()
        assert not done, "who pushes now feeds the one that gave up"
        await asyncio.wait([eater], timeout=SOON)
        assert eater.cancelled()
        async with pool.get_connection() as client:
            await client.rpush("queue", "item")
            assert await client.lpop("queue") == "item"


async def test_a_blpop_on_a_frozen_server_is_given_up_soon_all_the_same(own_valkey, eyes):
    async with ConnectionPool(strategy=eyes.strategy(), max_size=1) as pool:
        eater = asyncio.create_task(pop(pool))
        await until(lambda: eyes.ask.info("clients")["blocked_clients"])
        own_valkey.freeze()
        eater.cancel()
        done, _ = await asyncio.wait([eater], timeout=SOON)
        own_valkey.thaw()
        assert done


async def test_what_does_not_block_is_given_up_at_once_even_after_a_blpop(redis_server, own_valkey, patient):
    async with ConnectionPool(strategy=redis_server.strategy(own_valkey.url), max_size=1) as pool:
        async with pool.get_connection() as client:
            assert await client.blpop("queue", timeout=0.01) is None
            own_valkey.freeze()
            reading = asyncio.create_task(client.get("key"))
            await asyncio.sleep(0.01)
            reading.cancel()
            done, _ = await asyncio.wait([reading], timeout=SOON)
            own_valkey.thaw()
            assert done


async def patiently(pool):
    """Wait until a connection can be opened in the time that it has for that; return a block with one."""
    while True:
        with suppress(TimeoutError):
            async with pool.get_connection() as client:
                await client.ping()
                return pool.get_connection()


async def pop(pool):
    async with pool.get_connection() as client:
        return await client.blpop("queue")
