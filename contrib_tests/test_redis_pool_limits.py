"""The options of our pool hold for redis-py's clients, and what it raises is an error of redis-py's too."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest
import redis
from redis.asyncio import Redis

from asyncio_connection_pool import PoolClosedError, PoolError, PoolOverloadedError, PoolTimeoutError
from redis_pool_user import PoolDriver
from strategy_contract import until


@pytest.fixture
def driver(own_valkey):
    return PoolDriver(own_valkey.port)


@pytest.mark.parametrize("name", ["timeout", "acquire_timeout"])
async def test_who_waits_too_long_is_told_by_an_error_of_both_kinds(driver, name):
    async with driver.client(max_size=1, **{name: 1}) as client, client.client():
        assert client.connection_pool.timeout == 1
        with pytest.raises(PoolTimeoutError, match="stage: waiting") as raised:
            await client.ping()
        assert isinstance(raised.value, redis.ConnectionError)
        assert raised.value.stage == "waiting"


async def test_the_last_connect_error_is_the_cause_of_a_timeout(driver, own_valkey):
    await asyncio.to_thread(own_valkey.kill)
    async with driver.pool(max_size=1, timeout=1, connect_timeout=30) as pool:
        client = Redis(connection_pool=pool)
        with pytest.raises(redis.ConnectionError):
            await client.ping()
        await asyncio.to_thread(own_valkey.restart)
        own_valkey.freeze()
        with pytest.raises(PoolTimeoutError, match="stage: opening") as raised:
            await client.ping()
        own_valkey.thaw()
        assert isinstance(raised.value.__cause__, redis.ConnectionError)


async def test_a_queue_that_is_too_long_is_told_by_an_error_of_both_kinds(driver):
    async with driver.client(max_size=1, max_waiting=0) as client, client.client():
        assert not client.connection_pool.can_get_connection()
        with pytest.raises(PoolOverloadedError) as raised:
            await client.ping()
        assert isinstance(raised.value, redis.exceptions.MaxConnectionsError)


async def test_a_pool_that_was_closed_for_good_says_so(driver):
    async with driver.client(max_size=1) as client:
        assert client.connection_pool.can_get_connection()
        assert await client.ping()
        assert client.connection_pool.can_get_connection()
        await client.connection_pool.pool.close()
        with pytest.raises(PoolClosedError) as raised:
            await client.ping()
        assert isinstance(raised.value, redis.ConnectionError)


async def test_a_server_that_hangs_up_on_everybody_is_told_by_an_error_of_both_kinds(driver):
    class Stillborn(redis.asyncio.Connection):
        async def connect(self):
            await super().connect()
            self._reader.feed_eof()

    async with driver.client(max_size=1, connection_class=Stillborn, client_name="me") as client:
        with pytest.raises(PoolError, match="16 connections in a row") as raised:
            await client.ping()
        assert isinstance(raised.value, redis.ConnectionError)


async def test_the_server_never_sees_more_than_the_limit(driver):
    async with driver.client(max_size=2, burst_limit=5, shrink_delay=0.05) as client:
        seen = []

        async def watch():
            while True:
                seen.append(await driver.seen())
                await asyncio.sleep(0.002)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(client.blpop("nothing", timeout=0.02) for _ in range(50)))
        watching.cancel()
        assert max(seen) == 5
        await until(lambda: client.connection_pool.stats().size == 2)


async def test_callers_are_served_in_the_order_of_their_coming(driver):
    async with driver.client(max_size=1) as client:
        order = []

        async def call(n):
            await client.ping()
            order.append(n)

        await asyncio.gather(*(call(n) for n in range(50)))
        assert order == list(range(50))


async def test_a_surplus_connection_is_closed_when_it_is_given_back(driver):
    async with driver.client(max_size=1, burst_limit=2) as client:
        await asyncio.gather(client.ping(), client.ping())
        await until(lambda: client.connection_pool.stats().size == 1)
        assert client.connection_pool.stats().closed["surplus"] == 1


async def test_disconnecting_spares_those_in_use_if_so_wanted(driver):
    async with driver.client(max_size=3) as client:
        pool = client.connection_pool
        async with client.client() as one:
            number = await one.client_id()
            await asyncio.gather(client.ping(), client.ping())
            await pool.disconnect(inuse_connections=False)
            assert await one.client_id() == number
            await pool.disconnect()
            assert not one.connection.is_connected
            assert await one.client_id() != number
        await until(lambda: pool.stats().size == 0)


async def test_disconnecting_reports_a_failure_and_loses_no_slot(driver):
    class Stubborn(redis.asyncio.Connection):
        async def disconnect(self, *args, **options):
            await super().disconnect(*args, **options)
            if not options:
                raise redis.TimeoutError("it takes too long")

    pool = driver.pool(max_size=2, connection_class=Stubborn)
    client = Redis(connection_pool=pool)
    for _ in range(2):
        await asyncio.gather(client.ping(), client.ping())
        with pytest.raises(redis.TimeoutError):
            await pool.disconnect()
        await until(lambda: pool.stats().size == 0)


async def test_idle_connections_that_are_dead_do_not_keep_a_disconnect_from_its_work(driver):
    async with driver.client(max_size=2) as client:
        pool = client.connection_pool
        await asyncio.gather(client.ping(), client.ping())
        driver.cut_all()
        await until(lambda: not any(link.is_alive() for link in pool._available_connections))
        await pool.disconnect()
        assert pool.stats().size == 0


async def test_resetting_forgets_all_connections(driver):
    async with driver.client(max_size=3) as client:
        pool = client.connection_pool
        async with client.client() as one:
            await asyncio.gather(client.ping(), client.ping())
            before = pool.pool
            pool.reset()
            assert pool.pool is not before
            assert pool.stats().size == 0
            assert await one.ping()
            assert await client.ping()
        await until(lambda: before.stats().in_use == 0)


if redis.VERSION >= (5, 3):

    async def test_other_credentials_hold_for_every_connection_from_then_on(driver):
        async with driver.client(max_size=2) as client:
            pool = client.connection_pool
            async with client.client() as one:
                await client.ping()
                await pool.re_auth_callback(None)
                assert await one.ping()
            await pool.re_auth_callback(None)
            await until(lambda: pool.stats().size == 0)


async def test_a_retry_that_is_set_later_holds_for_connections_that_are_open(driver):
    async with driver.client(max_size=2) as client:
        retry = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 7)
        async with client.client() as one:
            await client.ping()
            client.set_retry(retry)
            (idle,) = client.connection_pool._available_connections
            assert one.connection.retry is idle.retry is retry


def test_a_pool_goes_on_in_another_loop_when_its_loop_is_closed(own_valkey):
    pool = PoolDriver(own_valkey.port).pool(max_size=1)
    client = Redis(connection_pool=pool)

    async def use():
        assert await client.echo("mine") == "mine"
        await pool.disconnect()
        await until(lambda: pool.stats().size == 0)

    for _ in range(2):
        asyncio.run(use())


async def test_a_pool_is_for_one_loop_at_a_time(driver):
    async with driver.client(max_size=1) as client:
        await client.ping()
        errors = []

        def elsewhere():
            try:
                asyncio.run(client.ping())
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert "belongs to another event loop" in str(errors[0])
        assert await client.ping()


async def test_a_forked_child_leaves_the_connections_of_its_parent_alone(driver):
    async with driver.client(max_size=2) as client:
        pool = client.connection_pool
        async with client.client() as one:
            number = await one.client_id()
            idle = await client.client_id()
            pid = os.fork()
            if not pid:
                known = pool._available_connections or pool._in_use_connections or pool.stats().size
                one.connection = None  # what is collected here does no harm there
                os._exit(bool(known))
            assert await asyncio.to_thread(os.waitpid, pid, 0) == (pid, 0)
            assert await one.client_id() == number
            assert await client.client_id() == idle


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # it is forgotten on purpose, and on 3.11 its transport too
async def test_a_pool_is_closed_for_good_in_the_moment_that_a_connection_is_forgotten(driver):
    async with driver.client(max_size=1) as client:
        pool = client.connection_pool
        connection = await pool.get_connection("_")
        del connection
        gc.collect()
        await pool.pool.close(timeout=0)
        assert pool.stats().size == 0


async def test_a_pool_that_is_closed_for_good_aborts_what_is_in_use_when_its_time_is_up(driver):
    async with driver.client(max_size=1) as client:
        waiting = asyncio.create_task(client.blpop("nothing"))
        await until(lambda: client.connection_pool.stats().in_use)
        await asyncio.sleep(0.01)
        await client.connection_pool.pool.close(timeout=0.01)
        with pytest.raises(redis.ConnectionError):
            await waiting
