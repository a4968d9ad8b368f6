"""`reconnect`: while connections can't be opened callers wait, each up to its own timeout."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import weakref

import pytest

from ageing import now, tasks, timers
from asyncio_connection_pool import (
    ConnectionPool,
    PoolClosedError,
    PoolOverloadedError,
    PoolTimeoutError,
    Reconnect,
)
from asyncio_connection_pool.testing import NEVER, FakeStrategy
from oracle import check, check_settled
from outages import Flaky
from scenarios import Caller, Halt, callers, hold, leave_all, outcome, run_virtual, settle, use, virtual

STEPS = Reconnect(first=1, longest=8)


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 1, "reconnect": STEPS} | options))


# Off.


@pytest.mark.parametrize("off", [{}, {"reconnect": False}, {"reconnect": None}], ids=repr)
@virtual
async def test_c6_without_it_each_failure_is_raised_to_a_caller_at_once(off):
    server = Flaky(up=False)
    pool = ConnectionPool(strategy=server, max_size=1, **off)
    people = await callers(pool, 3)
    assert [caller.error for caller in people] == server.refusals
    assert now() == 0
    assert not timers()
    check_settled(pool)


# Waiting.


@pytest.mark.parametrize("on", [True, Reconnect(), STEPS], ids=repr)
@virtual
async def test_callers_wait_until_the_server_is_back_and_are_served_in_order(on):
    server = Flaky(up=False)
    pool = pool_for(server, reconnect=on)
    people = await callers(pool, 5)
    await asyncio.sleep(50)
    check(pool)
    assert not any(caller.task.done() for caller in people)
    server.come_back()
    served = []
    while len(served) < len(people):
        while not any(each.entered and each not in served for each in people):
            await asyncio.sleep(1)
        served += [each for each in people if each.entered and each not in served]
        await leave_all([served[-1]])
    assert served == people, "C3"
    check_settled(pool)


@virtual
async def test_a_caller_waits_up_to_its_own_timeout_and_learns_the_last_create_error():
    server = Flaky(up=False)
    pool = pool_for(server, acquire_timeout=20)
    usual, hasty = Caller(pool), Caller(pool, timeout=2.5)
    await asyncio.sleep(2.4)
    assert not hasty.task.done()
    await asyncio.sleep(0.2)
    assert isinstance(hasty.error, PoolTimeoutError)
    assert hasty.error.__cause__ is server.refusals[-1] is server.refusals[1]
    assert repr(server.refusals[1]) in str(hasty.error)
    await asyncio.sleep(17.3)
    assert not usual.task.done()
    await asyncio.sleep(0.2)
    assert usual.error.__cause__ is server.refusals[-1]
    assert len(server.refusals) > 3
    assert pool.stats().timeouts == 2
    check_settled(pool)


@virtual
async def test_the_stage_of_a_timeout_in_an_outage_is_opening_also_between_two_tries():
    pool = pool_for(Flaky(up=False))
    error = await outcome(use(pool, timeout=0.5))
    assert error.stage == "opening"
    assert "look at the server" in str(error)


@virtual
async def test_a_timeout_after_the_outage_does_not_blame_it():
    server = Flaky(up=False)
    pool = pool_for(server)
    await outcome(use(pool, timeout=0.5))
    server.come_back()
    (holder,) = await hold(pool)
    error = await outcome(use(pool, timeout=1))
    assert error.__cause__ is None
    assert error.stage == "waiting"
    await leave_all([holder])


@virtual
async def test_c3_what_is_given_back_in_an_outage_goes_to_who_waits():
    server = Flaky()
    pool = pool_for(server, max_size=2)
    (holder,) = await hold(pool)
    server.up = False
    people = await callers(pool, 2)
    await asyncio.sleep(5)
    await leave_all([holder])
    assert people[0].entered
    assert not people[1].task.done()
    await leave_all(people[:1])
    assert people[1].entered
    await leave_all(people[1:])
    check_settled(pool)


@virtual
async def test_c5_a_try_sees_the_context_variables_of_a_caller_that_waits():
    where = contextvars.ContextVar("where", default="nowhere")
    seen = []

    async def connect():
        seen.append(where.get())
        raise OSError

    async def call(value):
        where.set(value)
        await use(pool, timeout=10)

    pool = pool_for(FakeStrategy(create=[connect] * 4))
    first, second = asyncio.create_task(call("first")), asyncio.create_task(call("second"))
    await asyncio.sleep(2)
    assert set(seen) == {"first", "second"}
    first.cancel()
    await asyncio.wait([first, second])
    assert seen[2:] == ["second", "second"]


@virtual
async def test_with_timeout_0_nobody_waits():
    pool = pool_for(Flaky(up=False))
    with pytest.raises(PoolTimeoutError):
        await use(pool, timeout=0)
    assert now() == 0


@virtual
async def test_max_waiting_bounds_the_queue_of_an_outage():
    pool = pool_for(Flaky(up=False), max_waiting=2)
    people = await callers(pool, 2)
    await asyncio.sleep(0.5)
    with pytest.raises(PoolOverloadedError):
        await use(pool)
    assert not any(caller.task.done() for caller in people)
    for caller in people:
        caller.cancel()
    await settle()
    check_settled(pool)


# Other ways to fail.


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError(), Halt("no"), TypeError("odd")], ids=repr)
@virtual
async def test_whatever_a_create_raises_is_waited_out(error):
    pool = pool_for(FakeStrategy(create=[error, error]))
    await use(pool)
    assert now() == 3
    assert pool.stats().create_failures == 2
    check_settled(pool)


@virtual
async def test_a_create_that_takes_longer_than_connect_timeout_has_failed():
    server = FakeStrategy(create=[NEVER, NEVER])
    pool = pool_for(server, connect_timeout=3)
    late = Caller(pool, timeout=4.5)
    caller = Caller(pool)
    await asyncio.sleep(4.6)
    assert isinstance(late.error.__cause__, PoolTimeoutError)
    assert late.error.__cause__.stage == "opening"
    await asyncio.sleep(20)
    assert caller.entered
    await leave_all([caller])
    assert pool.stats().create_failures == 2
    check_settled(pool)


@virtual
async def test_c6_a_create_that_an_outsider_cancels_is_no_failure():
    pool = pool_for(FakeStrategy(create=[NEVER]))
    (caller,) = await callers(pool, 1)
    (task,) = [task for task in tasks() if task.get_name().endswith(": open")]
    task.cancel()
    await settle()
    assert caller.entered
    assert now() == 0
    await leave_all([caller])
    check_settled(pool)


@virtual
async def test_c7_connections_that_are_closed_at_birth_are_an_outage_too():
    """As from a proxy that answers for a server that is gone."""

    class Proxied(Flaky):
        async def create_connection(self):
            conn = await super().create_connection()
            conn.closed = not self.behind
            return conn

    server = Proxied(takes=0.01)
    server.behind = False
    pool = pool_for(server, max_size=8)
    people = await callers(pool, 20)
    await asyncio.sleep(10)
    assert len(server.tries) < 8 + 10
    assert not any(caller.task.done() for caller in people)
    server.behind = True
    await asyncio.sleep(30)
    assert sum(caller.entered for caller in people) == 8
    await leave_all(people)
    check_settled(pool)


@virtual
async def test_the_log_has_one_line_for_each_step_and_not_for_each_failure(caplog):
    server = Flaky(up=False)
    pool = pool_for(server, max_size=50)
    people = await callers(pool, 50)
    await asyncio.sleep(6.5)
    assert len(server.tries) == 50 + 2
    told = [record for record in caplog.records if record.exc_info]
    assert [record.exc_info[1] for record in told] == [server.refusals[n] for n in (0, 50, 51)]
    assert all(record.levelno == logging.WARNING and pool.name in record.getMessage() for record in told)
    for caller in people:
        caller.cancel()


# The end.


@pytest.mark.parametrize("when", [0, 0.5, 1.5], ids=["first try", "pause", "second try"])
@virtual
async def test_c10_callers_cancelled_in_an_outage_leave_nothing_behind(when):
    pool = pool_for(Flaky(up=False, takes=1 if when != 0.5 else 0))
    people = await callers(pool, 3)
    await asyncio.sleep(when)
    for caller in people:
        caller.cancel()
    await settle()
    assert all(caller.task.cancelled() for caller in people)
    await asyncio.sleep(20)
    assert not tasks()
    assert not timers(), "C13"
    check_settled(pool)


@virtual
async def test_c10_of_two_callers_one_may_be_cancelled_and_the_other_is_served():
    server = Flaky(up=False)
    pool = pool_for(server)
    first, second = await callers(pool, 2)
    await asyncio.sleep(2)
    first.cancel()
    server.come_back()
    await asyncio.sleep(5)
    assert second.entered
    await leave_all([second])
    check_settled(pool)


@pytest.mark.parametrize("takes", [0, 10], ids=["pause", "try"])
@virtual
async def test_c12_close_in_an_outage_refuses_all_at_once(takes):
    pool = pool_for(Flaky(up=False, takes=takes))
    people = await callers(pool, 3)
    await asyncio.sleep(0.5)
    await pool.close()
    await settle()
    assert now() == 0.5
    assert all(isinstance(caller.error, PoolClosedError) for caller in people)
    assert not timers(), "C13"
    assert not tasks()
    check_settled(pool)


@virtual
async def test_c13_a_create_that_makes_an_error_of_its_cancellation_arms_no_timer_after_close():
    async def connect():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise OSError("broken off") from None

    pool = pool_for(FakeStrategy(create=[connect]))
    await callers(pool, 1)
    await pool.close()
    assert not timers()
    check_settled(pool)


@virtual
async def test_c13_a_pool_that_nobody_references_can_be_collected_in_an_outage():
    pool = pool_for(Flaky(up=False))
    (caller,) = await callers(pool, 1)
    caller.cancel()
    await settle()
    reference = weakref.ref(pool)
    assert timers()
    caller = pool = None
    gc.collect()
    assert reference() is None
    await asyncio.sleep(2)
    assert not timers()


def test_c11_a_new_event_loop_starts_without_the_outage_of_the_last():
    server = Flaky(up=False)
    pool = pool_for(server, max_size=4)

    async def be_down():
        await outcome(use(pool, timeout=0.5))

    async def be_up():
        await leave_all(await hold(pool, 4))
        assert server.crowds[-4:] == [1, 2, 3, 4]

    run_virtual(be_down())
    server.come_back()
    run_virtual(be_up())


# With min_size.


@virtual
async def test_open_raises_what_a_create_raises_and_the_pool_goes_on_trying():
    server = Flaky(up=False)
    pool = pool_for(server, max_size=4, min_size=3)
    with pytest.raises(ConnectionRefusedError) as raised:
        await pool.open()
    assert raised.value is server.refusals[0]
    assert now() == 0
    server.come_back()
    await asyncio.sleep(5)
    assert pool.stats().idle == 3
    await pool.close()
    check_settled(pool)


@virtual
async def test_a_caller_waits_while_open_is_told_of_the_failure():
    async def fail():
        await asyncio.sleep(1)
        raise OSError("down")

    pool = pool_for(FakeStrategy(create=[fail]), max_size=2, min_size=1)
    (caller,) = await callers(pool, 1)
    opening = asyncio.create_task(pool.open())
    assert isinstance(await outcome(opening), OSError)
    assert now() == 1
    assert not caller.task.done()
    await asyncio.sleep(2)
    assert caller.entered
    await leave_all([caller])
    await pool.close()
    check_settled(pool)


@virtual
async def test_min_size_is_restored_after_an_outage_though_nobody_waits():
    server = Flaky()
    async with pool_for(server, max_size=4, min_size=3) as pool:
        server.go_down()
        await outcome(use(pool, timeout=1))
        await asyncio.sleep(60)
        assert pool.stats().size == 0
        tries = len(server.tries)
        await asyncio.sleep(80)
        assert len(server.tries) == tries + 10
        server.come_back()
        await asyncio.sleep(10)
        assert pool.stats().idle == 3
        assert not timers()
    check_settled(pool)
