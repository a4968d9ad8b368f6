"""`max_lifetime`: a connection is retired in the last fifth of its lifetime, and nobody meets it later."""

from __future__ import annotations

import asyncio

import pytest

from ageing import Server, most_within, now, stall, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FullFakeStrategy
from oracle import check, check_settled
from scenarios import callers, hold, idle, leave_all, outcome, settle, step, use, virtual


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 1, "max_lifetime": 10} | options))


def expired(pool):
    return pool.stats().closed["expired"]


# By timer.


@virtual
async def test_idle_connections_are_closed_when_their_time_has_come_though_nobody_asks():
    server = Server()
    pool = pool_for(server, max_size=50)
    await idle(pool, 50)
    await asyncio.sleep(7.99)
    assert expired(pool) == 0
    await asyncio.sleep(2.01)
    assert expired(pool) == 50
    assert not server.open
    assert not timers()
    check_settled(pool)


@virtual
async def test_connections_of_one_age_do_not_go_together():
    server = Server()
    pool = pool_for(server, max_size=100)
    await idle(pool, 100)
    await asyncio.sleep(10)
    assert all(8 <= when <= 10 for when in server.closed_at)
    assert len(set(server.closed_at)) == 100
    assert most_within(0.5, server.closed_at) <= 40


@virtual
async def test_each_connection_has_a_lifetime_of_its_own():
    server = Server()
    pool = pool_for(server, max_size=2)
    (older,) = await hold(pool)
    await asyncio.sleep(9)
    (younger,) = await hold(pool)
    await leave_all([older, younger])
    await asyncio.sleep(2)
    assert server.open == [younger.conn]
    await asyncio.sleep(9)
    assert not server.open


@virtual
async def test_a_connection_in_use_is_left_to_its_user_and_closed_after():
    server = Server()
    pool = pool_for(server)
    (holder,) = await hold(pool)
    await asyncio.sleep(100)
    assert server.open == [holder.conn]
    assert expired(pool) == 0
    await holder.leave()
    await settle()
    assert not server.open
    assert expired(pool) == 1
    check_settled(pool)


@pytest.mark.parametrize("what", ["reset", "validate"])
@virtual
async def test_one_that_the_pool_is_at_work_on_is_closed_after_that(what):
    server = FullFakeStrategy(**{what: [20]})
    pool = pool_for(server, validate_after=1)
    (holder,) = await hold(pool)
    await holder.leave()
    if what == "validate":
        await asyncio.sleep(2)
    (waiter,) = await callers(pool, 1)
    await asyncio.sleep(30)
    assert waiter.conn is not holder.conn
    assert expired(pool) == 1
    await leave_all([waiter])
    check(pool)


# At return.


@virtual
async def test_a_connection_that_comes_back_too_old_does_not_go_to_who_waits():
    pool = pool_for(Server(close=[5]))
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    stall(10)
    holder.leave()
    await settle()
    assert not waiter.entered, "C1"
    await asyncio.sleep(6)
    assert waiter.entered
    assert waiter.conn is not holder.conn
    await leave_all([waiter])
    assert expired(pool) == 1


@virtual
async def test_a_connection_that_comes_back_too_old_does_not_become_idle():
    pool = pool_for(Server())
    lease = pool.get_connection()
    await lease.__aenter__()
    stall(10)
    step(lease.__aexit__(None, None, None))
    assert pool.stats().idle == 0
    assert pool.stats().closing == 1
    await settle()
    check_settled(pool)


@virtual
async def test_a_connection_that_comes_back_too_old_is_not_reset_first():
    pool = pool_for(FullFakeStrategy(reset=[OSError("reset")]))
    lease = pool.get_connection()
    await lease.__aenter__()
    stall(10)
    step(lease.__aexit__(None, None, None))
    assert pool.stats().resetting == 0
    await settle()
    assert expired(pool) == 1


@virtual
async def test_the_exit_does_not_wait_for_that_close():
    pool = pool_for(Server(close=[50]))
    async with pool.get_connection():
        await asyncio.sleep(20)
    assert now() == 20


@virtual
async def test_a_connection_that_is_never_idle_is_retired_too():
    """Handed from one caller to the next for ever, it is looked at at no hand-out from the stack."""
    pool = pool_for(Server())
    ages = []
    born = {}

    async def worker():
        while now() < 100:
            async with pool.get_connection() as conn:
                ages.append(now() - born.setdefault(conn, now()))
                await asyncio.sleep(0.25)

    await asyncio.gather(*(worker() for _ in range(4)))
    assert max(ages) <= 10
    assert 10 <= len(pool.strategy.connections) <= 13


# At hand-out.


@virtual
async def test_c7_an_idle_connection_that_is_too_old_is_not_handed_out_though_the_timer_is_late():
    server = Server()
    pool = pool_for(server, max_size=3)
    old = await idle(pool, 3)
    stall(10)
    assert await use(pool) not in old
    assert expired(pool) == 3
    check_settled(pool)
    assert pool.stats().acquired == pool.stats().released == 4


@virtual
async def test_younger_ones_below_it_are_found():
    pool = pool_for(Server(), max_size=2)
    (first,) = await hold(pool)
    await asyncio.sleep(7)
    (second,) = await hold(pool)
    await leave_all([second, first])
    stall(3)
    async with pool.get_connection(timeout=0) as conn:
        assert conn is second.conn
    check(pool)


@virtual
async def test_timeout_0_finds_nothing_in_what_is_too_old():
    pool = pool_for(Server())
    await idle(pool, 1)
    stall(10)
    assert isinstance(await outcome(use(pool, timeout=0)), TimeoutError)
    await settle()
    check_settled(pool)
    assert pool.stats().acquired == 1


@pytest.mark.parametrize("what", ["reset", "validate"])
@virtual
async def test_it_is_not_handed_over_where_a_reset_or_a_validation_has_stalled_the_loop(what):
    """The end of the pool's own task comes before any timer that is late."""
    gate = asyncio.Event()

    async def work():
        await gate.wait()
        stall(10)

    pool = pool_for(FullFakeStrategy(**{what: [work]}), validate_after=1)
    (holder,) = await hold(pool)
    await holder.leave()
    if what == "validate":
        await asyncio.sleep(2)
    (waiter,) = await callers(pool, 1)
    gate.set()
    await settle()
    assert waiter.entered
    assert waiter.conn is not holder.conn
    await leave_all([waiter])


@virtual
async def test_c7_whatever_the_closed_check_raises_at_a_checked_hand_out_is_settled():
    class Looking(Server):
        answer: object = False

        def connection_is_closed(self, conn):
            if isinstance(self.answer, BaseException):
                raise self.answer
            return self.answer

    server = Looking()
    pool = pool_for(server)
    for answer in (asyncio.CancelledError(), KeyboardInterrupt()):
        server.answer = False
        await use(pool)
        server.answer = answer
        with pytest.raises(type(answer)):
            step(pool.get_connection().__aenter__())
        await settle()
        check_settled(pool)
    server.answer = False
    await use(pool)
    check_settled(pool)


@virtual
async def test_c2_a_hand_out_and_a_return_do_not_yield():
    pool = pool_for(Server())
    await use(pool)
    lease = pool.get_connection()
    step(lease.__aenter__())
    step(lease.__aexit__(None, None, None))


@virtual
async def test_c4_the_connection_used_last_is_handed_out_first():
    pool = pool_for(Server(), max_size=3)
    conns = await idle(pool, 3)
    assert await use(pool) is conns[-1]


# Replaced.


@virtual
async def test_where_nobody_needs_it_no_other_is_opened():
    server = Server()
    pool = pool_for(server, max_size=5)
    await idle(pool, 5)
    await asyncio.sleep(100)
    assert len(server.connections) == 5


@virtual
async def test_min_size_replaces_it_before_it_is_missed():
    """At any moment a caller finds one at hand, though each lives but ten seconds."""
    async with pool_for(Server(create=[0.5] * 999), max_size=6, min_size=4) as pool:
        while now() < 300:
            async with pool.get_connection(timeout=0):
                pass
            await asyncio.sleep(0.1)
        assert expired(pool) >= 100
        assert pool.stats().acquired_at_once == pool.stats().acquired


@virtual
async def test_c12_a_pool_that_is_closed_before_has_nothing_left_to_do():
    server = Server()
    pool = pool_for(server, max_size=5)
    await idle(pool, 5)
    await pool.close()
    assert not timers()
    assert expired(pool) == 0
