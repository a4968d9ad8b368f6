"""`max_uses`: a connection is closed when so many blocks have ended with it."""

from __future__ import annotations

import asyncio

import pytest

from ageing import Server, tasks, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FullFakeStrategy
from oracle import check, check_settled
from scenarios import callers, hold, leave_all, outcome, settle, step, use, virtual


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 1, "max_uses": 3} | options))


def worn_out(pool):
    return pool.stats().closed["worn_out"]


@virtual
async def test_a_connection_is_used_so_often_and_no_more():
    server = Server()
    pool = pool_for(server)
    used = [await use(pool) for _ in range(9)]
    assert [conn.number for conn in used] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    await settle()
    assert worn_out(pool) == 3
    assert not server.open
    check_settled(pool)


@virtual
async def test_one_use_may_be_all():
    pool = pool_for(Server(), max_uses=1)
    assert [(await use(pool)).number for _ in range(5)] == [0, 1, 2, 3, 4]


@virtual
async def test_uses_by_hand_over_count():
    server = Server()
    pool = pool_for(server)
    people = await callers(pool, 7)
    await leave_all(people)
    assert [caller.conn.number for caller in people] == [0, 0, 0, 1, 1, 1, 2]


@virtual
async def test_each_connection_counts_its_own():
    pool = pool_for(Server(), max_size=2)
    (once,) = await hold(pool)
    for _ in range(3):
        await use(pool)
    assert worn_out(pool) == 1
    await once.leave()
    await use(pool)
    assert worn_out(pool) == 1
    await use(pool)
    assert worn_out(pool) == 2


@virtual
async def test_a_block_that_raised_was_a_use():
    pool = pool_for(Server())
    for _ in range(3):
        (caller,) = await hold(pool)
        assert isinstance(await outcome(caller.leave(ValueError())), ValueError)
    assert worn_out(pool) == 1


@virtual
async def test_c5_a_caller_that_left_before_it_had_the_connection_did_not_use_it():
    pool = pool_for(Server(), max_uses=2)
    lease = pool.get_connection()
    await lease.__aenter__()
    (waiter,) = await callers(pool, 1)
    step(lease.__aexit__(None, None, None))
    waiter.cancel()
    await settle()
    assert pool.stats().idle == 1
    assert (await use(pool)).number == 0
    assert worn_out(pool) == 1


@virtual
async def test_c1_its_slot_is_taken_until_it_is_closed_and_the_exit_does_not_wait():
    server = Server(close=[5])
    pool = pool_for(server, max_uses=1)
    first, second = await callers(pool, 2)
    await first.leave()
    await settle()
    assert pool.stats().closing == 1
    assert not second.entered
    await asyncio.sleep(6)
    assert second.entered
    assert server.most == 1
    await second.leave()


@virtual
async def test_it_is_not_reset_before_it_is_closed():
    server = FullFakeStrategy(reset=[None, None, OSError("a third reset")])
    pool = pool_for(server)
    for _ in range(3):
        await use(pool)
        await settle()
    assert worn_out(pool) == 1
    assert pool.stats().closed["reset_failed"] == 0


@virtual
async def test_surplus_that_is_worn_out_goes_as_worn_out_and_the_exit_does_not_wait():
    pool = pool_for(Server(close=[5]), burst_limit=2, max_uses=1)
    first, second = await hold(pool, 2)
    await first.leave()
    assert pool.stats().closing == 1
    assert worn_out(pool) == 1
    await second.leave()
    check(pool)


@virtual
async def test_one_that_is_discarded_at_its_last_use_is_closed_once():
    pool = pool_for(Server(), max_uses=1)
    async with pool.get_connection() as conn:
        pool.discard(conn)
    await settle()
    assert pool.stats().closed["discarded"] == 1
    assert worn_out(pool) == 0
    assert len(pool.strategy.closed) == 1


@virtual
async def test_c13_it_takes_no_timer():
    pool = pool_for(Server())
    await use(pool)
    assert not tasks() + timers()


@pytest.mark.parametrize("uses", [1, 2, 5])
@virtual
async def test_min_size_replaces_it_at_once(uses):
    async with pool_for(Server(), max_size=3, min_size=2, max_uses=uses) as pool:
        for _ in range(20):
            async with pool.get_connection(timeout=0):
                pass
            await settle()
            assert pool.stats().idle == 2
