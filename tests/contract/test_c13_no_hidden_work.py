"""C13: no task and no timer without need, and none that outlives `close()`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref

import pytest

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check_settled
from scenarios import Caller, callers, hold, idle, leave_all, outcome, settle, use, virtual, virtual_loop

EVERY_OPTION = {
    "burst_limit": 3,
    "acquire_timeout": 10,
    "connect_timeout": 10,
    "close_timeout": 10,
    "shrink_delay": 10,
    "max_waiting": 10,
    "max_connecting": 2,
}


def tasks() -> list[asyncio.Task]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def timers() -> list[asyncio.TimerHandle]:
    return [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]


@virtual
async def test_c13_a_pool_at_rest_has_no_task_and_no_timer():
    pool = ConnectionPool(strategy=FullFakeStrategy(), max_size=3, **EVERY_OPTION)
    await pool.open()
    assert not tasks() + timers()
    await leave_all(await hold(pool, 3))
    assert pool.stats().idle == 3
    assert not tasks() + timers()
    await pool.close()
    assert not tasks() + timers()


@virtual
async def test_c13_a_held_connection_needs_no_task_and_no_timer():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=3, **EVERY_OPTION)
    async with pool.get_connection():
        await settle()
        assert not tasks() + timers()


@virtual
async def test_c13_a_waiter_is_no_task_and_without_a_timeout_no_timer():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    async with pool.get_connection():
        entering = pool.get_connection().__aenter__()
        entering.send(None)
        assert not tasks() + timers()
        entering.close()


@virtual
async def test_c13_the_timer_of_a_waiter_ends_with_its_wait():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, acquire_timeout=100)
    holder, served, cancelled = await callers(pool, 3)
    assert len(timers()) == 2
    cancelled.cancel()
    await holder.leave()
    await settle()
    assert served.entered
    assert not timers()
    await served.leave()


@pytest.mark.parametrize("behaviour", [None, OSError("refused"), asyncio.CancelledError()], ids=repr)
@virtual
async def test_c13_the_timer_of_an_open_ends_with_it(behaviour):
    pool = ConnectionPool(strategy=FakeStrategy(create=[behaviour]), max_size=1, connect_timeout=100)
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await use(pool)
    assert not tasks() + timers()


@pytest.mark.parametrize("behaviour", [None, OSError("close"), asyncio.CancelledError()], ids=repr)
@virtual
async def test_c13_the_timer_of_a_close_ends_with_it(behaviour):
    pool = ConnectionPool(strategy=FakeStrategy(close=[behaviour]), max_size=1, close_timeout=100)
    (holder,) = await hold(pool)
    pool.discard(holder.conn)
    await holder.leave()
    await settle()
    assert not tasks() + timers()


@virtual
async def test_c13_there_is_one_timer_for_all_that_is_surplus_and_none_once_that_is_gone():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=5, shrink_delay=10)
    await idle(pool, 5)
    assert len(timers()) == 1
    await asyncio.sleep(11)
    assert len(strategy.open) == 1
    assert not tasks() + timers()


@virtual
async def test_c13_nothing_polls():
    """While a pool waits for a create, a holder and the end of `close()`, its loop does nothing at all."""

    def count(seconds):
        nonlocal leaps
        leaps += 1
        leap(seconds)

    leaps = 0
    strategy = FakeStrategy(create=[None, NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=2, **EVERY_OPTION | {"connect_timeout": None})
    (holder,) = await hold(pool)
    await callers(pool, 1, timeout=None)
    await settle()
    selector = asyncio.get_running_loop()._selector
    leap, selector.jump = selector.jump, count
    await asyncio.sleep(10_000)
    assert leaps == 1
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(10_000)
    assert leaps == 2
    await holder.leave()
    await closing


@pytest.mark.parametrize("options", [{}, EVERY_OPTION], ids=["plain", "every option"])
@virtual
async def test_c13_no_task_and_no_timer_outlives_close(options):
    strategy = FullFakeStrategy(create=[None, None, None, NEVER], reset=[NEVER], close=[1, 2])
    pool = ConnectionPool(strategy=strategy, **({"max_size": 3, "burst_limit": 5} | options))
    one, two, three = await hold(pool, 3)
    pool.discard(one.conn)
    await one.leave()
    await two.leave()
    people = await callers(pool, 4)
    three.leave()
    for caller in people:
        caller.leave()
    await pool.close()
    await settle()
    assert not tasks() + timers()
    assert not strategy.open
    check_settled(pool)


@virtual
async def test_c13_none_outlives_a_close_that_timed_out_but_the_close_of_what_is_brought_back():
    strategy = FakeStrategy(close=[5])
    pool = ConnectionPool(strategy=strategy, max_size=3)
    (holder,) = await hold(pool)
    await pool.close(timeout=1)
    assert tasks() == [holder.task]
    assert not timers()
    await holder.leave()
    assert len(tasks()) == 1
    await asyncio.sleep(6)
    assert not strategy.open
    assert not tasks() + timers()


@virtual
async def test_c13_none_outlives_a_close_that_timed_out_where_connections_can_be_aborted():
    strategy = FullFakeStrategy(close=[NEVER] * 3, reset=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=3)
    holders = await hold(pool, 3)
    await holders[0].leave()
    pool.discard(holders[1].conn)
    await holders[1].leave()
    await pool.close(timeout=1)
    await settle()
    assert tasks() == [holders[2].task]
    assert not timers()
    assert len(strategy.aborted) == 3
    await holders[2].leave()
    check_settled(pool)


@virtual
async def test_c13_a_pool_that_nobody_references_is_collected():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=3, **EVERY_OPTION)
    await leave_all(await hold(pool, 3))
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None


async def test_c13_a_pool_that_nobody_references_needs_no_garbage_collector_to_go():
    async def used():
        pool = ConnectionPool(strategy=FakeStrategy(), max_size=3)
        await asyncio.gather(*(use(pool) for _ in range(6)))
        await pool.get_connection().__aenter__()
        return weakref.ref(pool)

    gc.disable()
    try:
        gone = await used()
        await settle()
        assert gone() is None
    finally:
        gc.enable()


@virtual
async def test_c13_a_timer_that_shrinks_keeps_no_pool_alive():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=3, shrink_delay=10)
    await idle(pool, 3)
    assert len(timers()) == 1
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    await asyncio.sleep(11)  # the timer finds nothing to do
    assert not tasks() + timers()


@virtual
async def test_c13_a_pool_with_waiters_is_kept_by_them():
    pool = ConnectionPool(strategy=FakeStrategy(create=[5]), max_size=1)
    caller = Caller(pool)
    await settle()
    del pool
    gc.collect()
    await asyncio.sleep(6)
    assert caller.entered
    await caller.leave()


@virtual
async def test_c13_after_a_failure_a_pool_can_be_collected_too():
    pool = ConnectionPool(strategy=FakeStrategy(create=[OSError("refused")]), max_size=1)
    await outcome(use(pool))
    await settle()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None


def test_c13_a_pool_outlives_its_loop_and_the_other_way_round():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    loop = virtual_loop()
    loop.run_until_complete(use(pool))
    loop.close()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
