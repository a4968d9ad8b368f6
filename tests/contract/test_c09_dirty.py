"""C9: no dirty connection is reused."""

from __future__ import annotations

import asyncio

import pytest

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Halt, callers, hold, leave_all, settle, step, use, virtual


class DriverTimeoutError(TimeoutError):
    pass


class Asked(FakeStrategy):
    """Overrides the question, and answers it from a script; yes where that has ended."""

    def __init__(self, *answers, **scripts):
        super().__init__(**scripts)
        self.answers = list(answers)
        self.asked: list[tuple] = []

    def connection_is_reusable(self, conn, exc):
        self.asked.append((conn, exc))
        answer = self.answers.pop(0) if self.answers else True
        if isinstance(answer, BaseException):
            raise answer
        return answer


REUSABLE = [None, ValueError(), OSError("reset by peer"), RuntimeError(), StopAsyncIteration(), AssertionError()]
DIRTY = [
    TimeoutError(),
    DriverTimeoutError(),
    ExceptionGroup("group", [ValueError()]),
    BaseExceptionGroup("group", [KeyboardInterrupt()]),
    asyncio.CancelledError(),
    KeyboardInterrupt(),
    SystemExit(),
    GeneratorExit(),
    Halt(),
]


async def entered(pool):
    lease = pool.get_connection()
    return lease, await lease.__aenter__()


async def leave(lease, error):
    """Leave a block with an error, with no task around it that would treat the error in its own way."""
    return await lease.__aexit__(type(error) if error else None, error, None)


@pytest.mark.parametrize("error", REUSABLE, ids=repr)
async def test_c9_after_an_ordinary_end_a_connection_is_reused_by_default(error):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    lease, conn = await entered(pool)
    assert not await leave(lease, error)
    assert await use(pool) is conn
    check_settled(pool)


@pytest.mark.parametrize("error", DIRTY, ids=repr)
async def test_c9_after_an_operation_was_broken_off_it_is_closed_by_default(error):
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1)
    lease, conn = await entered(pool)
    assert not await leave(lease, error)
    await settle()
    assert conn.closed
    assert pool.stats().closed["dirty"] == 1
    assert await use(pool) is not conn
    check_settled(pool)


@pytest.mark.parametrize("error", [*REUSABLE, *DIRTY], ids=repr)
def test_c9_the_default_can_be_asked_by_those_who_override_it(error):
    assert FakeStrategy().connection_is_reusable(object(), error) is (error in REUSABLE)
    assert ConnectionStrategy.connection_is_reusable(FakeStrategy(), object(), error) is (error in REUSABLE)


@pytest.mark.parametrize("error", [ValueError("mine"), TimeoutError("mine"), Halt("mine")], ids=repr)
async def test_c9_the_exit_swallows_nothing(error):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    with pytest.raises(type(error), match="mine") as caught:
        async with pool.get_connection():
            raise error
    assert caught.value is error
    await settle()
    check_settled(pool)


async def test_c9_a_cancelled_block_stays_cancelled():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (holder,) = await hold(pool)
    holder.cancel()
    await settle()
    assert holder.task.cancelled()
    assert not strategy.open


async def test_c9_an_override_is_asked_at_every_return():
    strategy = Asked()
    pool = ConnectionPool(strategy=strategy, max_size=1)
    error = ValueError()
    conn = await use(pool)
    lease, _ = await entered(pool)
    await leave(lease, error)
    assert strategy.asked == [(conn, None), (conn, error)]


async def test_c9_an_override_on_the_instance_of_a_duck_is_asked_as_well():
    strategy = FakeStrategy()
    strategy.connection_is_reusable = lambda conn, exc: False
    pool = ConnectionPool(strategy=strategy, max_size=1)
    await use(pool)
    await settle()
    assert not strategy.open


@pytest.mark.parametrize("answer", [1, "yes", [0]], ids=repr)
async def test_c9_whatever_is_true_is_a_yes(answer):
    strategy = Asked(answer)
    pool = ConnectionPool(strategy=strategy, max_size=1)
    conn = await use(pool)
    await settle()
    assert await use(pool) is conn
    check_settled(pool)


async def test_c9_an_override_that_says_yes_to_a_cancellation_is_believed():
    strategy = Asked(True)
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (holder,) = await hold(pool)
    holder.cancel()
    await settle()
    assert await use(pool) is holder.conn


@pytest.mark.parametrize("answer", [False, None, 0, ValueError(), OSError()], ids=repr)
@pytest.mark.parametrize("error", [None, ValueError("mine")], ids=repr)
async def test_c9_a_no_closes_the_connection_whether_the_block_raised_or_not(answer, error):
    strategy = Asked(answer)
    pool = ConnectionPool(strategy=strategy, max_size=1)
    lease, conn = await entered(pool)
    await leave(lease, error)
    await settle()
    assert conn.closed
    check_settled(pool)
    assert await use(pool) is not conn


async def test_c9_an_answer_without_a_truth_value_is_a_no():
    class Untold:
        def __bool__(self):
            raise ValueError

    pool = ConnectionPool(strategy=Asked(Untold()), max_size=1)
    lease, conn = await entered(pool)
    await leave(lease, None)
    await settle()
    assert conn.closed


async def test_c9_a_baseexception_from_the_question_is_a_no_and_propagates():
    strategy = Asked(Halt())
    pool = ConnectionPool(strategy=strategy, max_size=1)
    lease, conn = await entered(pool)
    with pytest.raises(Halt):
        await leave(lease, None)
    await settle()
    assert conn.closed
    check_settled(pool)
    await use(pool)


@virtual
async def test_c9_the_exit_does_not_wait_for_the_close_and_its_slot_is_taken_until_then():
    strategy = FakeStrategy(close=[10])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    lease, _ = await entered(pool)
    step(lease.__aexit__(TimeoutError, TimeoutError(), None))
    (late,) = await callers(pool, 1)
    check(pool)
    assert pool.stats().closing == 1
    assert not late.entered
    await asyncio.sleep(11)
    assert late.entered
    assert strategy.most == 1
    await late.leave()
    check_settled(pool)


async def test_c9_a_dirty_connection_is_not_given_to_who_waits():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1)
    holder, waiter = await callers(pool, 2)
    holder.leave(TimeoutError())
    await settle()
    assert isinstance(holder.error, TimeoutError)
    assert waiter.conn is not holder.conn
    assert strategy.open == [waiter.conn]
    await waiter.leave()
    check_settled(pool)


async def test_c9_what_that_close_raises_is_logged(caplog):
    pool = ConnectionPool(strategy=FakeStrategy(close=[OSError("close")]), max_size=1, name="things")
    lease, _ = await entered(pool)
    await leave(lease, TimeoutError())
    await settle()
    assert "things" in caplog.text
    check_settled(pool)


async def test_c9_a_dirty_connection_is_not_reset():
    strategy = FullFakeStrategy(reset=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    lease, conn = await entered(pool)
    await leave(lease, TimeoutError())
    await settle()
    assert conn.closed
    check_settled(pool)


@virtual
async def test_c9_a_reset_follows_where_the_answer_is_yes():
    strategy = FullFakeStrategy(reset=[5])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    lease, conn = await entered(pool)
    await leave(lease, ValueError())
    assert pool.stats().resetting == 1
    await asyncio.sleep(6)
    assert await use(pool) is conn
    await settle()
    check_settled(pool)


@pytest.mark.parametrize("error", [OSError("reset"), Halt(), asyncio.CancelledError(), TimeoutError()], ids=repr)
async def test_a_reset_that_raises_has_its_connection_closed(error, caplog):
    strategy = FullFakeStrategy(reset=[error])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    holder, waiter = await callers(pool, 2)
    await holder.leave()
    await settle()
    assert holder.conn.closed
    assert pool.stats().closed["reset_failed"] == 1
    assert "reset_connection" in caplog.text
    assert waiter.entered
    assert waiter.conn is not holder.conn
    await waiter.leave()
    await settle()
    check_settled(pool)


async def test_a_reset_that_somebody_outside_cancels_has_its_connection_closed():
    strategy = FullFakeStrategy(reset=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    conn = await use(pool)
    for task in asyncio.all_tasks():
        if task.get_name().endswith(": reset"):
            task.cancel()
    await settle()
    assert conn.closed
    check_settled(pool)


@virtual
async def test_c12_a_reset_that_fails_keeps_its_slot_until_its_connection_is_closed():
    strategy = FullFakeStrategy(reset=[OSError("reset")], close=[10])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    await use(pool)
    await asyncio.sleep(5)
    assert pool.stats().closing == 1
    await asyncio.sleep(6)
    check_settled(pool)


async def test_discard_closes_this_one_when_its_block_ends():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=2)
    first, second = await hold(pool, 2)
    pool.discard(first.conn)
    pool.discard(first.conn)  # again is fine
    await settle()
    assert not first.conn.closed
    await leave_all([first, second])
    assert strategy.open == [second.conn]
    assert pool.stats().closed["discarded"] == 1
    check_settled(pool)


async def test_discard_keeps_a_connection_from_who_waits():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    holder, waiter = await callers(pool, 2)
    pool.discard(holder.conn)
    await holder.leave()
    await settle()
    assert waiter.conn is not holder.conn
    await waiter.leave()
    check_settled(pool)


@virtual
async def test_the_exit_does_not_wait_for_the_close_of_what_was_discarded():
    pool = ConnectionPool(strategy=FakeStrategy(close=[100]), max_size=1)
    lease, conn = await entered(pool)
    pool.discard(conn)
    step(lease.__aexit__(None, None, None))
    assert pool.stats().closing == 1
    await pool.close()
