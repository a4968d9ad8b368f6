"""C1: opening + idle + in use + resetting + validating + closing is never above the limit."""

from __future__ import annotations

import asyncio
import random

import pytest

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Caller, callers, hold, idle, leave_all, settle, virtual


async def test_c1_max_size_is_the_limit_where_no_burst_limit_is_set():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=3)
    people = await callers(pool, 10)
    assert pool.stats().limit == pool.stats().in_use == strategy.most == 3
    await leave_all(people)
    assert strategy.most == 3
    check_settled(pool)


async def test_c1_burst_limit_is_the_limit_where_it_is_set():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=4)
    people = await callers(pool, 10)
    assert pool.stats().limit == pool.stats().in_use == 4
    await leave_all(people)
    assert strategy.most == 4
    check_settled(pool)


async def test_c1_what_is_being_opened_counts():
    strategy = FakeStrategy(create=[NEVER] * 10)
    pool = ConnectionPool(strategy=strategy, max_size=2)
    await callers(pool, 5)
    assert strategy.creating == pool.stats().opening == 2
    await pool.close()


@virtual
async def test_c1_a_connection_that_is_still_being_closed_counts():
    strategy = FakeStrategy(close=[10])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (holder,) = await hold(pool)
    pool.discard(holder.conn)
    await holder.leave()
    (late,) = await callers(pool, 1)
    check(pool)
    assert (pool.stats().closing, strategy.creating, late.entered) == (1, 0, False)
    await asyncio.sleep(11)
    assert late.entered
    assert strategy.most == 1
    await late.leave()
    check_settled(pool)


@virtual
async def test_c1_a_connection_that_is_being_reset_counts():
    strategy = FullFakeStrategy(reset=[10])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (holder,) = await hold(pool)
    await holder.leave()
    (late,) = await callers(pool, 1)
    assert (pool.stats().resetting, strategy.creating, late.entered) == (1, 0, False)
    await asyncio.sleep(11)
    assert late.conn is holder.conn
    await late.leave()
    await settle()
    check_settled(pool)


@virtual
async def test_c1_an_open_that_was_given_up_counts_until_it_has_ended():
    async def stubborn():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(10)

    strategy = FakeStrategy(create=[stubborn])
    pool = ConnectionPool(strategy=strategy, max_size=1, connect_timeout=1)
    people = await callers(pool, 2)
    await asyncio.sleep(5)
    check(pool)
    assert people[0].task.done()
    assert isinstance(people[0].error, TimeoutError)
    assert pool.stats().size == 1
    assert not people[1].entered
    await asyncio.sleep(20)
    assert people[1].entered
    assert strategy.most == 1
    await people[1].leave()
    check_settled(pool)


async def test_c1_a_connection_dropped_as_closed_does_not_count():
    strategy = FakeStrategy(close=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (dead,) = await idle(pool, 1)
    dead.closed = True
    (caller,) = await hold(pool)
    assert caller.conn is not dead
    assert pool.stats().size == 1
    assert pool.stats().closed["dead"] == 1
    await caller.leave()
    await pool.close(timeout=0)


async def test_c1_a_max_size_of_zero_keeps_nothing():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=0, burst_limit=2)
    await leave_all(await callers(pool, 5))
    assert pool.stats().idle == 0
    assert not strategy.open
    assert strategy.most == 2
    check_settled(pool)


async def test_c1_a_lowered_limit_closes_nothing_in_use_and_opens_nothing_until_holders_have_returned():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=4)
    holders = await hold(pool, 4)
    pool.max_size = 2
    waiting = await callers(pool, 2)
    assert len(strategy.open) == 4
    await leave_all(holders[:2])
    assert len(strategy.open) == 2
    assert not any(caller.entered for caller in waiting)
    await leave_all(holders[2:])
    assert all(caller.entered for caller in waiting)
    assert len(strategy.connections) == 4
    await leave_all(waiting)
    check_settled(pool)


async def test_c1_a_raised_limit_serves_who_waits():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    people = await callers(pool, 4)
    pool.burst_limit = 2
    await settle()
    assert [caller.entered for caller in people] == [True, True, False, False]
    pool.burst_limit = None
    pool.max_size = 3
    await settle()
    assert [caller.entered for caller in people] == [True, True, True, False]
    await leave_all(people)
    check_settled(pool)


async def test_c1_lowering_max_size_closes_idle_connections_that_are_surplus_now():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=4)
    kept = (await idle(pool, 4))[-1]
    pool.max_size = 1
    await settle()
    assert strategy.open == [kept]
    check_settled(pool)


async def test_c1_max_connecting_bounds_the_opens_at_once():
    strategy = FakeStrategy(create=[asyncio.Event().wait] * 3)
    pool = ConnectionPool(strategy=strategy, max_size=5, max_connecting=2)
    await callers(pool, 5)
    assert strategy.creating == 2
    await pool.close()


@virtual
async def test_c1_max_connecting_counts_an_open_that_was_given_up_and_still_runs():
    async def stubborn():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(10)

    strategy = FakeStrategy(create=[stubborn])
    pool = ConnectionPool(strategy=strategy, max_size=5, max_connecting=1, connect_timeout=1)
    people = await callers(pool, 2)
    await asyncio.sleep(5)
    check(pool)
    assert strategy.creating == 1
    assert not people[1].entered
    await asyncio.sleep(10)
    assert people[1].entered
    await leave_all(people[1:])
    assert isinstance(people[0].error, TimeoutError)


@pytest.mark.parametrize("seed", range(5))
def test_c1_holds_at_every_tick_of_a_storm(seed):
    chance = random.Random(seed)

    @virtual
    async def storm():
        delays = [chance.choice([None, 0.1, 1, OSError("no")]) for _ in range(400)]
        strategy = FullFakeStrategy(create=delays[:200], close=delays[200:300], reset=delays[300:])
        pool = ConnectionPool(strategy=strategy, max_size=2, burst_limit=5)
        people: list[Caller] = []
        for _ in range(300):
            people.append(Caller(pool))
            someone = chance.choice(people)
            if chance.random() < 0.3:
                someone.cancel()
            elif someone.entered:
                someone.leave(chance.choice([None, None, ValueError(), TimeoutError()]))
            if chance.random() < 0.1 and someone.entered:
                someone.conn.closed = True
            await asyncio.sleep(chance.choice([0, 0, 0.05]))
            check(pool)
        for caller in people:
            caller.leave()
        await asyncio.wait([caller.task for caller in people])
        [caller.error for caller in people]
        await pool.close()
        check_settled(pool)
        assert not strategy.open

    storm()
