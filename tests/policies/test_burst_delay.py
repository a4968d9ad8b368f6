"""`burst_delay`: how long a caller must have waited before capacity above `max_size` is opened for it."""

from __future__ import annotations

import asyncio

import pytest

from ageing import Server, now, stall, tasks, timers
from asyncio_connection_pool import ConnectionPool
from oracle import check, check_settled
from scenarios import callers, hold, leave_all, outcome, settle, use, virtual
from sweeping_fakes import failing


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 1, "burst_limit": 3, "burst_delay": 5} | options))


@virtual
async def test_up_to_max_size_nobody_waits():
    pool = pool_for(Server(), max_size=3)
    holders = await hold(pool, 3)
    assert now() == 0
    await leave_all(holders)


@virtual
async def test_above_it_a_caller_waits_for_so_long():
    server = Server()
    pool = pool_for(server)
    (holder,) = await hold(pool)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(4.9)
    assert not caller.entered
    await asyncio.sleep(0.2)
    assert caller.entered
    assert server.tried == [0, 5]
    await leave_all([holder, caller])
    check_settled(pool)


@virtual
async def test_c3_what_is_given_back_before_makes_the_burst_needless():
    server = Server()
    pool = pool_for(server)
    (holder,) = await hold(pool)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(4)
    await holder.leave()
    assert caller.conn is holder.conn
    await asyncio.sleep(10)
    assert len(server.connections) == 1
    await caller.leave()
    assert not tasks() + timers()


@virtual
async def test_each_caller_has_waited_for_itself():
    server = Server()
    pool = pool_for(server)
    people = await hold(pool)
    for _ in range(2):
        people += await callers(pool, 1)
        await asyncio.sleep(2)
    await asyncio.sleep(10)
    assert server.tried == [0, 5, 7]
    assert all(caller.entered for caller in people)
    await leave_all(people)


@virtual
async def test_c1_above_the_burst_limit_nothing_is_opened():
    server = Server()
    pool = pool_for(server)
    people = await hold(pool)
    people += await callers(pool, 5)
    await asyncio.sleep(100)
    assert len(server.connections) == 3
    assert not timers()
    check(pool)
    await leave_all(people)


@virtual
async def test_c8_the_burst_ends_as_ever():
    pool = pool_for(Server())
    people = await hold(pool)
    people += await callers(pool, 2)
    await asyncio.sleep(6)
    await leave_all(people)
    assert pool.stats().idle == 1
    assert pool.stats().closed["surplus"] == 2


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
@virtual
async def test_for_a_caller_that_has_left_nothing_is_opened(how):
    server = Server()
    pool = pool_for(server)
    (holder,) = await hold(pool)
    (caller,) = await callers(pool, 1, timeout=4.5)
    if how == "cancelled":
        caller.cancel()
    await asyncio.sleep(10)
    assert caller.error
    assert len(server.tried) == 1
    assert not timers()
    await holder.leave()


@virtual
async def test_one_that_left_does_not_hasten_those_behind():
    server = Server()
    pool = pool_for(server)
    (holder,) = await hold(pool)
    (first,) = await callers(pool, 1)
    await asyncio.sleep(3)
    (second,) = await callers(pool, 1)
    first.cancel()
    await asyncio.sleep(4.9)
    assert len(server.tried) == 1
    await asyncio.sleep(0.2)
    assert second.entered
    assert server.tried == [0, 8]
    await leave_all([holder, second])


@virtual
async def test_the_first_in_the_queue_takes_what_comes_and_the_others_keep_their_time():
    server = Server()
    pool = pool_for(server)
    (holder,) = await hold(pool)
    (first,) = await callers(pool, 1)
    await asyncio.sleep(3)
    (second,) = await callers(pool, 1)
    await asyncio.sleep(1)
    await holder.leave()
    assert first.entered
    await asyncio.sleep(3.9)
    assert not second.entered
    await asyncio.sleep(0.2)
    assert second.entered
    assert server.tried == [0, 8]
    await leave_all([first, second])


@virtual
async def test_where_nothing_is_kept_every_caller_waits():
    server = Server()
    pool = pool_for(server, max_size=0)
    await use(pool)
    await use(pool)
    assert server.tried == [5, 10]
    check_settled(pool)


@virtual
async def test_c6_a_burst_that_fails_is_told_and_the_next_in_the_queue_has_one_of_its_own():
    error = OSError("refused")
    server = Server(create=[None, failing(1, error)])
    pool = pool_for(server, burst_limit=2)
    (holder,) = await hold(pool)
    first, second = await callers(pool, 2)
    await asyncio.sleep(7)
    assert first.error is error
    assert second.entered
    assert server.tried == [0, 5, 6]
    await leave_all([holder, second])


@virtual
async def test_one_open_at_a_time_is_heeded():
    server = Server(create=[None, 2, 2])
    pool = pool_for(server, max_connecting=1)
    (holder,) = await hold(pool)
    people = await callers(pool, 2)
    await asyncio.sleep(20)
    assert server.tried == [0, 5, 7]
    await leave_all([holder, *people])


@virtual
async def test_c1_a_connection_that_is_being_closed_is_capacity_that_is_taken():
    """What is opened beside it would be above `max_size` as the server sees it; once it is closed it would not."""
    server = Server(close=[2])
    pool = pool_for(server)
    (holder,) = await hold(pool)
    pool.discard(holder.conn)
    await holder.leave()
    assert await use(pool)
    assert server.tried == [0, 2]


@virtual
async def test_a_close_that_takes_longer_than_the_delay_is_not_waited_for():
    server = Server(close=[50])
    pool = pool_for(server)
    (holder,) = await hold(pool)
    pool.discard(holder.conn)
    await holder.leave()
    assert await use(pool)
    assert server.tried == [0, 5]


@virtual
async def test_room_that_is_made_by_resizing_is_used_at_once():
    server = Server()
    pool = pool_for(server)
    (holder,) = await hold(pool)
    people = await callers(pool, 2)
    pool.resize(3, 3)
    await settle()
    assert all(caller.entered for caller in people)
    assert now() == 0
    await leave_all([holder, *people])


@virtual
async def test_a_caller_that_comes_when_the_delay_is_over_for_another_waits_its_own():
    """The timer was late, and the queue is looked at when somebody new comes."""
    server = Server()
    pool = pool_for(server)
    (holder,) = await hold(pool)
    (first,) = await callers(pool, 1)
    stall(5)
    (second,) = await callers(pool, 1)
    assert first.entered
    assert not second.entered
    await asyncio.sleep(5)
    await settle()
    assert second.entered
    await leave_all([holder, first, second])


@virtual
async def test_c12_who_waits_for_a_burst_is_told_of_the_close():
    pool = pool_for(Server())
    (holder,) = await hold(pool)
    waiting = asyncio.create_task(outcome(use(pool)))
    await settle()
    closing = asyncio.create_task(pool.close())
    await settle()
    assert waiting.done()
    assert not timers()
    await holder.leave()
    await closing


@virtual
async def test_c13_there_is_one_timer_whoever_waits():
    pool = pool_for(Server(), burst_limit=10)
    (holder,) = await hold(pool)
    people = await callers(pool, 9)
    assert len(timers()) == 1
    await asyncio.sleep(6)
    assert not timers()
    await leave_all([holder, *people])
