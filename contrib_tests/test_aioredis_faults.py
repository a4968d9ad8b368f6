"""aioredis and a real server in trouble: nothing is lost, mixed up or stuck."""

from __future__ import annotations

import asyncio
import random

import aioredis
import pytest

import fault_scenarios
from aioredis_driver import AioredisDriver
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib import aioredis as contrib_aioredis
from strategy_contract import SOON, unique


@pytest.fixture
def driver(own_valkey):
    return AioredisDriver(own_valkey.port)


async def test_a_storm_of_cancellations_gives_no_wrong_reply_and_loses_no_slot(driver):
    await fault_scenarios.cancel_storm(driver)


async def test_no_abandoned_blpop_eats_an_item_whenever_it_was_abandoned(driver):
    eaten, rng, consumers = 0, random.Random(1), 8

    async def consume(pool, rounds):
        nonlocal eaten
        for n in range(rounds):
            queue = unique("queue")
            eater = asyncio.create_task(pop(pool, queue))
            await asyncio.sleep(rng.choice([0, 0.0003, 0.001, 0.003]) * rng.random())
            eater.cancel()
            await asyncio.wait([eater])
            async with pool.get_connection() as conn:
                await conn.rpush(queue, n)
                eaten += await conn.lpop(queue) != str(n)

    async with ConnectionPool(strategy=driver.strategy(), max_size=consumers) as pool:
        async with asyncio.TaskGroup() as group:
            for _ in range(consumers):
                group.create_task(consume(pool, fault_scenarios.CANCELS // consumers))
        await fault_scenarios.every_slot_works(driver, pool)
    fault_scenarios.report(driver, "abandoned BLPOP", cancelled=fault_scenarios.CANCELS, items_eaten=eaten)
    assert not eaten


async def pop(pool, queue):
    async with pool.get_connection() as conn:
        return await conn.blpop(queue)


async def test_connections_that_the_server_kills_cost_no_slot(driver):
    await fault_scenarios.kill_connections(driver)


async def test_every_worker_goes_on_after_the_server_was_killed_and_came_back(driver, own_valkey):
    await fault_scenarios.restart(driver, own_valkey)


async def test_every_worker_goes_on_after_the_server_was_frozen(driver, own_valkey):
    await fault_scenarios.freeze(driver, own_valkey)


async def test_nobody_is_stuck_after_a_time_of_refusals(driver, own_valkey):
    await fault_scenarios.refusal(driver, own_valkey)


async def test_a_server_that_is_full_says_so_to_whom_it_has_no_room_for(driver):
    await driver.ask("CONFIG", "SET", "maxclients", "10")
    await fault_scenarios.too_many(driver, 10, aioredis.RedisError)


async def test_a_blpop_on_a_frozen_server_can_be_given_up(driver, own_valkey):
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        own_valkey.freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), pool.get_connection() as conn:
                await conn.blpop("queue")
        own_valkey.thaw()
        await fault_scenarios.every_slot_works(driver, pool)


async def test_giving_up_twice_waits_no_longer_for_the_server(driver, own_valkey, monkeypatch):
    monkeypatch.setattr(contrib_aioredis, "_LETS_GO_WITHIN", 600)
    strategy = driver.strategy()
    conn = await strategy.create_connection()
    own_valkey.freeze()
    eater = asyncio.ensure_future(conn.blpop("queue"))
    for _ in range(2):
        eater.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(SOON):
        await asyncio.wait([eater])
    assert eater.cancelled()
    own_valkey.thaw()
    await strategy.close_connection(conn)
