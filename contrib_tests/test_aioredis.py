"""aioredis keeps the contract of all strategies, and what is particular to it is seen to."""

from __future__ import annotations

import asyncio
import time

import aioredis
import pytest

from aioredis_driver import AioredisDriver
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib.aioredis import RedisConnectionStrategy
from strategy_contract import StrategyContract, unique, until, until_seen
from tls_front import tls_front, trusting


@pytest.fixture
def driver(own_valkey):
    return AioredisDriver(own_valkey.port)


class TestContract(StrategyContract):
    """The shared checks."""


class TestContractWithAPassword(StrategyContract):
    """The shared checks, where opening a connection takes several round trips."""

    @pytest.fixture
    async def driver(self, own_valkey):
        await AioredisDriver(own_valkey.port).ask("CONFIG", "SET", "requirepass", "secret")
        driver = AioredisDriver(own_valkey.port, password="secret", db=2)
        driver.dirt = {**driver.dirt, "SELECT 0": lambda conn: conn.select(0), "AUTH": lambda conn: conn.auth("secret")}
        return driver


async def test_a_connection_is_used_again_as_long_as_it_is_clean(driver):
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        for use in CLEAN:
            async with pool.get_connection() as conn:
                await use(conn)
        assert pool.stats().created == 1, pool.stats().closed


async def subscribe_and_unsubscribe(conn):
    await conn.subscribe("channel")
    await conn.unsubscribe("channel")


async def watch_and_unwatch(conn):
    await conn.watch("key")
    await conn.unwatch()


async def transaction(conn):
    await conn.watch("key")
    transaction = conn.multi_exec()
    transaction.set("key", "value")
    transaction.get("key")
    assert await transaction.execute() == [True, "value"]


async def failing_transaction(conn):
    transaction = conn.multi_exec()
    transaction.set("key", "value")
    transaction.lpush("key", "value")
    with pytest.raises(aioredis.MultiExecError):
        await transaction.execute()


async def other_database_and_back(conn):
    await conn.select(4)
    await conn.select(0)


async def script(conn):
    assert await conn.eval("redis.call('select', 5) return 1") == 1


CLEAN = [
    lambda conn: conn.set("key", "value"),
    lambda conn: conn.client_getname(),
    subscribe_and_unsubscribe,
    watch_and_unwatch,
    transaction,
    failing_transaction,
    other_database_and_back,
    script,
]


@pytest.mark.parametrize("error", [KeyError, TimeoutError, asyncio.CancelledError])
async def test_what_a_block_raises_costs_no_connection_on_which_nothing_is_under_way(driver, error):
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        for _ in range(3):
            with pytest.raises(error):
                async with pool.get_connection() as conn:
                    await conn.ping()
                    raise error
        assert pool.stats().created == 1


async def test_an_error_reply_costs_no_connection(driver):
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        for _ in range(3):
            with pytest.raises(aioredis.ReplyError):
                async with pool.get_connection() as conn:
                    await conn.execute("NONSENSE")
        assert pool.stats().created == 1


@pytest.mark.parametrize("command", ["EXEC", "DISCARD"])
async def test_a_watch_outlives_the_end_of_no_transaction(driver, command):
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        async with pool.get_connection() as conn:
            await conn.watch("key")
            with pytest.raises(aioredis.ReplyError):
                await conn.execute(command)
        assert pool.stats().closed["dirty"] == 1


async def test_what_the_url_asks_for_is_the_home_of_a_connection(driver, own_valkey):
    strategy = RedisConnectionStrategy(own_valkey.url.replace("/0", "/7"))
    async with ConnectionPool(strategy=strategy, max_size=1) as pool:
        async with pool.get_connection() as conn:
            assert conn.db == 7
        assert pool.stats().idle == 1
        async with pool.get_connection() as conn:
            await conn.select(0)
        assert pool.stats().closed["dirty"] == 1


async def test_an_item_pushed_after_a_blpop_was_given_up_is_not_eaten(driver):
    """C9: the connection goes in the step in which it is given back."""
    async with ConnectionPool(strategy=driver.strategy(), max_size=2) as pool, asyncio.timeout(120):
        for n in range(200):
            queue = unique("queue")
            eater = asyncio.create_task(pop(pool, queue))
            async with pool.get_connection() as other:
                await until(lambda: blocked(other))
                eater.cancel()
                await asyncio.wait([eater])
                await other.rpush(queue, n)
                assert await other.lpop(queue) == str(n)


async def pop(pool, queue):
    async with pool.get_connection() as conn:
        return await conn.blpop(queue)


async def blocked(conn):
    return "blocked_clients:1" in await conn.execute("INFO", "clients", encoding="utf-8")


async def nobody_blocked(conn):
    return not await blocked(conn)


async def test_a_blpop_over_tls_is_given_up_too(driver):
    async with tls_front(driver.port) as port:
        strategy = driver.strategy(("localhost", port), ssl=trusting())
        async with ConnectionPool(strategy=strategy, max_size=2) as pool:
            took = []
            for n in range(20):
                eater = asyncio.create_task(pop(pool, "queue"))
                async with pool.get_connection() as other:
                    await until(lambda: blocked(other))
                    eater.cancel()
                    began = time.monotonic()
                    await asyncio.wait([eater])
                    took.append(time.monotonic() - began)
                    await until(lambda: nobody_blocked(other))  # what lies between may pass on the end after the push
                    await other.rpush("queue", n)
                    assert await other.lpop("queue") == str(n)
            assert min(took) < 0.4, "the server has said goodbye"
    await until_seen(driver, 0)


async def test_a_user_who_may_not_ping_gets_a_connection_all_the_same(driver):
    await driver.ask("ACL", "SETUSER", "default", "-ping")
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        async with pool.get_connection() as conn:
            assert await conn.echo("hello") == "hello"


async def test_an_answer_that_nobody_asked_for_closes_the_connection(driver):
    """aioredis's reader dies of it and keeps quiet, and whoever comes next waits for ever."""
    strategy = driver.strategy()
    conn = await strategy.create_connection()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # the death of the reader
    conn.connection._reader.feed_data(b"+hello\r\n")
    await until(lambda: strategy.connection_is_closed(conn))
    await until_seen(driver, 0)


async def test_a_connection_class_of_the_users_own_stays_one(driver):
    class Own(aioredis.RedisConnection):
        pass

    strategy = driver.strategy(connection_cls=Own)
    conn = await strategy.create_connection()
    assert isinstance(conn, aioredis.Redis)
    assert isinstance(conn.connection, Own)
    await strategy.close_connection(conn)


@pytest.mark.parametrize(
    "arguments", [((), {}), (("redis://a", 1), {}), (("redis://a",), {"nonsense": 1}), ((), {"connection_cls": int})]
)
def test_arguments_that_aioredis_does_not_take_are_refused_at_once(arguments):
    args, kwargs = arguments
    with pytest.raises(TypeError):
        RedisConnectionStrategy(*args, **kwargs)


def test_a_connection_class_that_is_none_is_refused_at_once():
    with pytest.raises(TypeError, match=r"subclass of aioredis\.RedisConnection"):
        RedisConnectionStrategy("redis://a", connection_cls=int)


async def test_a_connection_is_validated_by_a_round_trip(driver):
    strategy = driver.strategy()
    conn = await strategy.create_connection()
    await strategy.validate_connection(conn)
    await driver.cut(conn)
    with pytest.raises(driver.lost):
        await strategy.validate_connection(conn)
    await strategy.close_connection(conn)
