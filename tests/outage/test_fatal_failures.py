"""`failure_is_fatal`: one failure of a server that is lost retires all that was opened before it."""

from __future__ import annotations

import asyncio
import gc

import pytest

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FullFakeStrategy
from oracle import check_settled
from outages import Failover
from scenarios import Halt, callers, hold, leave_all, outcome, settle, use, virtual
from sweeping import captured_log

LOST = ConnectionResetError("the server is lost")


def pool_for(strategy=None, **options):
    return ConnectionPool(strategy=strategy or Failover(), **({"max_size": 4} | options))


async def spare_and_held(pool):
    """A holder, with all other connections idle."""
    holders = await hold(pool, pool.max_size)
    await leave_all(holders[1:])
    return holders[0]


# What it does.


@virtual
async def test_a_failure_in_a_block_retires_what_is_idle_at_once():
    pool = pool_for()
    holder = await spare_and_held(pool)
    holder.leave(LOST)
    await settle()
    assert holder.error is LOST
    assert not pool.strategy.open
    assert pool.stats().closed["evicted"] == 4
    check_settled(pool)


@virtual
async def test_what_is_in_use_goes_when_it_is_given_back():
    pool = pool_for()
    first, second = await hold(pool, 2)
    first.leave(LOST)
    await settle()
    assert pool.stats().in_use == 1
    await leave_all([second])
    assert second.error is None
    assert not pool.strategy.open
    check_settled(pool)


@virtual
async def test_who_waits_gets_a_new_connection():
    pool = pool_for(max_size=1)
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    holder.leave(LOST)
    await settle()
    assert waiter.entered
    assert waiter.conn is not holder.conn
    await leave_all([waiter])
    check_settled(pool)


@pytest.mark.parametrize("reconnect", [False, True])
@virtual
async def test_a_create_that_fails_so_retires_what_is_open(reconnect):
    server = Failover()
    pool = pool_for(server, reconnect=reconnect)
    (holder,) = await hold(pool)
    server.up = False
    error = await outcome(use(pool, timeout=0.05))
    assert isinstance(error, TimeoutError if reconnect else ConnectionRefusedError)
    await leave_all([holder])
    assert not server.open
    assert pool.stats().closed["evicted"] == 1
    check_settled(pool)


class Full(FullFakeStrategy):
    def failure_is_fatal(self, exc):
        return exc is LOST


@virtual
async def test_what_is_being_reset_is_not_used_again():
    pool = pool_for(Full(reset=[5]))
    first, second = await hold(pool, 2)
    await leave_all([first])
    assert pool.stats().resetting == 1
    second.leave(LOST)
    await asyncio.sleep(10)
    assert pool.stats().closed["evicted"] == 2
    check_settled(pool)


@virtual
async def test_what_is_being_validated_is_not_handed_out():
    pool = pool_for(Full(validate=[5]), max_size=2, validate_after=10)
    first, second = await hold(pool, 2)
    await leave_all([first])
    await asyncio.sleep(20)
    (caller,) = await callers(pool, 1)
    assert pool.stats().validating == 1
    second.leave(LOST)
    await asyncio.sleep(10)
    assert caller.entered
    assert caller.conn not in (first.conn, second.conn)
    await leave_all([caller])
    await asyncio.sleep(1)
    assert pool.stats().closed["evicted"] == 2
    check_settled(pool)


@virtual
async def test_an_ordinary_failure_retires_nothing():
    pool = pool_for()
    holder = await spare_and_held(pool)
    holder.leave(ValueError())
    await settle()
    assert pool.stats().idle == 4
    check_settled(pool)


@virtual
async def test_it_is_asked_of_what_blocks_and_creates_raise_and_of_nothing_else():
    server = Failover()
    pool = pool_for(server)
    holders = await hold(pool, 3)
    errors = [ValueError(), TimeoutError(), None]
    for caller, error in zip(holders, errors, strict=True):
        caller.leave(error)
        await settle()
    assert server.asked == errors[:2]
    server.go_down()
    server.asked.clear()
    await outcome(use(pool))
    assert server.asked == server.refusals


# A failover drains in one step.


@virtual
async def test_failures_of_connections_of_before_spare_those_opened_since():
    pool = pool_for()
    holders = await hold(pool, 3)
    holders[0].leave(LOST)
    await settle()
    await use(pool)
    assert pool.stats().idle == 1
    for caller in holders[1:]:
        caller.leave(ConnectionResetError())
        await settle()
        assert pool.stats().idle == 1
    assert pool.stats().closed["evicted"] == 3
    check_settled(pool)


@virtual
async def test_a_create_that_began_before_and_fails_late_spares_those_opened_since():
    server = Failover(takes=5)
    pool = pool_for(server)
    (late,) = await callers(pool, 1)
    late.cancel()
    await settle()
    server.takes = 1
    people = await callers(pool, 2)
    await asyncio.sleep(1.5)
    await leave_all(people)
    assert pool.stats().idle == pool.stats().opening == 1
    server.up = False
    await asyncio.sleep(10)
    assert pool.stats().create_failures == 1
    assert pool.stats().idle == 1
    check_settled(pool)


@virtual
async def test_200_workers_redial_each_connection_once():
    server = Failover(takes=0.01)
    pool = pool_for(server, max_size=20, reconnect=True)
    lost = 0
    stopped = False

    async def work(n):
        nonlocal lost
        while not stopped:
            try:
                async with pool.get_connection() as conn:
                    await asyncio.sleep(0.01 * (1 + n % 7))
                    if conn.number in dead:
                        raise ConnectionResetError
            except ConnectionResetError:
                lost += 1

    dead = set()
    workers = [asyncio.create_task(work(n)) for n in range(200)]
    await asyncio.sleep(2)
    dead |= {conn.number for conn in server.connections}
    assert len(dead) == 20
    await asyncio.sleep(2)
    assert len(server.tries) == 40
    assert lost <= 20
    stopped = True
    await asyncio.gather(*workers)
    check_settled(pool)


# A predicate that does wrong.


class Wrong(Failover):
    def __init__(self, error, **options):
        super().__init__(**options)
        self.error = error

    def failure_is_fatal(self, exc):
        raise self.error


@virtual
async def test_one_that_raises_means_no_and_the_log_has_it():
    pool = pool_for(Wrong(LookupError("odd")))
    holder = await spare_and_held(pool)
    error = ValueError("the caller's own")
    with captured_log() as records:
        holder.leave(error)
        await settle()
    assert holder.error is error
    assert pool.stats().idle == 4
    assert [record.exc_info[0] for record in records] == [LookupError]
    check_settled(pool)


@pytest.mark.parametrize("wrong", [Halt("no"), asyncio.CancelledError()], ids=repr)
@virtual
async def test_c10_one_that_raises_what_is_no_exception_loses_no_slot(wrong):
    pool = pool_for(Wrong(wrong), max_size=1)
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    holder.leave(ValueError())
    await settle()
    assert isinstance(holder.error, (type(wrong), ValueError))
    assert waiter.entered
    await leave_all([waiter])
    check_settled(pool)


@pytest.mark.parametrize("reconnect", [False, True])
@virtual
async def test_c6_one_that_raises_what_is_no_exception_strands_nobody_when_a_create_fails(reconnect):
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    server = Wrong(Halt("no"), up=False)
    pool = pool_for(server, max_size=1, reconnect=reconnect)
    people = await callers(pool, 3)
    server.come_back()
    await asyncio.sleep(5)
    for caller in people:
        caller.leave()
    await asyncio.sleep(5)
    assert all(caller.task.done() for caller in people)
    check_settled(pool)


def test_one_that_has_to_be_awaited_is_refused_at_construction():
    class Awaited(Failover):
        async def failure_is_fatal(self, exc):
            return False

    with pytest.raises(TypeError, match="failure_is_fatal must be a plain function"):
        pool_for(Awaited())


@virtual
async def test_an_answer_that_has_to_be_awaited_means_no():
    class Sneaky(Failover):
        def failure_is_fatal(self, exc):
            return asyncio.sleep(0)

    pool = pool_for(Sneaky())
    holder = await spare_and_held(pool)
    with captured_log() as records:
        holder.leave(ValueError())
        await settle()
    assert pool.stats().idle == 4
    assert len(records) == 1
    gc.collect()
    check_settled(pool)


# The end.


@virtual
async def test_c12_a_fatal_failure_while_the_pool_closes_changes_nothing():
    pool = pool_for(max_size=2)
    first, second = await hold(pool, 2)
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(1)
    first.leave(LOST)
    second.leave(LOST)
    await closing
    assert pool.stats().closed["pool_closed"] == 2
    check_settled(pool)
