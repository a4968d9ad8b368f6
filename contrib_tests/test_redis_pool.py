"""Code that was written for redis-py runs on our pool unchanged."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.asyncio import Redis

from asyncio_connection_pool.contrib.redis import RedisConnectionPool
from redis_pool_user import PoolDriver, aclose
from strategy_contract import until


@pytest.fixture
def driver(own_valkey):
    return PoolDriver(own_valkey.port)


@pytest.fixture
async def client(driver):
    async with driver.client(max_size=4) as client:
        yield client


async def test_commands_one_after_the_other_use_one_connection(driver, client):
    for n in range(10):
        assert await client.set("key", n)
        assert await client.get("key") == str(n)
    assert await client.get("nothing") is None
    assert await driver.seen() == 1


async def test_commands_at_the_same_time_use_as_many_connections_as_there_may_be(driver, client):
    assert sorted(await asyncio.gather(*(client.incr("key") for _ in range(100)))) == list(range(1, 101))
    await asyncio.gather(*(client.blpop("nothing", timeout=0.1) for _ in range(8)))
    assert await driver.seen() == 4


async def test_an_error_of_the_server_reaches_its_caller_and_costs_no_connection(driver, client):
    await client.set("key", "text")
    for _ in range(3):
        with pytest.raises(redis.ResponseError, match="not an integer"):
            await client.incr("key")
    assert client.connection_pool.stats().created == 1


async def test_replies_are_decoded_if_so_wanted_and_large_ones_arrive(driver):
    large = bytes(range(256)) * 10_000
    async with driver.client(max_size=1, decode_responses=False) as client:
        await client.set("key", large)
        assert await client.get("key") == large


async def test_a_pipeline_sends_its_commands_together(client):
    async with client.pipeline(transaction=False) as pipe:
        replies = await pipe.set("a", 1).incr("a").get("a").execute()
    assert replies == [True, 2, "2"]
    assert client.connection_pool.stats().created == 1


async def test_a_pipeline_returns_errors_in_their_places(client):
    pipe = client.pipeline(transaction=False)
    replies = await pipe.set("a", "text").incr("a").get("a").execute(raise_on_error=False)
    assert replies[0::2] == [True, "text"]
    assert isinstance(replies[1], redis.ResponseError)


async def test_a_transaction_is_executed_or_fails_as_a_whole(client):
    pipe = client.pipeline()
    assert await pipe.set("a", 1).incr("a").execute() == [True, 2]
    with pytest.raises(redis.ResponseError):
        await pipe.set("a", "lost").execute_command("NONSENSE").execute()
    assert await client.get("a") == "2"


async def test_a_watched_key_that_others_change_fails_the_transaction(client):
    async with client.pipeline() as pipe:
        await pipe.watch("key")
        assert await pipe.get("key") is None
        await client.set("key", "theirs")
        pipe.multi()
        pipe.set("key", "mine")
        with pytest.raises(redis.WatchError):
            await pipe.execute()
    assert await client.get("key") == "theirs"


async def test_a_transaction_function_is_repeated_until_nobody_interferes(client):
    await client.set("counter", 0)

    async def increment(pipe):
        value = int(await pipe.get("counter"))
        await asyncio.sleep(0)
        pipe.multi()
        pipe.set("counter", value + 1)

    await asyncio.gather(*(client.transaction(increment, "counter") for _ in range(8)))
    assert await client.get("counter") == "8"


async def test_watching_and_changing_ones_mind_leaves_the_connection_clean(driver, client):
    async with client.pipeline() as pipe:
        await pipe.watch("key")
        await pipe.unwatch()
    async with client.pipeline() as pipe:
        await pipe.watch("key")
    assert client.connection_pool.stats().created == 1


async def test_messages_reach_a_subscription_and_its_connection_is_nobody_elses(driver, client):
    async with client.pubsub() as listener:
        await listener.subscribe("channel")
        await listener.psubscribe("chan*")
        await client.publish("channel", "hello")
        messages = [message async for message in first(4, listener)]
        assert [message["type"] for message in messages] == ["subscribe", "psubscribe", "message", "pmessage"]
        assert messages[2]["data"] == messages[3]["data"] == "hello"
        assert client.connection_pool.stats().in_use == 1
    assert await client.get("key") is None
    assert client.connection_pool.stats().in_use == 0


async def first(count, listener):
    """Yield so many messages."""
    while count:
        message = await listener.get_message(timeout=1)
        if message:
            count -= 1
            yield message


async def test_a_subscription_survives_a_lost_connection(driver, client):
    listener = client.pubsub()
    await listener.subscribe("channel")
    assert (await listener.get_message(timeout=30))["type"] == "subscribe"
    driver.cut_all()
    with pytest.raises(redis.ConnectionError):
        await listener.get_message(timeout=30)
    await listener.connect()  # dials again and subscribes again
    assert (await listener.get_message(timeout=30))["type"] == "subscribe"
    await client.publish("channel", "hello")
    assert (await listener.get_message(timeout=30))["data"] == "hello"
    await aclose(listener)


async def test_a_listener_that_runs_while_its_subscription_is_closed_opens_nothing_behind_our_back(driver, client):
    listener = client.pubsub()
    await listener.subscribe("channel")
    reading = asyncio.create_task(anext(aiter(listener.listen())))
    assert (await reading)["type"] == "subscribe"
    reading = asyncio.create_task(listener.get_message(timeout=None))
    await asyncio.sleep(0.01)
    connection = listener.connection
    await aclose(listener)
    await asyncio.wait([reading], timeout=30)
    assert reading.done()
    reading.exception()
    await until(lambda: client.connection_pool.stats().size == 0)
    with pytest.raises(redis.ConnectionError, match="given back"):
        await connection.connect()


async def test_locks_exclude_each_other(client):
    inside = most = 0

    async def enter():
        nonlocal inside, most
        async with client.lock("lock", timeout=60, sleep=0.001):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(10)))
    assert most == 1


async def test_a_lock_that_is_lost_says_so(client):
    lock = client.lock("lock", timeout=60)
    assert await lock.acquire()
    assert await lock.extend(10)
    await client.delete("lock")
    with pytest.raises(redis.exceptions.LockError):
        await lock.release()


async def test_scripts_are_loaded_when_they_are_missing(client):
    script = client.register_script("return {KEYS[1], ARGV[1]}")
    for _ in range(2):
        assert await script(keys=["key"], args=["argument"]) == ["key", "argument"]
        await client.script_flush()
    pipe = client.pipeline()
    await script(keys=["key"], args=["argument"], client=pipe)
    assert await pipe.execute() == [["key", "argument"]]
    assert client.connection_pool.stats().created == 1


async def test_commands_that_block_wait_for_others_on_other_connections(client):
    waiting = asyncio.create_task(client.blpop("queue", timeout=60))
    await asyncio.sleep(0.01)
    await client.rpush("queue", "item")
    assert list(await waiting) == ["queue", "item"]
    assert await client.blpop("queue", timeout=0.01) is None


async def test_streams_and_their_groups(client):
    await client.xgroup_create("stream", "group", mkstream=True)
    reading = asyncio.create_task(client.xreadgroup("group", "me", {"stream": ">"}, block=5000))
    await asyncio.sleep(0.01)
    await client.xadd("stream", {"field": "value"})
    assert "value" in str(await reading)


async def test_iterating_over_keys(client):
    await client.mset({f"key-{n}": n for n in range(100)})
    assert len([key async for key in client.scan_iter("key-*", count=10)]) == 100


async def test_a_monitor_sees_commands_and_gives_its_connection_back(client):
    async with client.monitor() as monitor:
        await client.set("key", "value")
        while (await monitor.next_command())["command"] != "SET key value":
            pass  # a greeting
    await until(lambda: client.connection_pool.stats().in_use == 0)


async def test_a_client_with_a_connection_of_its_own(driver, client):
    async with client.client() as one:
        number = await one.client_id()
        assert [await one.client_id() for _ in range(3)] == [number] * 3
        assert await client.client_id() != number
    assert client.connection_pool.stats().in_use == 0


async def test_a_retry_dials_again_and_that_connection_is_not_used_by_others(driver):
    retry = redis.asyncio.retry.Retry(redis.backoff.NoBackoff(), 3)
    async with driver.client(max_size=1, retry=retry, retry_on_error=[redis.ConnectionError]) as client:
        async with client.client() as one:
            number = await one.client_id()
            driver.cut_all()
            assert await one.client_id() != number
        await until(lambda: client.connection_pool.stats().closed["dirty"] == 1)


async def test_closing_a_client_leaves_the_pool_that_was_passed_to_it(driver):
    async with driver.client(max_size=1) as client:
        async with Redis(connection_pool=client.connection_pool) as other:
            assert await other.ping()
        assert await driver.seen() == 1
        await aclose(client)
        assert await driver.seen() == 1
        assert await client.ping()


async def test_closing_a_client_that_owns_the_pool_closes_the_connections(driver):
    pool = driver.pool(max_size=2)
    client = Redis(connection_pool=pool)
    client.auto_close_connection_pool = True  # what Redis.from_pool does, in the versions that have it
    await asyncio.gather(client.ping(), client.ping())
    assert await driver.seen() == 2
    await aclose(client)
    await until(lambda: pool.stats().size == 0)
    assert await client.ping()  # as with redis-py's pools
    async with pool:
        assert pool.stats().idle == 1
    await until(lambda: pool.stats().size == 0)


URLS = {
    "tcp": lambda server: f"{server.url}?client_name=me&decode_responses=True",
    "unix": lambda server: f"{server.socket_url}&client_name=me",
    "another database": lambda server: server.url.replace("/0", "/3?client_name=me"),
}


@pytest.mark.parametrize("kind", URLS)
async def test_a_pool_is_made_from_a_url(own_valkey, kind):
    pool = RedisConnectionPool.from_url(URLS[kind](own_valkey), max_size=2, burst_limit=3, name="mine")
    async with pool:
        client = Redis(connection_pool=pool)
        assert await client.set("key", "value")
        (info,) = [info for info in await client.client_list() if info["name"] == "me"]
        assert info["db"] == ("3" if kind == "another database" else "0")
    assert pool.stats().name == "mine"
    assert pool.stats().limit == 3


def test_a_pool_is_of_redis_pys_kind_and_shows_where_it_leads():
    pool = RedisConnectionPool.from_url("redis://somewhere:1234/5?max_connections=7&health_check_interval=3")
    assert isinstance(pool, redis.asyncio.ConnectionPool)
    assert pool.max_connections == pool.stats().limit == 7
    assert pool.connection_kwargs["health_check_interval"] == 3
    assert "somewhere" in repr(pool)
    assert pool.connection_class is redis.asyncio.Connection
    assert pool.get_encoder().encode("ä") == "ä".encode()


async def test_options_that_are_wrong_are_told_at_once():
    with pytest.raises(ValueError, match="burst_limit must be greater than or equal to max_size"):
        RedisConnectionPool(max_size=3, burst_limit=2)
    with pytest.raises(ValueError, match="max_size"):
        RedisConnectionPool(max_size=0)
    with pytest.raises(TypeError, match="max_size"):
        RedisConnectionPool(max_size="3")
    with pytest.raises(TypeError, match="nonsense"):  # only redis-py's connections know that they don't know it
        await RedisConnectionPool(nonsense=1).get_connection("_")
