"""C13 with policies: one timer for each pool, armed only while something is due, and none that outlives the pool."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from ageing import Server, tasks, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import NEVER, FullFakeStrategy
from oracle import check_settled
from scenarios import callers, hold, idle, leave_all, settle, use, virtual

DATED = {
    "max_lifetime": {"max_lifetime": 10},
    "max_idle": {"max_idle": 10},
    "shrink_delay": {"shrink_delay": 10},
}
"""The options with which idle connections have a time to go."""
UNDATED = {
    "min_size": {"min_size": 2},
    "max_uses": {"max_uses": 3},
    "validate_after": {"validate_after": 10},
    "burst_delay": {"burst_delay": 10},
}
EVERY_POLICY = {name: value for options in (*DATED.values(), *UNDATED.values()) for name, value in options.items()}
dated = pytest.mark.parametrize("options", DATED.values(), ids=DATED)


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 2, "burst_limit": 4} | options))


@dated
@virtual
async def test_c13_one_timer_is_armed_while_something_is_due(options):
    pool = pool_for(Server(), **options)
    assert not timers()
    holders = await hold(pool, 4)
    for caller in holders:
        await caller.leave()
        await asyncio.sleep(0.1)
        assert len(timers()) <= 1
    assert len(timers()) == 1
    await asyncio.sleep(100)
    assert not tasks() + timers()


@pytest.mark.parametrize("options", UNDATED.values(), ids=UNDATED)
@virtual
async def test_c13_an_option_that_nothing_idle_is_due_for_arms_none(options):
    pool = pool_for(Server(), **options)
    await idle(pool, 2)
    assert not tasks() + timers()
    async with pool.get_connection():
        assert not tasks() + timers()


@virtual
async def test_c13_with_all_of_them_there_is_one():
    server = Server()
    async with pool_for(server, **EVERY_POLICY) as pool:
        for _ in range(20):
            holders = await hold(pool, 2)
            waiters = await callers(pool, 2)
            assert len(timers()) <= 1
            await leave_all([*holders, *waiters])
            pool.evict(over=3)
            assert len(timers()) == 1
            await asyncio.sleep(1.5)
    assert not tasks() + timers()


@virtual
async def test_c13_a_pool_that_has_become_empty_has_nothing_due():
    pool = pool_for(Server(), max_lifetime=1000, max_idle=1000)
    async with pool.get_connection() as conn:
        pool.discard(conn)
    await settle()
    assert not tasks() + timers()


@virtual
async def test_a_connection_that_is_gone_is_not_remembered_until_its_time_would_have_come():
    class Thing:
        pass

    class Things:
        async def create_connection(self):
            return Thing()

        def connection_is_closed(self, conn):
            return False

        async def close_connection(self, conn):
            pass

    pool = pool_for(Things(), max_lifetime=1000)
    (kept,) = await hold(pool)
    async with pool.get_connection() as conn:
        pool.discard(conn)
    gone = weakref.ref(conn)
    del conn
    await settle()
    gc.collect()
    assert gone() is None
    await leave_all([kept])


@dated
@virtual
async def test_c13_nothing_polls(options):
    """Between the start of a wait and what is due, the loop has nothing to do."""

    def count(seconds):
        nonlocal leaps
        leaps += 1
        leap(seconds)

    pool = pool_for(Server(), **options)
    await leave_all(await hold(pool, 3))
    leaps = 0
    selector = asyncio.get_running_loop()._selector
    leap, selector.jump = selector.jump, count
    await asyncio.sleep(10_000)
    assert leaps <= 1 + 3
    assert not timers()


@dated
@virtual
async def test_c13_a_pool_that_nobody_references_is_collected_though_the_timer_is_armed(options):
    pool = pool_for(Server(), **options)
    await leave_all(await hold(pool, 3))
    assert len(timers()) == 1
    gone, connections = weakref.ref(pool), weakref.ref(pool._ledger)
    del pool
    gc.collect()
    assert gone() is connections() is None
    await asyncio.sleep(100)  # the timer finds nothing to do
    assert not tasks() + timers()


@virtual
async def test_c13_so_is_one_with_an_eviction_under_way():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 2)
    pool.evict(over=100)
    await settle()
    assert len(timers()) == 1
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    await asyncio.sleep(200)
    assert not tasks() + timers()


@virtual
async def test_c13_a_pool_with_every_policy_needs_no_garbage_collector_to_go():
    async def used():
        pool = pool_for(Server(), **EVERY_POLICY | {"min_size": 0})
        await asyncio.gather(*(use(pool) for _ in range(2)))
        pool.evict(over=100)
        return weakref.ref(pool)

    gc.disable()
    try:
        gone = await used()
        await settle()
        assert gone() is None
    finally:
        gc.enable()


# None outlives close().


@virtual
async def test_c13_none_outlives_close_with_every_policy():
    server = FullFakeStrategy(close=[1] * 99)
    pool = pool_for(server, **EVERY_POLICY)
    await pool.open()
    holders = await hold(pool, 2)
    waiters = await callers(pool, 2)
    closing = asyncio.create_task(pool.close())
    await settle()
    await leave_all(holders + waiters)
    await closing
    await settle()
    assert not tasks() + timers()
    check_settled(pool)


@virtual
async def test_c13_a_close_looks_for_bursts_to_allow_and_arms_no_timer():
    pool = pool_for(Server(), burst_delay=1, max_lifetime=100)
    await idle(pool, 2)
    await pool.close()
    assert not tasks() + timers()


@virtual
async def test_c13_nor_does_one_that_has_to_wait_for_a_holder_who_is_late():
    server = Server()
    pool = pool_for(server, burst_delay=1, max_lifetime=1000)
    holder, other = await hold(pool, 2)
    await other.leave()
    await pool.close(timeout=1)
    assert not timers()
    await holder.leave()
    await settle()
    assert not tasks() + timers()
    assert not server.open


async def yields_all_the_same():
    try:
        await asyncio.sleep(50)
    except asyncio.CancelledError:
        await asyncio.sleep(1)


async def fails_instead():
    try:
        await asyncio.sleep(50)
    except asyncio.CancelledError:
        raise OSError("broken off") from None


@pytest.mark.parametrize("create", [yields_all_the_same, fails_instead, NEVER])
@virtual
async def test_c13_an_open_that_ends_in_whatever_way_when_it_is_cancelled_arms_no_timer(create, caplog):
    server = Server(create=[create] * 9)
    pool = pool_for(server, **EVERY_POLICY)
    people = await callers(pool, 2)
    await pool.close()
    await settle()
    assert not timers()
    assert not [task for task in tasks() if task not in {caller.task for caller in people}]
    assert not server.open


@virtual
async def test_c13_what_is_brought_back_after_a_close_that_timed_out_arms_none():
    server = Server()
    pool = pool_for(server, **EVERY_POLICY)
    *holders, idle_now = await hold(pool, 3)
    await idle_now.leave()
    await pool.close(timeout=1)
    assert not timers()
    await asyncio.sleep(100)
    await leave_all(holders)
    await settle()
    assert not tasks() + timers()
    assert not server.open


@virtual
async def test_c13_what_is_due_for_a_pool_that_is_gone_is_not_done():
    """Whoever collects the garbage may take the pool before its maintenance."""
    pool = ConnectionPool(strategy=Server(), max_size=1, max_idle=5)
    await use(pool)
    maintenance = pool._supply.maintenance
    gone = weakref.ref(pool._supply)
    del pool
    gc.collect()
    assert gone() is None
    maintenance.fire(60)
    assert not timers() + tasks()
