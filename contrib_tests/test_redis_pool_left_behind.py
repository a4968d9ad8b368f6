"""What one user of the pool left on a connection never reaches the next one; what is forgotten comes back (C9, C10)."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
import redis

from redis_driver import DIRT
from redis_pool_user import PoolDriver, aclose, every_slot_works
from strategy_contract import SOON, until

# What redis-py 5 and later say of a connection that is collected while it is open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed Connection:ResourceWarning")


@pytest.fixture
def driver(own_valkey):
    return PoolDriver(own_valkey.port)


@pytest.fixture
async def client(driver):
    async with driver.client(max_size=1) as client:
        yield client


@pytest.mark.parametrize("name", DIRT)
async def test_no_dirt_reaches_the_next_user(driver, client, name):
    fresh = await driver.session(client)
    async with asyncio.timeout(SOON):
        await DIRT[name](client)
        gc.collect()  # a subscription that nobody has closed
        assert await driver.session(client) == fresh
        assert await driver.echo(client, "mine") == "mine"


async def take(client):
    return await client.connection_pool.get_connection("_")


async def give_back(client, connection):
    await client.connection_pool.release(connection)


async def number(connection):
    await connection.send_command("CLIENT ID")
    return await connection.read_response()


async def spoil_by_a_read_that_was_given_up(connection):
    await connection.send_command("ECHO", "theirs")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.sleep(0)
            await connection.read_response()


async def spoil_by_a_reply_that_nobody_read(connection):
    await connection.send_packed_command(b"*2\r\n$4\r\nECHO\r\n$6\r\ntheirs\r\n")  # past the account
    await until(lambda: connection._reader._buffer)


async def spoil_by_dialling_anew(connection):
    await connection.disconnect()
    await connection.connect()


async def spoil_by_disconnecting(connection):
    await connection.disconnect()


async def spoil_by_a_read_without_a_command(connection):
    assert await connection.read_response(timeout=0.001) is None


async def spoil_by_mark_for_reconnect(connection):
    assert not connection.should_reconnect()
    connection.mark_for_reconnect()
    assert connection.should_reconnect()


async def spoil_by_set_re_auth_token(connection):
    connection.set_re_auth_token(None)


SPOILS = [value for name, value in globals().items() if name.startswith("spoil_by_")]
if redis.VERSION < (5, 3):
    SPOILS.remove(spoil_by_set_re_auth_token)
if not hasattr(redis.asyncio.Connection, "mark_for_reconnect"):
    SPOILS.remove(spoil_by_mark_for_reconnect)


@pytest.mark.parametrize("spoil", SPOILS)
async def test_a_connection_that_is_not_as_it_was_is_not_lent_again(driver, client, spoil):
    connection = await take(client)
    first = await number(connection)
    await spoil(connection)
    await give_back(client, connection)
    connection = await take(client)
    assert await number(connection) != first
    await give_back(client, connection)
    assert client.connection_pool.stats().closed["dirty"] == 1
    assert await driver.seen() == 1


async def test_bytes_that_come_while_a_connection_is_idle_cost_that_connection(own_valkey, driver, client):
    connection = await take(client)
    first = await number(connection)
    await give_back(client, connection)
    connection._reader.feed_data(b"+somebody else's\r\n")
    assert await client.client_id() != first
    assert await client.echo("mine") == "mine"


if redis.VERSION >= (5, 0, 2):  # RESP3

    async def test_what_is_pushed_to_an_idle_connection_is_no_reply_and_does_no_harm(driver):
        async with driver.client(max_size=1, protocol=3) as client:
            connection = await take(client)
            first = await number(connection)
            await give_back(client, connection)
            connection._reader.feed_data(b">2\r\n+notice\r\n+of something\r\n")
            assert await client.client_id() == first
            assert await client.echo("mine") == "mine"


async def test_a_command_that_is_cancelled_costs_the_connection_and_nobody_else_anything(driver, client):
    for n in range(20):
        task = asyncio.create_task(client.blpop("queue"))
        await until(driver.blocked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.rpush("queue", n)
        assert await client.lpop("queue") == str(n)
    assert client.connection_pool.stats().closed["dirty"] == 20


async def test_a_subscription_that_nobody_has_closed_is_collected_and_its_slot_is_free(driver):
    async with driver.client(max_size=2) as client:
        for _ in range(5):
            listeners = [client.pubsub(), client.pubsub()]
            for listener in listeners:
                await listener.subscribe("channel")
            assert client.connection_pool.stats().in_use == 2
            del listener, listeners
            gc.collect()
            await until(lambda: not client.connection_pool.stats().size)
        await every_slot_works(driver, client)


async def test_what_is_collected_in_another_thread_comes_back_too(client):
    forgotten = [await take(client)]

    def forget():
        forgotten.clear()
        gc.collect()

    thread = threading.Thread(target=forget)
    thread.start()
    await asyncio.to_thread(thread.join)
    await until(lambda: not client.connection_pool.stats().size)
    assert await client.ping()


@pytest.fixture
def no_collector():
    gc.disable()
    yield
    gc.enable()


async def watch_and_reset(client):
    pipe = client.pipeline()  # and no `async with`
    await pipe.watch("key")
    await pipe.reset()


@pytest.mark.filterwarnings("ignore:Unclosed client session:ResourceWarning")  # redis-py's own of its own omission
async def test_a_pipeline_that_is_cancelled_at_any_moment_loses_no_slot(driver, no_collector):
    async with driver.client(max_size=1) as client:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # up to 7.x redis-py tells it too
        for n in range(60):
            task = asyncio.create_task(watch_and_reset(client))
            await asyncio.sleep(n * 0.00005)
            task.cancel()
            await asyncio.wait([task])
            del task
            async with asyncio.timeout(SOON):
                assert await client.echo("mine") == "mine"
        await every_slot_works(driver, client)


async def test_a_connection_is_given_back_once_and_to_a_pool_of_this_kind(driver, client):
    connection = await take(client)
    await give_back(client, connection)
    for wrong in (connection, redis.asyncio.Connection(), None):
        with pytest.raises(redis.RedisError, match="not lent"):
            await give_back(client, wrong)
    assert client.connection_pool.stats().released == 1


async def test_a_lost_connection_is_dialled_anew_by_its_borrower_only(driver, client):
    connection = await take(client)
    await connection.disconnect()
    await connection.connect()
    assert await number(connection)
    await give_back(client, connection)
    await until(lambda: client.connection_pool.stats().size == 0)
    with pytest.raises(redis.ConnectionError, match="given back"):
        await connection.connect()
    await aclose(client)
