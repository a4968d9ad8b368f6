"""`shrink_delay`: what is above `max_size` may idle for so long, in case it is wanted again (C8).

What it does alone is among the tests of the contract; this is how it goes with the rest.
"""

from __future__ import annotations

import asyncio

from ageing import Server, tasks, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FullFakeStrategy
from oracle import check, check_settled
from scenarios import callers, hold, idle, leave_all, settle, use, virtual


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 2, "burst_limit": 5, "shrink_delay": 10} | options))


def surplus(pool):
    return pool.stats().closed["surplus"]


@virtual
async def test_the_time_runs_from_the_last_use_not_from_when_the_pool_was_built():
    """Connections below `max_size` are not dated: it must not look as if they had idled for ever."""
    server = Server()
    pool = pool_for(server)
    await asyncio.sleep(1000)
    await idle(pool, 2)
    await asyncio.sleep(1000)
    holders = await hold(pool, 4)
    await leave_all(holders)
    await asyncio.sleep(9.9)
    assert pool.stats().idle == 4
    await asyncio.sleep(0.2)
    assert pool.stats().idle == 2
    assert not tasks() + timers()


@virtual
async def test_c4_those_used_longest_ago_go():
    server = Server()
    pool = pool_for(server)
    conns = await idle(pool, 4)
    await asyncio.sleep(11)
    assert server.open == conns[2:]


@virtual
async def test_a_load_that_needs_one_lets_the_surplus_go():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 4)
    for _ in range(12):
        await asyncio.sleep(1)
        await use(pool)
    assert pool.stats().idle == 2


@virtual
async def test_what_has_failed_its_validation_is_not_surplus_any_more():
    server = Server(validate=[OSError(), OSError()])
    pool = pool_for(server, validate_after=5)
    await idle(pool, 4)
    await asyncio.sleep(6)
    await use(pool)
    assert pool.stats().idle == 2
    await asyncio.sleep(100)
    assert surplus(pool) == 0
    assert pool.stats().idle == 2


@virtual
async def test_max_idle_may_come_first():
    pool = pool_for(Server(), max_idle=5)
    await idle(pool, 4)
    await asyncio.sleep(6)
    assert pool.stats().closed["idle"] == 4
    assert surplus(pool) == 0


@virtual
async def test_or_later():
    pool = pool_for(Server(), max_idle=20)
    await idle(pool, 4)
    await asyncio.sleep(11)
    assert surplus(pool) == 2
    await asyncio.sleep(10)
    assert pool.stats().closed["idle"] == 2
    check_settled(pool)
    assert not timers()


@virtual
async def test_min_size_stays():
    server = Server()
    async with pool_for(server, min_size=2, max_idle=20) as pool:
        await idle(pool, 5)
        await asyncio.sleep(100)
        assert pool.stats().idle == 2
        assert len(server.connections) == 5


@virtual
async def test_what_is_evicted_is_not_surplus_too():
    pool = pool_for(Server())
    await idle(pool, 4)
    pool.evict(over=4)
    await asyncio.sleep(100)
    assert pool.stats().closed["evicted"] == 4
    assert surplus(pool) == 0


@virtual
async def test_it_idles_from_the_end_of_its_reset():
    pool = pool_for(FullFakeStrategy(reset=[None, None, None, 5]))
    await leave_all(await hold(pool, 4))
    await asyncio.sleep(9)
    assert pool.stats().idle == 4
    await asyncio.sleep(2)
    assert pool.stats().idle == 2
    check(pool)


@virtual
async def test_c13_the_timer_is_gone_with_the_surplus_however_that_went():
    pool = pool_for(Server())
    holders = await hold(pool, 3)
    await leave_all(holders)
    assert len(timers()) == 1
    (caller,) = await callers(pool, 1)
    pool.discard(caller.conn)
    await caller.leave()
    await asyncio.sleep(11)
    await settle()
    assert surplus(pool) == 0
    assert not timers()
