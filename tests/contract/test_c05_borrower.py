"""C5: a borrower never owns I/O: whoever goes away leaves no half-open connection, and takes none along."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Caller, callers, hold, leave_all, settle, step, virtual

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Nosy(FakeStrategy):
    """Remembers on whose behalf each connection was opened, and in which task."""

    def __init__(self, **scripts):
        super().__init__(**scripts)
        self.opened_for: list[str] = []
        self.tasks: set[asyncio.Task] = set()

    async def create_connection(self):
        self.opened_for.append(who.get())
        self.tasks.add(asyncio.current_task())
        who.set("the strategy")
        return await super().create_connection()

    async def close_connection(self, conn):
        self.tasks.add(asyncio.current_task())
        await super().close_connection(conn)


class NosyReset(Nosy):
    async def reset_connection(self, conn):
        self.tasks.add(asyncio.current_task())


async def caller_named(name, pool, **options):
    """Start a caller with a context of its own, as a web framework does for each request."""
    context = contextvars.copy_context()
    context.run(who.set, name)
    caller = context.run(Caller, pool, **options)
    await settle()
    return caller


@virtual
async def test_c5_creating_resetting_and_closing_run_in_tasks_of_the_pool():
    strategy = NosyReset()
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=2)
    holders = await hold(pool, 2)
    await leave_all(holders)
    await settle()
    assert strategy.open
    assert len(strategy.connections) == 2
    assert not strategy.tasks & {asyncio.current_task(), *(caller.task for caller in holders)}
    await pool.close()


@virtual
@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_c5_what_was_being_opened_for_a_caller_that_left_goes_to_the_next(how):
    strategy = FakeStrategy(create=[10])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (first,) = await callers(pool, 1, timeout=5 if how == "timed out" else None)
    second = Caller(pool)
    await asyncio.sleep(6)
    if how == "cancelled":
        first.cancel()
    await asyncio.sleep(5)
    assert isinstance(first.error, asyncio.CancelledError if how == "cancelled" else TimeoutError)
    assert second.entered
    assert len(strategy.connections) == 1
    await second.leave()
    check_settled(pool)


@virtual
@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_c5_what_was_being_opened_becomes_idle_where_nobody_else_waits(how):
    strategy = FakeStrategy(create=[10])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (caller,) = await callers(pool, 1, timeout=5 if how == "timed out" else None)
    if how == "cancelled":
        caller.cancel()
    await asyncio.sleep(11)
    assert caller.task.done()
    assert strategy.open
    assert pool.stats().idle == 1
    check_settled(pool)


@virtual
async def test_c5_a_caller_that_times_out_does_not_cancel_the_open():
    strategy = FakeStrategy(create=[10])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (caller,) = await callers(pool, 1, timeout=1)
    await asyncio.sleep(2)
    assert isinstance(caller.error, TimeoutError)
    assert strategy.creating == 1
    check(pool)
    await asyncio.sleep(10)
    assert len(strategy.open) == 1


@virtual
async def test_c5_a_waiter_takes_a_returned_connection_that_comes_before_the_new_one():
    strategy = FakeStrategy(create=[None, 10])
    pool = ConnectionPool(strategy=strategy, max_size=2)
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    assert strategy.creating == 1
    await holder.leave()
    await settle()
    assert waiter.conn is holder.conn
    await asyncio.sleep(11)
    assert pool.stats().idle == 1
    await waiter.leave()
    check_settled(pool)


@virtual
async def test_c5_a_waiter_takes_the_new_connection_that_comes_before_a_returned_one():
    strategy = FakeStrategy(create=[None, 1])
    pool = ConnectionPool(strategy=strategy, max_size=2)
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    await asyncio.sleep(2)
    assert waiter.conn is not holder.conn
    await leave_all([waiter, holder])


@virtual
async def test_c8_a_new_connection_that_nobody_needs_any_more_is_closed_where_it_is_surplus():
    strategy = FakeStrategy(create=[None, 10])
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=2)
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    waiter.cancel()
    await asyncio.sleep(11)
    assert strategy.open == [holder.conn]
    await holder.leave()
    check_settled(pool)


async def test_c5_the_context_variables_of_a_caller_are_seen_by_the_create_on_its_behalf():
    strategy = Nosy()
    pool = ConnectionPool(strategy=strategy, max_size=3)
    people = [await caller_named(name, pool) for name in "ABC"]
    assert strategy.opened_for == ["A", "B", "C"]
    await leave_all(people)


async def test_c5_the_create_cannot_change_the_context_variables_of_its_caller():
    pool = ConnectionPool(strategy=Nosy(), max_size=1)
    who.set("me")
    async with pool.get_connection():
        assert who.get() == "me"


async def test_c5_an_open_that_starts_later_sees_the_variables_of_the_caller_it_is_for():
    """There is no room when they come; the holders' connections turn out to be dead when they go."""
    strategy = Nosy()
    pool = ConnectionPool(strategy=strategy, max_size=2)
    holders = [await caller_named(name, pool) for name in ("first", "second")]
    people = [await caller_named(name, pool) for name in "AB"]
    for holder in holders:
        holder.conn.closed = True
        await holder.leave()
        await settle()
    assert strategy.opened_for[2:] == ["A", "B"]
    await leave_all(people)


@pytest.mark.parametrize("leaving", ["", *"ABCDE", "AB", "AC", "BC", "BD", "CE", "DE", "ACE", "BDE", "CDE"])
@pytest.mark.parametrize("after", [0, 1, 2])
async def test_c5_those_who_left_the_queue_do_not_shift_whose_variables_are_seen(leaving, after):
    """Five wait while there is no room. Some leave, when so many opens have started; then the others are opened for."""
    strategy = Nosy(create=[None] * 5 + [NEVER] * 5)
    pool = ConnectionPool(strategy=strategy, max_size=5)
    holders = [await caller_named(f"holder {number}", pool) for number in range(5)]
    people = {name: await caller_named(name, pool) for name in "ABCDE"}
    for number, holder in enumerate(holders):
        if number == after:
            for name in leaving:
                people[name].cancel()
            await settle()
        holder.conn.closed = True
        await holder.leave()
        await settle()
        check(pool)
    opened_for = strategy.opened_for[5:]
    assert len(opened_for) == len(set(opened_for)), "two opens on behalf of one"
    assert not set(opened_for[after:]) & set(leaving), "an open on behalf of one who had left"
    assert len(opened_for) >= 5 - len(leaving)
    await pool.close(timeout=0)


@virtual
async def test_c5_a_retry_after_a_failure_sees_the_variables_of_a_caller_that_waits():
    strategy = Nosy(create=[None, 1, 5])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (holder,) = [await caller_named("holder", pool)]
    people = [await caller_named(name, pool) for name in "AB"]
    holder.conn.closed = True
    strategy._scripts["create"] = iter([OSError("refused"), 1])
    await holder.leave()
    await asyncio.sleep(2)
    assert isinstance(people[0].error, OSError)
    assert strategy.opened_for == ["holder", "A", "B"]
    await people[1].leave()


async def test_c5_a_second_create_on_behalf_of_a_caller_does_not_see_what_the_first_has_set():
    strategy = Nosy(create=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    caller = await caller_named("A", pool)
    for task in strategy.tasks:
        task.cancel()
    await settle()
    assert caller.entered
    assert strategy.opened_for == ["A", "A"]
    await caller.leave()


@virtual
async def test_c5_an_exit_never_waits_for_a_reset():
    pool = ConnectionPool(strategy=FullFakeStrategy(reset=[100]), max_size=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    step(lease.__aexit__(None, None, None))
    check(pool)
    assert pool.stats().resetting == 1
    await asyncio.sleep(101)
    check_settled(pool)


async def test_c5_a_caller_that_is_cancelled_after_its_block_began_leaves_the_reset_alone():
    strategy = FullFakeStrategy()
    strategy.connection_is_reusable = lambda conn, exc: True
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (holder,) = await hold(pool)
    holder.cancel()
    await settle()
    assert holder.task.cancelled()
    assert strategy.open == [holder.conn]
    check_settled(pool)
