"""C3: a connection that comes free goes to who has waited longest, in the same step; nobody overtakes."""

from __future__ import annotations

import asyncio
from collections import Counter

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Caller, callers, hold, leave_all, settle, step, use, virtual


async def test_c3_callers_are_served_in_the_order_of_their_coming():
    async def caller(number):
        async with pool.get_connection():
            served.append(number)
            await asyncio.sleep(0)

    served: list[int] = []
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=3)
    await asyncio.gather(*(caller(number) for number in range(50)))
    assert served == list(range(50))
    check_settled(pool)


async def test_c3_the_hand_over_is_in_the_step_of_the_return():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    (waiter,) = await callers(pool, 1)
    assert pool.stats().waiting == 1
    step(lease.__aexit__(None, None, None))
    assert (pool.stats().waiting, pool.stats().in_use, pool.stats().idle) == (0, 1, 0)
    await waiter.leave()


async def test_c3_a_caller_that_comes_in_the_step_of_the_return_does_not_overtake():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    lease = pool.get_connection()
    conn = await lease.__aenter__()
    (waiter,) = await callers(pool, 1)
    step(lease.__aexit__(None, None, None))
    barger = pool.get_connection().__aenter__()
    barger.send(None)  # it queues
    assert pool.stats().waiting == 1
    await settle()
    assert waiter.conn is conn
    barger.close()
    await waiter.leave()
    check_settled(pool)


async def test_c3_who_comes_while_others_wait_queues_behind_them_even_with_a_timeout_of_zero():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    people = await callers(pool, 2)
    people[0].leave()
    late = Caller(pool, timeout=0)
    await settle()
    assert people[1].entered
    assert isinstance(late.error, TimeoutError)
    await people[1].leave()


@virtual
async def test_c3_whichever_connection_is_open_first_goes_to_the_head():
    strategy = FakeStrategy(create=[5, 1])
    pool = ConnectionPool(strategy=strategy, max_size=2)
    people = await callers(pool, 2)
    await asyncio.sleep(2)
    assert [caller.entered for caller in people] == [True, False]
    await asyncio.sleep(4)
    assert people[1].entered
    await leave_all(people)


@virtual
async def test_c3_a_connection_that_was_reset_goes_to_the_head():
    pool = ConnectionPool(strategy=FullFakeStrategy(reset=[5]), max_size=1)
    holder, *waiting = await callers(pool, 3)
    await holder.leave()
    late = Caller(pool)
    await asyncio.sleep(6)
    assert [caller.entered for caller in [*waiting, late]] == [True, False, False]
    await leave_all([*waiting, late])


async def test_c3_those_who_left_the_queue_are_skipped():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    holder, *waiting = await callers(pool, 100)
    for caller in waiting[:98]:
        caller.cancel()
    holder.leave()  # in the very tick: the queue still counts those who were cancelled
    await settle()
    assert waiting[98].entered
    check(pool)
    await waiting[98].leave()
    check_settled(pool)


async def test_c3_a_hand_over_to_a_caller_who_is_cancelled_in_the_same_tick_goes_to_the_next():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    lease = pool.get_connection()
    conn = await lease.__aenter__()
    first, second = await callers(pool, 2)
    step(lease.__aexit__(None, None, None))
    first.cancel()
    await settle()
    assert first.task.cancelled()
    assert second.conn is conn
    await second.leave()
    check_settled(pool)


async def test_c3_idle_connections_and_live_waiters_never_coexist():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    people = await callers(pool, 6)
    for caller in people:
        caller.leave()
        for _ in range(5):
            check(pool)
            await asyncio.sleep(0)
    assert pool.stats().idle == 2


async def test_c3_twenty_hot_workers_share_two_connections_evenly():
    served: Counter[int] = Counter()

    async def worker(number):
        while served.total() < 2000:
            async with pool.get_connection():
                served[number] += 1
                await asyncio.sleep(0)

    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    await asyncio.gather(*(worker(number) for number in range(20)))
    assert max(served.values()) - min(served.values()) <= 1
    assert len(served) == 20


async def test_c3_a_hot_worker_that_never_yields_does_not_starve_one_that_waits():
    async def hot():
        for _ in range(100):
            await use(pool)
            seen.append(waiter.entered)

    seen: list[bool] = []
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    (holder,) = await hold(pool)
    waiter = Caller(pool)
    await settle()
    holder.leave()
    worker = asyncio.create_task(hot())
    await settle()
    assert waiter.entered
    await waiter.leave()
    await worker
    assert all(seen)
