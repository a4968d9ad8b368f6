"""`validate_after`: what has idled for longer has to prove that it is alive before anybody gets it."""

from __future__ import annotations

import asyncio

import pytest

from ageing import Server, now, stall, tasks, timers
from asyncio_connection_pool import ConnectionPool, PoolClosedError, PoolTimeoutError
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Halt, callers, hold, idle, leave_all, settle, step, use, virtual
from sweeping_fakes import failing


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 2, "validate_after": 10} | options))


async def rested(pool, count, seconds=10.1):
    """Have that many connections that are due for validation, the one used last at the end."""
    conns = await idle(pool, count)
    await asyncio.sleep(seconds)
    return conns


def failed(pool):
    return pool.stats().closed["validation_failed"]


# When.


@virtual
async def test_what_has_not_idled_for_longer_is_handed_out_at_once():
    server = Server()
    pool = pool_for(server)
    await rested(pool, 1, seconds=10)
    lease = pool.get_connection()
    step(lease.__aenter__())
    step(lease.__aexit__(None, None, None))
    assert not server.validated


@virtual
async def test_what_has_idled_for_longer_is_validated_first():
    server = Server(validate=[3])
    pool = pool_for(server)
    (conn,) = await rested(pool, 1)
    since = now()
    assert await use(pool) is conn
    assert now() == since + 3
    assert server.validated == [conn]
    check_settled(pool)


@virtual
async def test_a_validation_is_as_good_as_a_use():
    server = Server()
    pool = pool_for(server)
    await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    caller.cancel()
    await settle()
    await asyncio.sleep(9)
    await use(pool)
    assert len(server.validated) == 1


@virtual
async def test_c4_only_what_is_handed_out_is_validated():
    server = Server()
    pool = pool_for(server)
    conns = await rested(pool, 2)
    await use(pool)
    await use(pool)
    assert server.validated == [conns[1]]


@virtual
async def test_a_new_connection_is_not_validated():
    server = Server()
    async with pool_for(server, min_size=2) as pool:
        await use(pool)
        assert not server.validated


@virtual
async def test_one_opened_long_ago_for_min_size_is():
    server = Server()
    async with pool_for(server, min_size=2) as pool:
        await asyncio.sleep(11)
        await use(pool)
        assert len(server.validated) == 1


@virtual
async def test_c3_one_that_goes_from_hand_to_hand_is_not():
    server = Server()
    pool = pool_for(server, max_size=1)
    holder, waiter = await callers(pool, 2)
    await asyncio.sleep(100)
    await leave_all([holder, waiter])
    assert not server.validated


@virtual
async def test_with_zero_whatever_idled_at_all_is_validated():
    server = Server()
    pool = pool_for(server, validate_after=0)
    await use(pool)
    await use(pool)
    assert not server.validated
    await asyncio.sleep(0.001)
    await use(pool)
    assert len(server.validated) == 1


@virtual
async def test_a_strategy_that_does_not_know_how_is_not_troubled():
    pool = pool_for(FakeStrategy())
    (conn,) = await rested(pool, 1)
    assert await use(pool) is conn


# It fails.


@pytest.mark.parametrize("error", [OSError("gone"), TimeoutError("gone"), Halt("gone"), asyncio.CancelledError("gone")])
@virtual
async def test_what_fails_is_closed_and_the_next_one_is_found(error, caplog):
    server = Server(validate=[error])
    pool = pool_for(server)
    conns = await rested(pool, 2)
    assert await use(pool) is conns[0]
    assert server.validated == conns[::-1]
    assert server.open == conns[:1]
    assert failed(pool) == 1
    assert "gone" in caplog.text
    await settle()
    check_settled(pool)


@virtual
async def test_where_all_fail_one_is_opened():
    server = Server(validate=[OSError(), OSError()])
    pool = pool_for(server)
    conns = await rested(pool, 2)
    assert await use(pool) not in conns
    assert failed(pool) == 2
    await settle()
    check_settled(pool)


@virtual
async def test_c1_a_connection_that_failed_keeps_its_slot_until_it_is_closed():
    server = Server(validate=[OSError()], close=[5])
    pool = pool_for(server, max_size=1)
    await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    assert pool.stats().closing == 1
    assert not caller.entered
    await asyncio.sleep(6)
    assert caller.entered
    assert server.most == 1
    await caller.leave()


@virtual
async def test_c7_one_that_is_closed_after_its_validation_is_dropped():
    server = Server(validate=[5])
    pool = pool_for(server)
    (conn,) = await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    conn.closed = True
    await asyncio.sleep(6)
    assert caller.conn is not conn
    assert pool.stats().closed["dead"] == 1
    await caller.leave()


@virtual
async def test_c10_a_validation_that_somebody_outside_cancels_has_failed_and_is_not_logged(caplog):
    pool = pool_for(Server(validate=[NEVER]))
    conns = await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    (validation,) = [task for task in tasks() if task.get_name().endswith(": validate")]
    validation.cancel()
    await settle()
    assert caller.entered
    assert caller.conn not in conns
    assert failed(pool) == 1
    assert not caplog.records
    await caller.leave()


# It takes time.


@virtual
async def test_c5_a_waiter_takes_what_is_given_back_in_the_meantime():
    server = Server(validate=[50])
    pool = pool_for(server)
    (holder,) = await hold(pool)
    await leave_all([other := (await hold(pool))[0]])
    await asyncio.sleep(11)
    (caller,) = await callers(pool, 1)
    await holder.leave()
    await settle()
    assert caller.conn is holder.conn
    await asyncio.sleep(51)
    assert pool.stats().idle == 1
    assert pool._ledger.idle[0].conn is other.conn
    await caller.leave()
    check_settled(pool)


@virtual
async def test_c5_a_caller_that_leaves_does_not_interrupt_it():
    server = Server(validate=[5])
    pool = pool_for(server)
    (conn,) = await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    caller.cancel()
    await settle()
    assert pool.stats().validating == 1
    (second,) = await callers(pool, 1)
    await asyncio.sleep(6)
    assert second.conn is conn
    assert len(server.validated) == 1
    assert len(server.connections) == 1
    await second.leave()


@virtual
async def test_a_caller_times_out_over_one_that_hangs_and_is_told_so():
    pool = pool_for(Server(validate=[NEVER]))
    await rested(pool, 1)
    with pytest.raises(PoolTimeoutError, match="stage: validating"):
        await use(pool, timeout=5)
    check(pool)
    await pool.close()
    assert not tasks() + timers()


@virtual
async def test_one_that_takes_longer_than_connect_timeout_has_failed_and_another_connection_is_found():
    server = Server(validate=[NEVER, NEVER])
    pool = pool_for(server, connect_timeout=5)
    conns = await rested(pool, 2)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(9.9)
    assert not caller.entered
    await asyncio.sleep(0.2)
    assert caller.entered
    assert caller.conn not in conns
    assert failed(pool) == 2
    await caller.leave()
    check_settled(pool)
    assert not tasks() + timers()


@virtual
async def test_c1_one_that_does_not_let_itself_be_cancelled_keeps_its_slot():
    async def stubborn():
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            await asyncio.sleep(7)

    server = Server(validate=[stubborn])
    pool = pool_for(server, max_size=1, connect_timeout=5)
    (conn,) = await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(11)
    check(pool)
    assert not caller.entered
    assert pool.stats().closing == 1
    await asyncio.sleep(2)
    assert conn.closed
    assert caller.entered
    assert server.most == 1
    await caller.leave()


@virtual
async def test_where_there_is_room_nobody_waits_until_that_one_gives_in():
    async def stubborn():
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            await asyncio.sleep(7)

    pool = pool_for(Server(validate=[stubborn]), connect_timeout=5)
    await rested(pool, 1)
    since = now()
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(5)
    await settle()
    assert caller.entered
    assert now() == since + 5
    await asyncio.sleep(8)
    await caller.leave()
    check_settled(pool)


@virtual
async def test_one_that_has_just_ended_when_its_time_is_up_is_used():
    gate = asyncio.Event()
    pool = pool_for(Server(validate=[gate.wait]), connect_timeout=5)
    (conn,) = await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    gate.set()
    stall(5)
    await settle()
    assert caller.conn is conn
    assert failed(pool) == 0
    await caller.leave()
    check_settled(pool)


@pytest.mark.parametrize("behaviour", [5, failing(5, OSError("gone"))], ids=["ends", "fails"])
@virtual
async def test_c10_one_that_ends_in_the_tick_of_its_timeout_is_settled_once(behaviour):
    pool = pool_for(Server(validate=[behaviour]), connect_timeout=5)
    await rested(pool, 1)
    await use(pool)
    await settle()
    assert pool.stats().idle == 1
    check_settled(pool)
    await pool.close()
    assert not tasks() + timers()


@pytest.mark.parametrize("timeout", [1, None])
@virtual
async def test_c12_close_does_not_trip_over_one_that_was_given_up(timeout):
    async def stubborn():
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            await asyncio.sleep(7)

    server = Server(validate=[stubborn])
    pool = pool_for(server, connect_timeout=5)
    await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(6)
    await caller.leave()
    await pool.close(timeout)
    await asyncio.sleep(20)
    assert not server.open
    assert not tasks() + timers()
    assert not pool._ledger.slots


@virtual
async def test_more_callers_than_idle_connections_have_others_opened():
    server = Server(validate=[5, 5], create=[None, None, 5, 5])
    pool = pool_for(server, max_size=5)
    conns = await rested(pool, 2)
    people = await callers(pool, 4)
    stats = pool.stats()
    assert (stats.validating, stats.opening, stats.idle) == (2, 2, 0)
    await asyncio.sleep(6)
    assert all(caller.entered for caller in people)
    assert {caller.conn for caller in people} >= set(conns)
    assert len(server.connections) == 4
    await leave_all(people)
    check_settled(pool)


@virtual
async def test_c3_callers_are_served_in_the_order_of_their_coming():
    server = Server(validate=[5, 4, failing(1, OSError()), 2], close=[1])
    pool = pool_for(server, max_size=4)
    await rested(pool, 4)
    people = []
    entered = []
    for number in range(8):
        (caller,) = await callers(pool, 1)
        caller.task.add_done_callback(lambda _, number=number: entered.append(number))
        people.append(caller)
        caller.leave()
    await asyncio.sleep(20)
    assert entered == sorted(entered)
    assert len(entered) == 8
    check_settled(pool)


@virtual
async def test_c3_an_idle_connection_that_is_due_waits_while_enough_is_under_way():
    server = Server(validate=[5])
    pool = pool_for(server)
    await rested(pool, 2)
    (first,) = await callers(pool, 1)
    assert pool.stats().idle == 1
    check(pool)
    (second,) = await callers(pool, 1)
    assert pool.stats().idle == 0
    assert second.entered != first.entered
    assert first.entered, "it takes whichever comes first"
    await asyncio.sleep(6)
    assert second.entered
    await leave_all([first, second])


@virtual
async def test_timeout_0_takes_nothing_that_has_to_be_validated():
    server = Server()
    pool = pool_for(server)
    await rested(pool, 2)
    with pytest.raises(PoolTimeoutError):
        await use(pool, timeout=0)
    assert not server.validated
    assert pool.stats().idle == 2
    check_settled(pool)


@virtual
async def test_validation_runs_in_a_task_of_the_pool():
    class Watching(Server):
        async def validate_connection(self, conn):
            ran.append(asyncio.current_task())

    ran = []
    pool = pool_for(Watching())
    await rested(pool, 1)
    await use(pool)
    assert ran[0] is not asyncio.current_task()
    assert ran[0].get_name() == f"{pool.name}: validate"


# What else happens to it.


@virtual
async def test_c12_close_cancels_it_and_closes_the_connection():
    server = Server(validate=[NEVER])
    pool = pool_for(server)
    await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    await pool.close()
    assert isinstance(caller.error, PoolClosedError)
    assert not server.open
    assert pool.stats().closed["pool_closed"] == 1
    assert not tasks() + timers()


@virtual
async def test_c12_one_that_ends_well_all_the_same_is_closed():
    async def stubborn():
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    server = Server(validate=[stubborn])
    pool = pool_for(server)
    await rested(pool, 1)
    await callers(pool, 1)
    await pool.close()
    assert not server.open
    check_settled(pool)


@virtual
async def test_one_that_is_evicted_in_the_meantime_is_closed_though_it_is_alive():
    server = Server(validate=[5])
    pool = pool_for(server)
    (conn,) = await rested(pool, 1)
    (caller,) = await callers(pool, 1)
    pool.evict()
    await asyncio.sleep(6)
    assert caller.conn is not conn
    assert pool.stats().closed["evicted"] == 1
    await caller.leave()


@virtual
async def test_c8_surplus_that_is_validated_for_nobody_goes():
    server = Server(validate=[5, 5])
    pool = pool_for(server, max_size=2)
    await rested(pool, 2)
    people = await callers(pool, 2)
    pool.resize(1)
    for caller in people:
        caller.cancel()
    await asyncio.sleep(6)
    assert pool.stats().idle == 1
    assert pool.stats().closed["surplus"] == 1
    check_settled(pool)


@pytest.mark.parametrize("options", [{}, {"connect_timeout": 5}], ids=["unlimited", "limited"])
@virtual
async def test_a_task_that_cannot_start_loses_the_connection_and_no_slot(options):
    """Such as at the end of an event loop, or where a task factory refuses."""

    def refuse(loop, coro, **options):
        raise Halt

    server = Server()
    pool = pool_for(server, **options)
    await rested(pool, 1)
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    loop.set_task_factory(refuse)
    with pytest.raises(Halt):
        step(pool.get_connection().__aenter__())
    loop.set_task_factory(factory)
    assert not timers(), "C13"
    assert pool.stats().size == 0
    assert failed(pool) == 1
    await use(pool)
    check_settled(pool)


@virtual
async def test_with_resets_both_are_done():
    server = FullFakeStrategy(reset=[1, 1], validate=[1])
    pool = pool_for(server, max_size=1)
    await use(pool)
    await asyncio.sleep(12)
    since = now()
    await use(pool)
    assert now() == since + 1
    await asyncio.sleep(2)
    check_settled(pool)
