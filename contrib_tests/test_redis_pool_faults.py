"""redis-py on our pool and a real server in trouble: nothing is lost, mixed up or stuck."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest
import redis

import fault_scenarios
from redis_pool_user import PoolDriver, Shared, every_slot_works
from strategy_contract import AT_ONCE, SOON, unique, until

CANCELS = fault_scenarios.CANCELS
SLOTS = fault_scenarios.SLOTS


@pytest.fixture
def driver(own_valkey):
    return PoolDriver(own_valkey.port)


class Storm(fault_scenarios.Storm):
    """Blows until so many commands were cancelled that their connection was lost by it."""

    async def work(self):
        while self.pool.client.connection_pool.stats().closed["dirty"] < CANCELS and not self.counts["stuck"]:
            await self.cancel_one()


async def test_a_storm_of_cancellations_gives_no_wrong_reply_and_loses_no_slot(driver):
    async with driver.client(max_size=SLOTS) as client:
        storm = Storm(driver, Shared(client), seed=1)
        began = time.monotonic()
        await storm.blow()
        seconds = f"{time.monotonic() - began:.1f}"
        await every_slot_works(driver, client)
        closed = {reason: number for reason, number in client.connection_pool.stats().closed.items() if number}
        storm.counts["mid_command"] = closed["dirty"]
        fault_scenarios.report(driver, "cancel storm", **storm.counts, slots_lost=0, seconds=seconds)
        assert storm.counts["mid_command"] >= CANCELS
        assert storm.counts["wrong"] == storm.counts["stuck"] == storm.counts["swallowed"] == 0


async def test_no_abandoned_blpop_eats_an_item_whenever_it_was_abandoned(driver):
    eaten, rng, consumers = 0, random.Random(1), 8

    async def consume(client, rounds):
        nonlocal eaten
        for n in range(rounds):
            queue = unique("queue")
            eater = asyncio.create_task(client.blpop(queue))
            await asyncio.sleep(rng.choice([0, 0.0003, 0.001, 0.003]) * rng.random())
            eater.cancel()
            await asyncio.wait([eater])
            await client.rpush(queue, n)
            eaten += await client.lpop(queue) != str(n)

    async with driver.client(max_size=consumers) as client:
        async with asyncio.TaskGroup() as group:
            for _ in range(consumers):
                group.create_task(consume(client, CANCELS // consumers))
        await every_slot_works(driver, client)
    fault_scenarios.report(driver, "abandoned BLPOP", cancelled=CANCELS, items_eaten=eaten)
    assert not eaten


async def test_idle_connections_that_the_server_kills_are_replaced_and_nobody_hears_of_it(driver):
    async with driver.client(max_size=SLOTS) as client:
        for _ in range(3):
            await every_slot_works(driver, client)
            idle = client.connection_pool._available_connections
            driver.cut_all()
            await until(lambda idle=idle: not any(connection.is_alive() for connection in idle))
            assert await asyncio.gather(*(client.echo(str(n)) for n in range(SLOTS))) == list(map(str, range(SLOTS)))
        assert client.connection_pool.stats().closed["dead"] == 3 * SLOTS


async def test_busy_connections_that_the_server_kills_fail_their_users_and_nobody_else(driver):
    async with driver.client(max_size=SLOTS) as client:
        waiting = [asyncio.create_task(client.blpop(unique("nothing"))) for _ in range(SLOTS)]
        queued = [asyncio.create_task(client.echo(str(n))) for n in range(SLOTS)]
        await until(lambda: driver.blocked() == SLOTS)
        driver.cut_all()
        _, stuck = await asyncio.wait(waiting, timeout=SOON)
        errors = Counter(type(task.exception()).__name__ for task in waiting if task.done())
        assert not stuck
        assert all(isinstance(task.exception(), redis.ConnectionError) for task in waiting)
        assert await asyncio.gather(*queued) == list(map(str, range(SLOTS)))
        await every_slot_works(driver, client)
    fault_scenarios.report(driver, "CLIENT KILL", busy=SLOTS, stuck=0, slots_lost=0, **errors)


async def test_every_worker_goes_on_after_the_server_was_killed_and_came_back(driver, own_valkey):
    async with driver.client(max_size=8) as client:
        async with fault_scenarios.Workers(driver, Shared(client)) as workers:
            await workers.progress()
            await asyncio.to_thread(own_valkey.kill)
            await asyncio.sleep(0.1)
            await asyncio.to_thread(own_valkey.restart)
            took = await workers.progress()
        await every_slot_works(driver, client)
    what = f"SIGKILL and restart under {fault_scenarios.WORKERS} workers"
    fault_scenarios.report(driver, what, seconds_to_progress=f"{took:.3f}", **workers.errors)


async def test_every_worker_goes_on_after_the_server_was_frozen(driver, own_valkey):
    async with driver.client(max_size=8) as client:
        async with fault_scenarios.Workers(driver, Shared(client), patience=1) as workers:
            await workers.progress()
            own_valkey.freeze()
            await asyncio.sleep(2)
            own_valkey.thaw()
            took = await workers.progress()
        await every_slot_works(driver, client)
    fault_scenarios.report(driver, "SIGSTOP for 2 s", seconds_to_progress=f"{took:.3f}", **workers.errors)


async def test_nobody_is_stuck_after_a_time_of_refusals(driver, own_valkey):
    callers, errors = 200, Counter()
    await asyncio.to_thread(own_valkey.kill)

    async def call(client, n):
        while True:
            try:
                return await client.echo(str(n))
            except driver.lost as error:
                errors[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    async with driver.client(max_size=SLOTS) as client:
        tasks = [asyncio.create_task(call(client, n)) for n in range(callers)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in tasks)
        await asyncio.to_thread(own_valkey.restart)
        began = time.monotonic()
        _, stuck = await asyncio.wait(tasks, timeout=SOON)
        took = time.monotonic() - began
        fault_scenarios.report(driver, "refused for 0.3 s", stuck=len(stuck), seconds_to_all=f"{took:.3f}", **errors)
        assert not stuck
        assert await asyncio.gather(*tasks) == list(map(str, range(callers)))
        await every_slot_works(driver, client)


async def test_a_server_that_is_full_says_so_to_whom_it_has_no_room_for(driver):
    with driver.ask() as asker:
        asker.config_set("maxclients", "10")
        asker.connection_pool.disconnect()
    async with driver.client(max_size=20) as client:
        results = await asyncio.gather(*(client.blpop("queue", timeout=2) for _ in range(20)), return_exceptions=True)
        assert all(result is None or isinstance(result, redis.RedisError) for result in results)
        assert results.count(None) == 10
        assert await client.ping()


async def test_a_wrong_password_is_told_at_once_and_costs_no_slot(driver):
    async with driver.client(max_size=1, username="nobody", password="wrong") as client:
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(redis.AuthenticationError):
                await client.ping()
            assert time.monotonic() - began < AT_ONCE
        assert client.connection_pool.stats().size == 0
