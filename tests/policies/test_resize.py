"""`resize()`, and assigning `max_size` and `burst_limit`: new limits for a pool that is in use."""

from __future__ import annotations

import asyncio
import random

import pytest

from ageing import Server, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FullFakeStrategy
from oracle import check, check_settled
from scenarios import callers, hold, idle, leave_all, run_virtual, settle, use, virtual


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 2} | options))


# Up.


@virtual
async def test_raised_it_serves_who_waits_at_once_in_order():
    server = Server(create=[None, None, 3, 1])
    pool = pool_for(server)
    people = await callers(pool, 5)
    pool.resize(4)
    await asyncio.sleep(1)
    await settle()
    assert [caller.entered for caller in people] == [True, True, True, False, False]
    await asyncio.sleep(3)
    assert [caller.entered for caller in people] == [True, True, True, True, False]
    check(pool)
    await leave_all(people)


@virtual
async def test_a_burst_limit_may_be_given_and_taken_away():
    pool = pool_for(Server())
    people = await callers(pool, 4)
    pool.resize(2, 3)
    await settle()
    assert sum(caller.entered for caller in people) == 3
    pool.resize(2)
    assert pool.burst_limit is None
    assert pool.stats().limit == 2
    await leave_all(people)
    assert pool.stats().idle == 2
    check_settled(pool)


@virtual
async def test_both_change_in_one_step():
    """One after the other, either assignment would be refused or would close what is kept."""
    server = Server()
    pool = pool_for(server, max_size=2, burst_limit=3)
    await idle(pool, 2)
    pool.resize(5, 6)
    pool.resize(2, 3)
    assert len(server.open) == 2
    assert (pool.max_size, pool.burst_limit) == (2, 3)


# Down.


@virtual
async def test_c1_lowered_it_opens_nothing_until_enough_has_come_back():
    server = Server()
    pool = pool_for(server, max_size=4)
    holders = await hold(pool, 4)
    pool.resize(2)
    waiters = await callers(pool, 2)
    assert len(server.tried) == 4
    await holders[0].leave()
    await holders[1].leave()
    await settle()
    assert not any(caller.entered for caller in waiters)
    assert len(server.open) == 2
    await holders[2].leave()
    await settle()
    assert waiters[0].conn is holders[2].conn
    check(pool)
    await leave_all([holders[3], *waiters])
    assert len(server.tried) == 4
    check_settled(pool)


@virtual
async def test_what_is_idle_above_it_is_closed_at_once_those_used_longest_ago_first():
    server = Server()
    pool = pool_for(server, max_size=5)
    conns = await idle(pool, 5)
    pool.resize(2)
    assert pool.stats().idle == 2
    await settle()
    assert server.open == conns[3:]
    assert pool.stats().closed["surplus"] == 3


@virtual
async def test_what_is_in_use_counts_first():
    server = Server()
    pool = pool_for(server, max_size=5)
    await idle(pool, 5)
    holders = await hold(pool, 2)
    pool.resize(2)
    await settle()
    assert pool.stats().idle == 0
    assert len(server.open) == 2
    await leave_all(holders)
    assert pool.stats().idle == 2


@virtual
async def test_c1_what_is_being_opened_above_it_goes_when_it_comes():
    server = Server(create=[5] * 4)
    pool = pool_for(server, max_size=4)
    people = await callers(pool, 4)
    pool.resize(1)
    await asyncio.sleep(6)
    await settle()
    assert sum(caller.entered for caller in people) == 1
    assert len(server.open) == 1
    check(pool)
    await leave_all(people)
    assert all(caller.conn is people[0].conn for caller in people)


@virtual
async def test_c1_so_does_what_is_being_reset_or_validated():
    server = FullFakeStrategy(reset=[5] * 9, validate=[5] * 9)
    pool = pool_for(server, max_size=4, validate_after=10)
    await leave_all(await hold(pool, 4))
    pool.resize(3)
    await asyncio.sleep(6)
    assert pool.stats().idle == 3
    await asyncio.sleep(20)
    people = await callers(pool, 3)
    assert pool.stats().validating == 3
    pool.resize(1)
    await asyncio.sleep(6)
    assert pool.stats().in_use == 1
    assert len(server.open) == 1
    for caller in people:
        caller.leave()
    await asyncio.sleep(100)
    check_settled(pool)


@virtual
async def test_nothing_may_be_kept_at_all():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 2)
    pool.resize(0, 2)
    await settle()
    assert not server.open
    await use(pool)
    assert not server.open
    check_settled(pool)


# What it does not change.


@virtual
async def test_what_was_due_for_validation_is_due_still():
    server = Server()
    pool = pool_for(server, validate_after=10)
    await idle(pool, 2)
    await asyncio.sleep(100)
    pool.resize(3)
    await use(pool)
    assert len(server.validated) == 1


@virtual
async def test_c3_nobody_overtakes_who_waits_for_a_validation():
    pool = pool_for(Server(validate=[5] * 9), validate_after=10)
    await idle(pool, 2)
    await asyncio.sleep(100)
    (first,) = await callers(pool, 1)
    pool.resize(2, 4)
    (second,) = await callers(pool, 1)
    assert not second.entered
    check(pool)
    await asyncio.sleep(6)
    assert first.entered
    await leave_all([first, second])


@virtual
async def test_idle_seconds_go_on():
    pool = pool_for(Server(), max_idle=10)
    await idle(pool, 2)
    for size in (3, 2) * 5:
        await asyncio.sleep(2)
        pool.resize(size)
    assert pool.stats().idle == 0


@virtual
async def test_lifetimes_go_on():
    pool = pool_for(Server(), max_lifetime=10)
    await idle(pool, 2)
    for size in (3, 2) * 5:
        await asyncio.sleep(1)
        pool.resize(size)
    assert pool.stats().idle == 0


@virtual
async def test_min_size_is_kept():
    async with pool_for(Server(), max_size=5, min_size=2) as pool:
        await leave_all(await hold(pool, 5))
        pool.resize(2)
        await settle()
        assert pool.stats().idle == 2
        async with pool.get_connection() as conn:
            pool.discard(conn)
        await settle()
        assert pool.stats().idle == 2


@virtual
async def test_with_a_delay_what_is_surplus_now_idles_from_now_on():
    pool = pool_for(Server(), max_size=4, burst_limit=4, shrink_delay=10)
    await idle(pool, 4)
    await asyncio.sleep(100)
    pool.resize(1, 4)
    await asyncio.sleep(9.9)
    assert pool.stats().idle == 4
    await asyncio.sleep(0.2)
    assert pool.stats().idle == 1
    assert not timers()


@virtual
async def test_with_a_delay_what_is_above_the_limit_goes_at_once():
    pool = pool_for(Server(), max_size=4, burst_limit=6, shrink_delay=10)
    await idle(pool, 6)
    pool.resize(1, 3)
    assert pool.stats().idle == 3
    await asyncio.sleep(11)
    assert pool.stats().idle == 1


@virtual
async def test_with_a_delay_resizing_once_more_begins_it_anew():
    pool = pool_for(Server(), max_size=4, burst_limit=4, shrink_delay=10)
    await idle(pool, 4)
    pool.resize(2, 4)
    await asyncio.sleep(5)
    pool.resize(1, 4)
    await asyncio.sleep(100)
    assert pool.stats().idle == 1


@virtual
async def test_assigning_one_of_them_is_resizing_with_the_other_as_it_is():
    server = Server()
    pool = pool_for(server, burst_limit=4)
    people = await callers(pool, 6)
    pool.burst_limit = 5
    await settle()
    assert sum(caller.entered for caller in people) == 5
    pool.max_size = 3
    assert (pool.max_size, pool.burst_limit) == (3, 5)
    await leave_all(people)
    assert pool.stats().idle == 3


# Refused.


@pytest.mark.parametrize(
    "options, sizes, message",
    [
        ({"min_size": 2}, (1, 5), "min_size is 2, max_size is 1"),
        ({"min_size": 2}, (0, 5), "min_size is 2, max_size is 0"),
        ({"burst_limit": 5, "burst_delay": 1}, (2, None), "burst_delay is 1 s, but there is no burst_limit"),
        ({}, (3, 2), "burst_limit is 2, max_size is 3"),
        ({}, (0, None), "max_size must be at least 1"),
        ({}, (-1, 2), "max_size must be at least 0, not -1"),
    ],
)
def test_c10_what_does_not_fit_is_refused_and_changes_nothing(options, sizes, message):
    pool = pool_for(Server(), **options)
    before = pool.stats()
    with pytest.raises(ValueError, match=message):
        pool.resize(*sizes)
    assert pool.stats() == before


def test_neither_may_be_assigned_what_does_not_fit():
    pool = pool_for(Server(), min_size=2, burst_limit=4, burst_delay=1)
    with pytest.raises(ValueError, match="min_size is 2, max_size is 1"):
        pool.max_size = 1
    with pytest.raises(ValueError, match="burst_delay is 1 s"):
        pool.burst_limit = None
    assert (pool.max_size, pool.burst_limit) == (2, 4)


@pytest.mark.parametrize("sizes", [("2", None), (2.0, None), (True, None), (2, "3"), (2, False), (None, None)])
def test_what_is_no_integer_is_refused(sizes):
    with pytest.raises(TypeError, match="must be an int"):
        pool_for(Server()).resize(*sizes)


# Where there is nothing open.


def test_a_pool_that_was_never_used_may_be_resized():
    pool = pool_for(Server())
    pool.resize(5, 6)
    assert pool.stats().limit == 6


@virtual
async def test_a_closed_one_too():
    pool = pool_for(Server(), shrink_delay=1, burst_limit=2)
    await pool.close()
    pool.resize(1)
    assert not timers()


def test_c11_one_whose_loop_is_closed_too():
    pool = pool_for(Server())
    run_virtual(idle(pool, 2))
    pool.resize(1)
    run_virtual(idle(pool, 1))
    assert pool.stats().closed["forgotten"] == 2


# Under load.


@pytest.mark.parametrize("seed", range(8))
def test_c1_resized_again_and_again_under_load_it_never_opens_above_the_limit(seed):
    async def main():
        pool = pool_for(server, max_size=5, **options)
        work = [asyncio.create_task(worker(pool)) for _ in range(12)]
        for _ in range(150):
            await asyncio.sleep(chance.random())
            opened, most = len(server.tried), pool.stats().size
            size = chance.randint(1, 8)
            pool.resize(size, size + chance.randint(0, 3))
            stats = pool.stats()
            assert len(server.tried) == opened or stats.size <= stats.limit
            assert stats.size <= max(most, stats.limit)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        pool.resize(3)
        await asyncio.sleep(10)
        check_settled(pool)
        await pool.close()
        assert not server.open

    async def worker(pool):
        while True:
            async with pool.get_connection():
                await asyncio.sleep(chance.random())
            await asyncio.sleep(chance.random() / 2)

    chance = random.Random(seed)
    options = {"shrink_delay": 1} if seed % 2 else {}
    server = Server(create=iter(lambda: chance.random() / 4, None), close=iter(lambda: chance.random() / 4, None))
    run_virtual(main())
