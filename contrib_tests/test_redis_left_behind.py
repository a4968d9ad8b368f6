"""What one user left on a connection never reaches the next one: such a connection is not used again (C9)."""

from __future__ import annotations

import asyncio

import pytest
import redis

from asyncio_connection_pool import ConnectionPool
from redis_eyes import until


async def leave_multi(client):
    await client.execute_command("MULTI")


async def leave_multi_in_lower_case_bytes(client):
    await client.execute_command(b"multi")


async def leave_multi_after_a_refused_exec(client):
    await client.execute_command("MULTI")
    with pytest.raises(redis.ResponseError):
        await client.execute_command("EXEC", "nonsense")


async def leave_multi_after_a_queued_unwatch(client):
    await client.execute_command("MULTI")
    await client.execute_command("UNWATCH")


async def leave_watch_after_a_refused_unwatch(client):
    await client.execute_command("WATCH", "key")
    with pytest.raises(redis.ResponseError):
        await client.execute_command("UNWATCH", "nonsense")


async def leave_raw_watch(client):
    await client.execute_command("WATCH", "key")


async def leave_pipeline_that_watches(client):
    pipe = client.pipeline()
    await pipe.watch("key")
    return pipe.reset


async def leave_subscription(client):
    await client.pubsub().subscribe("channel")


async def leave_pattern_subscription(client):
    await client.pubsub().psubscribe("chan*")


async def leave_subscription_that_was_closed(client):
    async with client.pubsub() as listener:
        await listener.subscribe("channel")


async def leave_monitor(client):
    monitor = client.monitor()
    await monitor.connect()


async def leave_other_database(client):
    await client.select(3)


async def leave_other_database_by_two_words(client):
    await client.execute_command("SELECT 3")


async def leave_other_database_in_bytes(client):
    await client.execute_command(b"SELECT", memoryview(b"3"))


async def leave_other_database_from_a_pipeline(client):
    pipe = client.pipeline()
    pipe.execute_command("SELECT", 3)
    await pipe.execute()


async def leave_no_replies(client):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.execute_command("CLIENT", "REPLY", "OFF")


async def leave_other_name(client):
    await client.client_setname("other")


async def leave_other_user(client):
    await client.execute_command("AUTH", "default", "")


async def leave_reset(client):
    await client.execute_command("RESET")


async def leave_other_protocol(client):
    await client.execute_command("HELLO", "2")


async def leave_command_under_way(client):
    task = asyncio.ensure_future(client.blpop("empty", timeout=60))
    await asyncio.sleep(0.02)
    return lambda: asyncio.gather(task, return_exceptions=True)


async def leave_reply_unread(client):
    connection = await client.connection_pool.get_connection("_")
    await connection.send_command("GET", "key")
    await client.connection_pool.release(connection)


async def leave_quit(client):
    await client.execute_command("QUIT")


LEAVES_SOMETHING = [
    leave_multi,
    leave_multi_in_lower_case_bytes,
    leave_multi_after_a_refused_exec,
    leave_multi_after_a_queued_unwatch,
    leave_watch_after_a_refused_unwatch,
    leave_raw_watch,
    leave_pipeline_that_watches,
    leave_subscription,
    leave_pattern_subscription,
    leave_subscription_that_was_closed,
    leave_monitor,
    leave_other_database,
    leave_other_database_by_two_words,
    leave_other_database_in_bytes,
    leave_other_database_from_a_pipeline,
    leave_no_replies,
    leave_other_name,
    leave_other_user,
    leave_reset,
    leave_other_protocol,
    leave_command_under_way,
    leave_reply_unread,
    leave_quit,
]


@pytest.mark.parametrize("leave", LEAVES_SOMETHING)
@pytest.mark.parametrize("by_an_error", [False, True], ids=["leaving", "raising"])
async def test_what_was_left_behind_does_not_reach_the_next_user(redis_server, leave, by_an_error):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        try:
            async with pool.get_connection() as client:
                await client.set("key", "value")
                left = redis_server.ids()
                tidy_up = await leave(client)
                if by_an_error:
                    raise LookupError
        except LookupError:
            pass
        async with pool.get_connection() as other:
            assert await other.get("key") == "value"
            assert await other.echo("mine") == "mine"
            (seen,) = redis_server.open_connections()
            assert seen["db"] == "0"
            assert {seen["id"]}.isdisjoint(left)
        if tidy_up:
            await tidy_up()


async def test_bytes_that_nobody_asked_for_are_noticed(redis_server):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        async with pool.get_connection() as client:
            await leave_reply_unread(client)
            session = client.connection_pool.session
            session._start_account()  # as if the command had escaped the account
            await until(lambda: session._reader._buffer)
        await until(lambda: pool.stats().closed["dirty"] == 1)


@pytest.mark.parametrize("error", [LookupError, redis.ResponseError])
async def test_an_ordinary_error_costs_no_connection(redis_server, error):
    async with ConnectionPool(strategy=redis_server.strategy(), max_size=1) as pool:
        for _ in range(3):
            with pytest.raises(error):
                async with pool.get_connection() as client:
                    await client.set("key", "value")
                    raise error
        assert pool.stats().created == 1
