"""From when to when a pool tells Datadog of itself, and what it leaves behind (C11, C13)."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from itertools import repeat

import pytest

import datadog_eyes
from ageing import timers
from asyncio_connection_pool import PoolClosedError
from asyncio_connection_pool.contrib.datadog import ConnectionPool
from asyncio_connection_pool.testing import NEVER, Deadlock, FakeStrategy
from scenarios import Caller, callers, hold, leave_all, outcome, run_virtual, settle, use, virtual


@pytest.fixture
def dogstatsd():
    with datadog_eyes.dogstatsd() as receiver:
        yield receiver


def pool_for(strategy=None, **options):
    return ConnectionPool("shop", **({"strategy": strategy or FakeStrategy(), "max_size": 2} | options))


async def for_ever():
    await asyncio.get_running_loop().create_future()


@virtual
async def test_the_last_numbers_are_sent_by_close(dogstatsd):
    pool = pool_for(burst_limit=3)
    await leave_all(await hold(pool, 3))
    await pool.close()
    arrived = dogstatsd.take()
    assert set(arrived.gauges.values()) == {0}
    assert arrived.count("shop.pool.getting_connection", "method:new") == 3
    assert [event.alert for event in arrived.events] == ["warning", "error", "success"]


@virtual
async def test_nothing_is_sent_after_close(dogstatsd):
    async with pool_for() as pool:
        await use(pool)
    dogstatsd.take()
    await outcome(use(pool))
    await asyncio.sleep(600)
    assert dogstatsd.take().datagrams == []


def test_no_timer_outlives_close(dogstatsd):
    """C13: virtual time ends as soon as there is neither a timer nor anything else to do."""

    async def scenario():
        pool = pool_for()
        await use(pool)
        await pool.close()
        assert timers() == []
        await for_ever()

    with pytest.raises(Deadlock):
        run_virtual(scenario())


@virtual
async def test_callers_that_learn_of_a_close_after_it_wake_no_timer(dogstatsd):
    pool = pool_for(FakeStrategy(create=repeat(OSError("no route"))), reconnect=True)
    waiting = await callers(pool, 3)  # for a server that is down: there is nothing to close
    await pool.close()
    assert not any(waiter.task.done() for waiter in waiting)
    dogstatsd.take()
    await settle()
    assert {type(waiter.error) for waiter in waiting} == {PoolClosedError}
    assert timers() == []
    assert dogstatsd.take().datagrams == []


def test_a_close_that_is_given_up_leaves_no_timer_once_all_is_closed(dogstatsd):
    async def scenario():
        pool = pool_for()
        holders = await hold(pool, 2)
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(100)
        closing.cancel()
        await leave_all(holders)
        await for_ever()

    with pytest.raises(Deadlock):
        run_virtual(scenario())


@virtual
async def test_a_close_that_takes_long_is_followed_to_its_end(dogstatsd):
    pool = pool_for(FakeStrategy(close=[0, 200]))
    holders = await hold(pool, 2)
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(100)
    assert dogstatsd.take().gauges["shop.pool.total_connections"] == 2
    await leave_all(holders)
    await asyncio.sleep(100)
    assert dogstatsd.take().gauges["shop.pool.total_connections"] == 1
    await closing
    assert dogstatsd.take().gauges["shop.pool.total_connections"] == 0


@virtual
async def test_what_happens_after_a_timed_out_close_is_not_told_of(dogstatsd):
    pool = pool_for(max_size=1)
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    await pool.close(timeout=0)
    dogstatsd.take()
    await settle()
    assert type(waiter.error) is PoolClosedError
    assert timers() == []
    await leave_all([holder])
    await asyncio.sleep(600)
    assert dogstatsd.take().datagrams == []


def test_a_pool_may_be_built_before_a_loop_runs(dogstatsd):
    pool = pool_for()

    async def later():
        await asyncio.sleep(600)
        assert dogstatsd.take().datagrams == []
        await use(pool)
        await asyncio.sleep(2)
        assert dogstatsd.take().gauges["shop.pool.available_connections"] == 1
        await pool.close()

    run_virtual(later())


def test_a_pool_that_moves_to_another_loop_goes_on_there(dogstatsd):
    """C11: the timers of the loop that was closed are lost, not the pool's voice."""
    pool = pool_for()

    async def in_one_loop():
        await use(pool)
        await asyncio.sleep(100.5)  # a flush is due, and so is a beat, when the loop is closed
        dogstatsd.take()
        await use(pool)

    async def in_another():
        _people = await hold(pool)
        await asyncio.sleep(2)
        arrived = dogstatsd.take()
        assert arrived.gauges["shop.pool.connections_used"] == 1
        assert arrived.count("shop.pool.getting_connection", "method:available") == 1  # of the first loop
        await asyncio.sleep(62)
        assert len(dogstatsd.take().gauges) == 5

    run_virtual(in_one_loop())
    run_virtual(in_another())


@virtual
async def test_a_pool_that_is_dropped_is_collected_and_tells_no_more(dogstatsd):
    pool = pool_for()
    await use(pool)
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    await asyncio.sleep(600)
    assert dogstatsd.take().datagrams == []


def test_a_pool_that_is_dropped_leaves_no_timer_behind_for_long(dogstatsd):
    async def scenario():
        await use(pool_for())
        gc.collect()
        await for_ever()

    with pytest.raises(Deadlock):
        run_virtual(scenario())


@pytest.mark.parametrize("armed", ["the flush", "the beat"])
def test_the_timers_keep_nothing_of_a_caller(dogstatsd, armed):
    class Request:
        pass

    variable = contextvars.ContextVar("request")

    @virtual
    async def scenario():
        pools = []

        async def serve():
            request = Request()
            variable.set(request)
            if not pools:
                pools.append(pool_for())
            await use(pools[0])
            return weakref.ref(request)

        if armed == "the flush":
            pools.append(pool_for())
            await asyncio.sleep(2)
        request = await asyncio.create_task(serve())
        await settle()  # the loop itself lets go of the task
        gc.collect()
        assert request() is None

    scenario()


@virtual
async def test_code_for_1x_may_read_how_many_are_acquiring(dogstatsd):
    pool = pool_for(FakeStrategy(create=[NEVER]))
    assert pool._connections_acquiring == 0
    waiter = Caller(pool)
    await settle()
    assert pool._connections_acquiring == 1
    assert type(pool._connections_acquiring) is int
    waiter.cancel()
    await settle()
    assert pool._connections_acquiring == 0
