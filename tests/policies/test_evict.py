"""`evict()`: every open connection is retired, at once or spread over a time, wherever it is."""

from __future__ import annotations

import asyncio

import pytest

from ageing import Server, most_within, now, tasks, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FullFakeStrategy
from oracle import check, check_settled
from scenarios import callers, hold, idle, leave_all, run_virtual, settle, step, use, virtual


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 10} | options))


def evicted(pool):
    return pool.stats().closed["evicted"]


# At once.


@virtual
async def test_idle_connections_are_closed_at_once():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 5)
    pool.evict()
    assert pool.stats().idle == 0
    assert pool.stats().closing == 5
    await settle()
    assert not server.open
    assert evicted(pool) == 5
    check_settled(pool)


@virtual
async def test_a_connection_in_use_is_closed_when_it_is_given_back_and_nobody_waits_for_that():
    server = Server(close=[50])
    pool = pool_for(server)
    (holder,) = await hold(pool)
    pool.evict()
    await asyncio.sleep(100)
    assert server.open == [holder.conn]
    since = now()
    await holder.leave()
    assert now() == since
    assert pool.stats().closing == 1
    await asyncio.sleep(51)
    assert evicted(pool) == 1
    check_settled(pool)


@virtual
async def test_who_waits_gets_a_new_one():
    pool = pool_for(Server(), max_size=2)
    holders = await hold(pool, 2)
    waiters = await callers(pool, 2)
    pool.evict()
    await leave_all(holders)
    old = {caller.conn for caller in holders}
    assert all(caller.entered and caller.conn not in old for caller in waiters)
    await leave_all(waiters)
    assert evicted(pool) == 2
    assert pool.stats().idle == 2


@virtual
async def test_one_that_was_handed_over_in_this_tick_is_used_once_more():
    server = Server()
    pool = pool_for(server, max_size=1)
    lease = pool.get_connection()
    conn = await lease.__aenter__()
    (waiter,) = await callers(pool, 1)
    step(lease.__aexit__(None, None, None))
    pool.evict()
    await settle()
    assert waiter.conn is conn
    await waiter.leave()
    await settle()
    assert not server.open
    check_settled(pool)


@virtual
async def test_one_that_was_handed_over_to_a_caller_who_left_is_closed():
    server = Server()
    pool = pool_for(server, max_size=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    (waiter,) = await callers(pool, 1)
    step(lease.__aexit__(None, None, None))
    pool.evict()
    waiter.cancel()
    await settle()
    assert not server.open
    assert evicted(pool) == 1
    check_settled(pool)


@virtual
async def test_one_that_is_being_reset_is_closed_after_that():
    server = FullFakeStrategy(reset=[5])
    pool = pool_for(server)
    await use(pool)
    assert pool.stats().resetting == 1
    pool.evict()
    assert server.open
    await asyncio.sleep(6)
    assert not server.open
    assert evicted(pool) == 1


@virtual
async def test_one_that_is_being_opened_is_spared():
    server = Server(create=[5])
    pool = pool_for(server)
    (caller,) = await callers(pool, 1)
    pool.evict()
    await asyncio.sleep(6)
    await caller.leave()
    assert evicted(pool) == 0
    assert pool.stats().idle == 1


@virtual
async def test_one_that_is_being_closed_is_closed_for_its_own_reason():
    pool = pool_for(Server(close=[5]))
    async with pool.get_connection() as conn:
        pool.discard(conn)
    pool.evict()
    await asyncio.sleep(6)
    assert evicted(pool) == 0
    assert pool.stats().closed["discarded"] == 1
    check_settled(pool)


@virtual
async def test_one_that_is_discarded_too_is_closed_once():
    server = Server()
    pool = pool_for(server)
    async with pool.get_connection() as conn:
        pool.evict()
        pool.discard(conn)
    await settle()
    assert len(server.closed) == 1
    check_settled(pool)


@virtual
async def test_twice_is_as_good_as_once():
    server = Server(close=[5] * 9)
    pool = pool_for(server)
    await idle(pool, 3)
    holders = await hold(pool, 1)
    pool.evict()
    pool.evict()
    await asyncio.sleep(1)
    pool.evict()
    await leave_all(holders)
    await asyncio.sleep(10)
    assert evicted(pool) == 3
    assert len(server.closed) == 3
    check_settled(pool)


@virtual
async def test_what_is_opened_after_it_is_not_touched():
    pool = pool_for(Server())
    await idle(pool, 3)
    pool.evict(over=10)
    pool.evict()
    new = await use(pool)
    await asyncio.sleep(100)
    assert await use(pool) is new


@virtual
async def test_it_may_be_called_in_a_block():
    pool = pool_for(Server())
    async with pool.get_connection() as conn:
        pool.evict()
        assert not conn.closed
    await settle()
    assert conn.closed


# Spread.


@virtual
async def test_spread_over_seconds_they_go_one_after_the_other():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 10)
    pool.evict(over=100)
    await asyncio.sleep(101)
    assert len(server.closed) == 10
    assert most_within(9.9, server.closed_at) == 1
    assert max(server.closed_at) <= 100
    check_settled(pool)
    assert not tasks() + timers()


@virtual
async def test_until_its_turn_comes_a_connection_is_used_as_ever():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 10)
    pool.evict(over=100)
    for _ in range(50):
        await asyncio.sleep(1)
        await use(pool)
    assert len(server.connections) == 10
    assert 4 <= len(server.open) <= 6


@virtual
async def test_one_that_is_in_use_when_its_turn_comes_is_closed_after():
    server = Server()
    pool = pool_for(server, max_size=2)
    holders = await hold(pool, 2)
    pool.evict(over=10)
    await asyncio.sleep(20)
    assert len(server.open) == 2
    await leave_all(holders)
    assert not server.open
    assert evicted(pool) == 2


@virtual
async def test_a_second_call_may_hasten_it_and_does_not_put_it_off():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 10)
    pool.evict(over=100)
    pool.evict(over=1000)
    await asyncio.sleep(50.5)
    assert len(server.open) == 4
    pool.evict()
    await settle()
    assert not server.open
    assert evicted(pool) == 10
    await asyncio.sleep(1000)
    assert not tasks() + timers()


@virtual
async def test_called_often_it_does_not_pile_up_what_is_to_be_done():
    """C14: what is kept is in proportion to what is open."""
    pool = pool_for(Server())
    holders = await hold(pool, 10)
    for seconds in range(1200, 1000, -1):
        pool.evict(over=seconds)
    assert len(pool._supply.maintenance._lifetimes._dates) <= 100
    await leave_all(holders)
    await asyncio.sleep(1000)
    assert evicted(pool) == 10


@virtual
async def test_a_lifetime_that_ends_earlier_counts():
    pool = pool_for(Server(), max_lifetime=10)
    await idle(pool, 10)
    pool.evict(over=1000)
    await asyncio.sleep(11)
    assert evicted(pool) == 1
    assert pool.stats().closed["expired"] == 9
    check_settled(pool)


@virtual
async def test_where_there_is_a_lifetime_one_whose_turn_has_passed_is_not_handed_out():
    pool = pool_for(Server(), max_lifetime=1000)
    old = await idle(pool, 2)
    pool.evict(over=10)
    asyncio.get_running_loop().advance(10)
    assert await use(pool) not in old


# Replaced.


@virtual
async def test_they_are_replaced_up_to_min_size():
    server = Server()
    async with pool_for(server, min_size=3) as pool:
        await leave_all(await hold(pool, 6))
        pool.evict()
        await settle()
        assert pool.stats().idle == 3
        assert len(server.connections) == 9


@virtual
async def test_c1_never_more_than_the_limit_are_open_meanwhile():
    server = Server(close=[1] * 99)
    async with pool_for(server, max_size=4, min_size=4) as pool:
        for _ in range(5):
            pool.evict()
            await asyncio.sleep(0.5)
            check(pool)
        await asyncio.sleep(2)
        assert pool.stats().idle == 4
        assert server.most == 4


@virtual
async def test_spread_a_server_is_not_met_by_a_herd():
    server = Server()
    async with pool_for(server, max_size=100, min_size=100) as pool:
        await asyncio.sleep(1)
        pool.evict(over=10)
        await asyncio.sleep(20)
        assert pool.stats().idle == 100
        assert most_within(0.95, [when for when in server.tried if when]) <= 10


# Where there is nothing to evict.


def test_a_pool_that_was_never_used_has_nothing_to_evict():
    pool_for(Server()).evict()


@virtual
async def test_nor_has_a_closed_one():
    pool = pool_for(Server())
    (holder,) = await hold(pool)
    closing = asyncio.create_task(pool.close())
    await settle()
    pool.evict()
    pool.evict(over=10)
    assert not timers()
    await holder.leave()
    await closing
    assert pool.stats().closed["pool_closed"] == 1


def test_c11_nor_one_whose_loop_is_closed():
    pool = pool_for(Server())
    run_virtual(use(pool))
    pool.evict()
    run_virtual(use(pool))
    assert evicted(pool) == 0


@virtual
async def test_c12_close_ends_an_eviction_that_is_under_way():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 10)
    pool.evict(over=100)
    await asyncio.sleep(50)
    await pool.close()
    assert not server.open
    assert not tasks() + timers()


@pytest.mark.parametrize("over", [True, "1", None, 1j])
def test_seconds_of_a_wrong_type_are_refused(over):
    with pytest.raises(TypeError, match="over must be a number of seconds, not "):
        pool_for(Server()).evict(over=over)


@pytest.mark.parametrize("over", [-1, float("nan"), float("inf")])
def test_seconds_that_are_none_are_refused(over):
    with pytest.raises(ValueError, match="over must be finite and not negative, not "):
        pool_for(Server()).evict(over=over)
