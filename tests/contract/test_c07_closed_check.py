"""C7: `connection_is_closed` is asked before a connection is handed out, whichever way it comes.

The three ways: from the idle stack, fresh from `create_connection`, straight from one caller to the next.
"""

from __future__ import annotations

import asyncio

import pytest

from asyncio_connection_pool import ConnectionPool, PoolError, PoolTimeoutError
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Caller, Halt, callers, hold, idle, leave_all, settle, step, use, virtual, virtual_loop


class Doubtful(FakeStrategy):
    """Says what it is told of the next connections that it is asked about, and the truth after."""

    def __init__(self, **scripts):
        super().__init__(**scripts)
        self.answers: list = []
        self.asked: list = []

    def connection_is_closed(self, conn):
        self.asked.append(conn)
        answer = self.answers.pop(0) if self.answers else conn.closed
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Untold:
    """Has no truth value."""

    def __bool__(self):
        raise ValueError("neither true nor false")

    def __repr__(self):
        return "Untold()"


CLOSED = [True, 1, "yes", [0], OSError("check"), ValueError(), Untold(), asyncio.InvalidStateError(), TimeoutError()]
OPEN = [False, None, 0, "", ()]
NOT_AN_EXCEPTION = [Halt(), asyncio.CancelledError(), GeneratorExit()]
closed_answers = pytest.mark.parametrize("answer", CLOSED, ids=repr)
open_answers = pytest.mark.parametrize("answer", OPEN, ids=repr)
halts = pytest.mark.parametrize("halt", NOT_AN_EXCEPTION, ids=repr)


async def pool_with_idle(count=1, **scripts):
    strategy = Doubtful(**scripts)
    pool = ConnectionPool(strategy=strategy, max_size=count)
    conns = await idle(pool, count)
    strategy.asked.clear()
    return pool, strategy, conns


async def pool_with_opening():
    """A caller waits for a connection that is being opened; set the event to let it come."""
    gate = asyncio.Event()
    strategy = Doubtful(create=[gate.wait])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    people = await callers(pool, 2)
    return pool, strategy, gate, people


async def pool_with_waiters():
    """One holds the connection, two wait for it."""
    strategy = Doubtful()
    pool = ConnectionPool(strategy=strategy, max_size=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    people = await callers(pool, 2)
    strategy.asked.clear()
    return pool, strategy, lease, people


async def caught(awaitable):
    try:
        return await awaitable
    except BaseException as error:
        return error


# From the idle stack.


async def test_c7_an_idle_connection_is_asked_about_once_before_it_is_handed_out():
    pool, strategy, (conn,) = await pool_with_idle()
    await use(pool)
    assert strategy.asked == [conn]


@open_answers
async def test_c7_what_is_not_true_means_open(answer):
    pool, strategy, (conn,) = await pool_with_idle()
    strategy.answers = [answer]
    assert await use(pool) is conn


@closed_answers
async def test_c7_a_closed_idle_connection_is_dropped_and_another_idle_one_is_found(answer):
    pool, strategy, (bottom, top) = await pool_with_idle(2)
    strategy.answers = [answer]
    assert await use(pool) is bottom
    assert strategy.asked == [top, bottom]
    assert pool.stats().closed["dead"] == 1
    assert pool.stats().acquired_at_once == 1
    await settle()
    assert strategy.open == [bottom]
    check_settled(pool)


@closed_answers
async def test_c7_where_no_idle_connection_is_open_one_is_opened(answer):
    pool, strategy, _ = await pool_with_idle(3)
    strategy.answers = [answer, answer, answer]
    conn = await use(pool)
    assert conn is strategy.connections[3]
    await settle()
    assert strategy.open == [conn]
    assert pool.stats().acquired_at_once == 0
    check_settled(pool)


async def test_c7_the_slot_of_a_dropped_connection_is_free_at_once():
    pool, strategy, _ = await pool_with_idle(2, close=[NEVER, NEVER])
    strategy.answers = [True, True]
    people = await callers(pool, 2)
    assert all(caller.entered for caller in people)
    check(pool)
    await leave_all(people)
    await pool.close(timeout=0)


@halts
async def test_c7_a_baseexception_about_an_idle_connection_propagates_and_frees_the_slot(halt):
    pool, strategy, (bottom, _) = await pool_with_idle(2)
    strategy.answers = [halt]
    assert await caught(use(pool)) is halt
    assert pool.stats().size == 1
    assert pool.stats().acquired == pool.stats().released
    await settle()
    assert strategy.open == [bottom]
    assert await use(pool) is bottom
    check_settled(pool)


@halts
async def test_c7_a_baseexception_about_the_second_idle_connection_propagates_as_well(halt):
    pool, strategy, (bottom, *_) = await pool_with_idle(3)
    strategy.answers = [True, halt]
    assert await caught(use(pool)) is halt
    await settle()
    assert strategy.open == [bottom]
    assert pool.stats().acquired == pool.stats().released
    check_settled(pool)


def test_c7_a_keyboardinterrupt_about_an_idle_connection_propagates_and_frees_the_slot():
    async def prepare():
        nonlocal pool, strategy
        pool, strategy, _ = await pool_with_idle()
        strategy.answers = [KeyboardInterrupt()]

    pool = strategy = None
    loop = virtual_loop()
    loop.run_until_complete(prepare())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(use(pool))
    assert pool.stats().size == 0
    loop.run_until_complete(use(pool))
    loop.run_until_complete(pool.close())
    check_settled(pool)
    loop.close()


# Fresh from create_connection.


async def test_c7_a_new_connection_is_asked_about_before_it_is_handed_out():
    strategy = Doubtful()
    conn = await use(ConnectionPool(strategy=strategy, max_size=1))
    assert strategy.asked == [conn]


@closed_answers
async def test_c7_a_new_connection_that_is_closed_is_dropped_and_another_is_opened(answer):
    pool, strategy, gate, (first, second) = await pool_with_opening()
    strategy.answers = [answer]
    gate.set()
    await settle()
    assert first.conn is strategy.connections[1]
    check(pool)
    await leave_all([first, second])
    assert len(strategy.open) == 1
    assert pool.stats().closed["dead"] == 1
    check_settled(pool)


@halts
async def test_c7_a_baseexception_about_a_new_connection_is_raised_to_the_waiter_it_was_meant_for(halt):
    pool, strategy, gate, (first, second) = await pool_with_opening()
    strategy.answers = [halt]
    gate.set()
    await settle()
    assert isinstance(first.error, type(halt))
    assert second.conn is strategy.connections[1]
    assert strategy.open == [second.conn]
    await second.leave()
    check_settled(pool)


def test_c7_a_keyboardinterrupt_about_a_new_connection_is_raised_to_the_waiter_it_was_meant_for():
    strategy = Doubtful()
    strategy.answers = [KeyboardInterrupt()]
    pool = ConnectionPool(strategy=strategy, max_size=1)
    loop = virtual_loop()
    task = loop.create_task(caught(use(pool)))
    loop.run_until_complete(settle())
    assert isinstance(task.result(), KeyboardInterrupt)
    assert not strategy.open
    loop.run_until_complete(use(pool))
    loop.run_until_complete(pool.close())
    check_settled(pool)
    loop.close()


async def test_c7_sixteen_stillbirths_end_in_an_error_that_says_so():
    strategy = Doubtful()
    strategy.answers = [True] * 16
    pool = ConnectionPool(strategy=strategy, max_size=1, name="things")
    first, second = await callers(pool, 2)
    assert type(first.error) is PoolError
    assert "16" in str(first.error)
    assert "things" in str(first.error)
    assert "connection_is_closed" in str(first.error)
    assert second.conn is strategy.connections[16]
    assert strategy.open == [second.conn]
    await second.leave()
    check_settled(pool)


async def test_c7_fifteen_stillbirths_do_not():
    strategy = Doubtful()
    strategy.answers = [ValueError()] * 15
    pool = ConnectionPool(strategy=strategy, max_size=1)
    assert await use(pool) is strategy.connections[15]


async def test_c7_only_stillbirths_in_a_row_count():
    strategy = Doubtful()
    strategy.answers = [True] * 15 + [False] + [True] * 15
    pool = ConnectionPool(strategy=strategy, max_size=1)
    first, second = await callers(pool, 2)
    first.conn.closed = True
    await first.leave()
    await settle()
    assert second.entered
    await second.leave()


async def test_c7_a_strategy_whose_connections_are_all_stillborn_fails_every_caller_and_never_hangs():
    strategy = Doubtful()
    strategy.answers = [True] * 16 * 5
    pool = ConnectionPool(strategy=strategy, max_size=3)
    people = await callers(pool, 5)
    await settle(200)
    assert [type(caller.error) for caller in people] == [PoolError] * 5
    assert not strategy.open
    check_settled(pool)
    await use(pool)


async def test_c7_a_new_connection_that_dies_on_the_stack_is_found_at_its_hand_out():
    gate = asyncio.Event()
    strategy = FakeStrategy(create=[gate.wait])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (gone,) = await callers(pool, 1)
    gone.cancel()
    gate.set()
    await settle()
    strategy.connections[0].closed = True
    assert await use(pool) is strategy.connections[1]


# Straight from one caller to the next.


async def test_c7_a_handed_over_connection_is_asked_about_before():
    _, strategy, lease, (first, second) = await pool_with_waiters()
    step(lease.__aexit__(None, None, None))
    assert strategy.asked == [strategy.connections[0]]
    await leave_all([first, second])


@closed_answers
async def test_c7_a_returned_connection_that_is_closed_is_dropped_and_the_waiter_gets_a_new_one(answer):
    pool, strategy, lease, (first, second) = await pool_with_waiters()
    strategy.answers = [answer]
    step(lease.__aexit__(None, None, None))
    check(pool)
    assert pool.stats().opening == 1
    await settle()
    assert first.conn is strategy.connections[1]
    assert strategy.open == [first.conn]
    await leave_all([first, second])
    check_settled(pool)


@halts
async def test_c7_a_baseexception_at_a_hand_over_propagates_from_the_exit_and_waiters_are_served(halt):
    pool, strategy, lease, (first, second) = await pool_with_waiters()
    strategy.answers = [halt]
    assert await caught(lease.__aexit__(None, None, None)) is halt
    check(pool)
    await settle()
    assert first.entered
    assert strategy.open == [first.conn]
    await leave_all([first, second])
    check_settled(pool)


@halts
@virtual
async def test_c7_a_baseexception_after_a_reset_is_raised_to_the_waiter_it_was_meant_for(halt):
    class Strategy(Doubtful, FullFakeStrategy):
        pass

    strategy = Strategy(reset=[5])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (holder,) = await hold(pool)
    await holder.leave()
    first, second = await callers(pool, 2)
    strategy.answers = [halt]
    await asyncio.sleep(6)
    assert isinstance(first.error, type(halt))
    assert second.entered
    assert strategy.open == [second.conn]
    await leave_all([second])
    await settle()
    check_settled(pool)


@closed_answers
@virtual
async def test_c7_a_connection_that_is_closed_after_its_reset_is_dropped(answer):
    class Strategy(Doubtful, FullFakeStrategy):
        pass

    strategy = Strategy(reset=[5])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (holder,) = await hold(pool)
    await holder.leave()
    first, second = await callers(pool, 2)
    strategy.answers = [answer]
    await asyncio.sleep(6)
    assert first.conn is strategy.connections[1]
    await leave_all([first, second])
    await settle()
    check_settled(pool)


@pytest.mark.parametrize("answer", [Halt(), "an awaitable"], ids=repr)
async def test_c10_a_caller_cancelled_at_its_hand_over_is_not_told_what_is_meant_for_the_next(answer):
    pool, strategy, lease, (first, second) = await pool_with_waiters()
    third = Caller(pool)
    await settle()
    step(lease.__aexit__(None, None, None))
    first.cancel()
    strategy.answers = [asyncio.get_running_loop().create_future() if answer == "an awaitable" else answer]
    await settle()
    assert first.task.cancelled()
    assert isinstance(second.error, TypeError if answer == "an awaitable" else Halt)
    assert third.entered
    await third.leave()
    check_settled(pool)


async def test_c7_a_connection_that_becomes_idle_needs_no_answer_yet():
    strategy = Doubtful()
    pool = ConnectionPool(strategy=strategy, max_size=1)
    await use(pool)
    assert len(strategy.asked) == 1


# What is dropped is still closed.


@closed_answers
async def test_c7_a_dropped_connection_is_given_to_close_connection_in_the_background(answer):
    pool, strategy, (conn,) = await pool_with_idle()
    strategy.answers = [answer]
    await use(pool)
    await settle()
    assert conn.closed
    check_settled(pool)


@virtual
async def test_c7_nobody_waits_for_the_close_of_a_dropped_connection():
    pool, strategy, _ = await pool_with_idle(1, close=[100])
    strategy.answers = [True]
    (caller,) = await callers(pool, 1)
    assert caller.entered
    assert asyncio.get_running_loop().time() < 1
    await caller.leave()
    await pool.close()


@pytest.mark.parametrize("error", [OSError("close"), Halt(), asyncio.CancelledError()], ids=repr)
async def test_c7_errors_of_that_close_are_suppressed(error, caplog):
    pool, strategy, _ = await pool_with_idle(1, close=[error])
    strategy.answers = [True]
    await use(pool)
    await settle()
    assert not caplog.records
    await pool.close()
    check_settled(pool)


@virtual
async def test_c7_close_timeout_bounds_that_close_too():
    class Strategy(Doubtful, FullFakeStrategy):
        reset_connection = FakeStrategy.reset_connection

    strategy = Strategy(close=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=1, close_timeout=5)
    (conn,) = await idle(pool, 1)
    strategy.answers = [True]
    await use(pool)
    await asyncio.sleep(6)
    assert strategy.aborted == [conn]
    await pool.close()
    check_settled(pool)


@virtual
async def test_c7_pool_close_waits_for_the_close_of_a_dropped_connection():
    pool, strategy, (conn,) = await pool_with_idle(1, close=[100])
    strategy.answers = [True]
    await use(pool)
    await pool.close()
    assert conn.closed


@virtual
async def test_c7_dying_connections_do_not_outlast_a_callers_timeout():
    strategy = Doubtful(create=[1] * 100)
    strategy.answers = [True] * 100
    pool = ConnectionPool(strategy=strategy, max_size=1)
    with pytest.raises(PoolTimeoutError):
        await use(pool, timeout=5.5)
    await pool.close()
