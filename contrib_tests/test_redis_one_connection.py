"""A pooled client is exactly one connection, dialled once."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib.redis import RedisConnectionStrategy
from redis_eyes import until


async def test_a_connection_is_opened_for_each_client_and_used_again(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=3) as pool:
        async with pool.get_connection() as one, pool.get_connection() as two:
            await one.set("key", "value")
            assert await two.get("key") == "value"
            opened = redis_server.ids()
            assert len(opened) == 2
        async with pool.get_connection() as again:
            assert await again.get("key") == "value"
        assert redis_server.ids() == opened


async def test_a_new_client_is_connected_before_it_is_handed_out(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool, pool.get_connection():
        assert len(redis_server.ids()) == 1


async def use_pipeline(client):
    assert await client.pipeline(transaction=False).set("a", 1).get("a").execute() == [True, "1"]


async def use_transaction(client):
    assert await client.pipeline().set("a", 1).get("a").execute() == [True, "1"]


async def use_watch(client):
    async with client.pipeline() as pipe:
        await pipe.watch("a")
        pipe.multi()
        assert await pipe.set("a", 2).execute() == [True]


async def use_transaction_function(client):
    async def double(pipe):
        await pipe.get("a")
        pipe.multi()
        pipe.set("a", 4)

    assert await client.transaction(double, "a") == [True]


async def use_gather(client):
    assert await asyncio.gather(*(client.echo(str(n)) for n in range(50))) == [str(n) for n in range(50)]


async def use_lock(client):
    async with client.lock("lock", timeout=5):
        assert await client.get("lock")


async def use_script(client):
    assert await client.register_script("return ARGV[1]")(args=["x"]) == "x"


async def use_scan(client):
    await client.mset({f"k{n}": n for n in range(100)})
    assert len([key async for key in client.scan_iter("k*", count=10)]) == 100


async def use_error(client):
    await client.set("text", "x")
    with pytest.raises(redis.ResponseError):
        await client.incr("text")


async def use_blocking(client):
    assert await client.blpop("empty", timeout=0.01) is None


async def use_client_of_client(client):
    async with client.client() as same:
        assert await same.echo("x") == "x"


async def use_own_database(client):
    await client.execute_command("SELECT", 0)
    await client.execute_command(b"select", b"0")


async def use_raw_transaction(client):
    await client.execute_command("MULTI")
    await client.execute_command("PING")
    await client.execute_command("EXEC")
    await client.execute_command("WATCH", "a")
    await client.execute_command("UNWATCH")
    await client.execute_command("MULTI")
    await client.execute_command("DISCARD")


async def use_questions(client):
    await client.client_id()
    await client.client_list()
    await client.execute_command("CLIENT GETNAME")
    await client.script_load("return 1")


LEAVES_NOTHING = [
    use_pipeline,
    use_transaction,
    use_watch,
    use_transaction_function,
    use_gather,
    use_lock,
    use_script,
    use_scan,
    use_error,
    use_blocking,
    use_client_of_client,
    use_own_database,
    use_raw_transaction,
    use_questions,
]


@pytest.mark.parametrize("use", LEAVES_NOTHING)
async def test_what_leaves_nothing_behind_needs_no_other_connection(redis_server, use):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        async with pool.get_connection() as client:
            before = redis_server.ids()
            await use(client)
            assert redis_server.ids() == before, "it was done on the one connection"
        async with pool.get_connection() as client:
            assert await client.echo("mine") == "mine"
            assert redis_server.ids() == before, "the connection was used again"
        assert pool.stats().created == 1


async def test_a_command_during_a_watch_of_the_same_task_is_refused_rather_than_stuck(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        async with pool.get_connection() as client, client.pipeline() as pipe:
            await pipe.watch("a")
            with pytest.raises(redis.RedisError, match="a pipeline, a subscription or a monitor of this very task"):
                await client.get("a")


async def test_a_client_does_not_reconnect_after_its_connection_was_cut(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool, pool.get_connection() as client:
        redis_server.cut()
        with pytest.raises(redis.ConnectionError):
            await client.get("a")
        with pytest.raises(redis.ConnectionError, match="never reconnected"):
            await client.get("a")
        with pytest.raises(redis.ConnectionError, match="never reconnected"):
            await client.pipeline().get("a").execute()
        assert redis_server.ids() == set()


async def test_a_subscription_does_not_reconnect_either(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool, pool.get_connection() as client:
        async with client.pubsub() as listener:
            await listener.subscribe("channel")
            await listener.get_message(timeout=1)
            redis_server.cut()
            with pytest.raises(redis.ConnectionError):
                await listener.get_message(timeout=5)
        assert redis_server.ids() == set()


async def test_a_client_that_was_kept_after_the_pool_closed_it_does_not_reconnect(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool, pool.get_connection() as client:
        pass
    with pytest.raises(redis.ConnectionError, match="never reconnected"):
        await client.get("a")


async def test_a_client_that_the_user_closed_is_replaced(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        async with pool.get_connection() as client, client:
            await client.ping()
        async with pool.get_connection() as other:
            assert await other.ping()


async def test_closing_the_pool_closes_the_servers_side(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=3) as pool:
        async with pool.get_connection(), pool.get_connection(), pool.get_connection():
            assert len(redis_server.ids()) == 3
    await until(lambda: not redis_server.ids())


async def test_aborting_closes_the_servers_side_without_awaiting(redis_server):
    strategy = redis_server.strategy()
    client = await strategy.create_connection()
    strategy.abort_connection(client)
    assert strategy.connection_is_closed(client)
    await until(lambda: not redis_server.ids())


async def test_validating_asks_the_server(redis_server):
    strategy = redis_server.strategy()
    client = await strategy.create_connection()
    await strategy.validate_connection(client)
    redis_server.cut()
    with pytest.raises(redis.ConnectionError):
        await strategy.validate_connection(client)
    await strategy.close_connection(client)


async def test_the_arguments_are_those_of_the_driver(redis_server):
    where = redis_server.ask.connection_pool.connection_kwargs
    strategy = RedisConnectionStrategy(
        host=where["host"], port=where["port"], db=3, single_connection_client=True, client_name=redis_server.label
    )
    async with ConnectionPool(strategy=strategy, max_size=1) as pool, pool.get_connection() as client:
        await client.set("key", "value")
        assert await client.pipeline().get("key").execute() == [b"value"]
        assert [seen["db"] for seen in redis_server.open_connections()] == ["3"]


async def test_a_unix_socket_will_do(own_valkey):
    strategy = RedisConnectionStrategy.from_url(own_valkey.socket_url)
    async with ConnectionPool(strategy=strategy, max_size=1) as pool, pool.get_connection() as client:
        assert await client.echo("x") == b"x"


async def test_a_retry_that_is_asked_for_applies_to_opening(own_valkey):
    dials = 0

    class Counting(Retry):
        async def call_with_retry(self, do, fail, **options):
            def counted():
                nonlocal dials
                dials += 1
                return do()

            return await super().call_with_retry(counted, fail, **options)

    retry = Counting(NoBackoff(), 3, supported_errors=(OSError, redis.ConnectionError))
    strategy = RedisConnectionStrategy.from_url(own_valkey.url, retry=retry)
    own_valkey.kill()
    with pytest.raises(redis.ConnectionError):
        await strategy.create_connection()
    assert dials == 4


def test_a_pool_of_the_drivers_own_is_refused(redis_server):
    with pytest.raises(TypeError, match="brings no pool of its own"):
        RedisConnectionStrategy(connection_pool=redis.asyncio.ConnectionPool())
    with pytest.raises(TypeError, match="brings no pool of its own"):
        RedisConnectionStrategy.from_url(redis_server.url, connection_pool=redis.asyncio.ConnectionPool())


@pytest.mark.parametrize("url", ["http://localhost", "redis://localhost:port"])
def test_a_bad_url_is_refused_at_once(url):
    with pytest.raises(ValueError):
        RedisConnectionStrategy.from_url(url)
