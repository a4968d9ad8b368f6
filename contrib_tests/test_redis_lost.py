"""A connection that is cut is noticed, and a server that can't be reached is reported at once, by the driver."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import pytest
import redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib.redis import RedisConnectionStrategy
from redis_eyes import until
from servers.process import free_port
from strategy_contract import AT_ONCE

# The newest of redis-py 7 would rather be told otherwise not to name itself to the server.
pytestmark = pytest.mark.filterwarnings("ignore:Call to '__init__' function with deprecated usage:DeprecationWarning")


async def test_an_idle_connection_that_the_server_kills_is_replaced(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        async with pool.get_connection() as client:
            killed = redis_server.ids()
        redis_server.cut()
        await until(lambda: pool._strategy.connection_is_closed(client))
        async with pool.get_connection() as other:
            assert await other.ping()
            assert redis_server.ids().isdisjoint(killed)
        assert pool.stats().closed["dead"] == 1


async def test_a_connection_that_is_killed_in_use_fails_its_user_and_nobody_else(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        with pytest.raises(redis.ConnectionError):
            async with pool.get_connection() as client:
                redis_server.cut()
                await client.get("key")
        async with pool.get_connection() as client:
            assert await client.ping()


def plain_strategy(port, db):
    """Make a strategy whose greeting is a SELECT, or with database 0 nothing, in every version of the driver."""
    silent = {"driver_info": None} if redis.VERSION >= (8,) else {"lib_name": None, "lib_version": None}
    options = {"protocol": 2, **silent} if redis.VERSION >= (5, 0, 2) else {}
    return RedisConnectionStrategy.from_url(f"redis://127.0.0.1:{port}/{db}", **options)


async def say_goodbye(writer):
    writer.write(b"-ERR server is shutting down\r\n")


async def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("leave", [say_goodbye, reset])
async def test_a_server_that_leaves_in_another_way_is_noticed_too(leave):
    async def serve(reader, writer):
        await reader.read(100)
        writer.write(b"+OK\r\n")
        await leave(writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        strategy = plain_strategy(server.sockets[0].getsockname()[1], db=1)
        client = await strategy.create_connection()
        await until(lambda: strategy.connection_is_closed(client))
        await strategy.close_connection(client)


async def test_a_server_that_refuses_is_heard_even_where_the_driver_asks_it_nothing(own_valkey):
    strategy = plain_strategy(own_valkey.port, db=0)
    with redis.Redis.from_url(own_valkey.url) as ask:
        ask.config_set("maxclients", "1")
        with pytest.raises(redis.ConnectionError, match="max number of clients"):
            await strategy.create_connection()
        ask.config_set("maxclients", "2")
        await strategy.close_connection(await strategy.create_connection())


async def test_a_failed_greeting_leaves_no_connection(redis_server):
    async def greet(connection):
        raise LookupError

    strategy = redis_server.strategy(redis_connect_func=greet)
    with pytest.raises((LookupError, redis.ConnectionError)):
        await strategy.create_connection()
    await until(lambda: len(redis_server.ask.client_list()) == 1)


async def test_a_lost_connection_is_reported_at_once_whatever_retry_was_asked_for(redis_server):
    strategy = redis_server.strategy(retry=Retry(ConstantBackoff(10), 3))
    async with ConnectionPool(strategy=strategy, max_size=1) as pool, pool.get_connection() as client:
        redis_server.cut()
        async with asyncio.timeout(5):
            with pytest.raises(redis.ConnectionError):
                await client.get("key")


UNREACHABLE = {
    "refused": lambda eyes: eyes.strategy(f"redis://127.0.0.1:{free_port()}"),
    "refused, with no URL": lambda eyes: RedisConnectionStrategy(port=free_port()),
    "no such host": lambda eyes: eyes.strategy("redis://host.invalid"),
    "no such socket": lambda eyes: eyes.strategy("unix:///nowhere/socket"),
    "wrong password": lambda eyes: eyes.strategy(username="nobody", password="wrong"),
    "no such database": lambda eyes: eyes.strategy(eyes.url.replace("/0", "/999999")),
}


@pytest.mark.parametrize("why", UNREACHABLE)
async def test_what_the_driver_raises_arrives_at_once_and_costs_no_slot(redis_server, why):
    strategy = UNREACHABLE[why](redis_server)
    async with ConnectionPool(strategy=strategy, max_size=1) as pool:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises((redis.RedisError, socket.gaierror)):
                async with pool.get_connection():
                    pass
            assert time.monotonic() - began < AT_ONCE
        assert pool.stats().size == 0
        assert pool.stats().create_failures == 3
    await until(lambda: not redis_server.ids())


async def test_a_close_that_the_server_does_not_take_part_in_is_bounded(redis_server, own_valkey):
    pool = ConnectionPool(strategy=redis_server.strategy(own_valkey.url), max_size=1, close_timeout=0.1)
    async with pool:
        with pytest.raises(TimeoutError):
            async with pool.get_connection() as client:
                own_valkey.freeze()
                async with asyncio.timeout(0.1):
                    await client.set("key", bytes(64_000_000))  # more than the kernel takes
        await until(lambda: pool.stats().size == 0)
        own_valkey.thaw()
