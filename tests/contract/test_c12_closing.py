"""C12: closing a pool."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from asyncio_connection_pool import ConnectionPool, PoolClosedError
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Caller, Halt, callers, hold, idle, leave_all, outcome, settle, step, use, virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def stubborn_open():
    """Swallows the cancellation, and yields a connection all the same."""
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        await asyncio.sleep(5)


# Waiters, and what is idle.


async def test_c12_every_waiter_fails_at_once():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, name="things")
    holder, *waiting = await callers(pool, 5)
    closing = asyncio.create_task(pool.close())
    await settle()
    assert not closing.done()
    assert [type(caller.error) for caller in waiting] == [PoolClosedError] * 4
    assert "things" in str(waiting[0].error)
    assert pool.stats().waiting == 0
    await holder.leave()
    await closing
    check_settled(pool)


async def test_c12_every_waiter_has_an_error_of_its_own():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    holder, *waiting = await callers(pool, 3)
    closing = asyncio.create_task(pool.close())
    await settle()
    assert waiting[0].error is not waiting[1].error
    await holder.leave()
    await closing


async def test_c12_a_waiter_that_is_cancelled_in_the_tick_of_the_close_stays_cancelled(caplog):
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1)
    (waiter,) = await callers(pool, 1)
    waiter.cancel()
    await pool.close()
    await settle()
    assert waiter.task.cancelled()
    (waiter,) = await callers(ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1), 1)
    closing = asyncio.create_task(waiter.pool.close())
    await asyncio.sleep(0)
    waiter.cancel()
    await closing
    await settle()
    assert isinstance(waiter.error, (asyncio.CancelledError, PoolClosedError))
    assert not caplog.records


@virtual
async def test_c12_the_idle_connections_are_closed_concurrently():
    strategy = FakeStrategy(close=[10] * 5)
    pool = ConnectionPool(strategy=strategy, max_size=5)
    await idle(pool, 5)
    began = now()
    await pool.close()
    assert now() - began == 10
    assert not strategy.open
    assert pool.stats().closed["pool_closed"] == 5
    check_settled(pool)


async def test_c12_what_a_close_raises_is_logged_and_the_others_are_closed(caplog):
    strategy = FakeStrategy(close=[OSError("1"), Halt("2"), asyncio.CancelledError("3")])
    pool = ConnectionPool(strategy=strategy, max_size=5)
    await idle(pool, 5)
    await pool.close()
    assert len(caplog.records) == 3
    assert pool.stats().size == 0
    check_settled(pool)


async def test_c12_a_pool_that_was_never_used_closes_without_a_step():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    step(pool.close())
    assert pool.closed
    check_settled(pool)


async def test_closed_says_whether_close_was_called():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    assert pool.closed is False
    await use(pool)
    closing = pool.close()
    assert pool.closed is False
    await closing
    assert pool.closed is True
    assert "closed" in repr(pool)


# What is in use.


@virtual
async def test_c12_close_waits_for_those_in_use():
    strategy = FakeStrategy(close=[5])
    pool = ConnectionPool(strategy=strategy, max_size=2)
    holders = await hold(pool, 2)
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(100)
    assert not closing.done()
    assert len(strategy.open) == 2
    await leave_all(holders)
    assert not closing.done()
    await asyncio.sleep(6)
    assert closing.done()
    assert not strategy.open
    check_settled(pool)


async def test_c12_a_connection_returned_later_is_closed_and_the_exit_does_not_wait():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    lease = pool.get_connection()
    conn = await lease.__aenter__()
    closing = asyncio.create_task(pool.close())
    await settle()
    step(lease.__aexit__(None, None, None))
    await closing
    assert conn.closed
    assert pool.stats().closed["pool_closed"] == 1
    check_settled(pool)


async def test_c12_a_connection_returned_later_is_not_reset():
    pool = ConnectionPool(strategy=FullFakeStrategy(reset=[NEVER]), max_size=2)
    (holder,) = await hold(pool)
    closing = asyncio.create_task(pool.close())
    await settle()
    await holder.leave()
    await closing
    assert holder.conn.closed


@virtual
async def test_c12_after_its_timeout_close_aborts_what_is_in_use():
    strategy = FullFakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=3)
    holders = await hold(pool, 2)
    began = now()
    await pool.close(timeout=7)
    assert now() - began == 7
    assert strategy.aborted == [caller.conn for caller in holders]
    assert pool.stats().size == 0
    await leave_all(holders)
    assert [caller.error for caller in holders] == [None, None]
    assert pool.stats().closed["pool_closed"] == 2
    check_settled(pool)


@virtual
async def test_c12_what_cannot_be_aborted_is_closed_when_its_holder_returns_it():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=3)
    holders = await hold(pool, 2)
    await pool.close(7)
    assert len(strategy.open) == 2
    await leave_all(holders)
    assert not strategy.open
    check_settled(pool)


@virtual
async def test_c12_after_its_timeout_close_aborts_what_is_still_being_closed():
    strategy = FullFakeStrategy(close=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=3)
    (conn,) = await idle(pool, 1)
    await settle()
    await pool.close(timeout=7)
    assert strategy.aborted == [conn]
    check_settled(pool)


@virtual
async def test_c12_a_timeout_of_zero_waits_for_nobody():
    strategy = FullFakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=3)
    (holder,) = await hold(pool)
    began = now()
    await pool.close(timeout=0)
    assert now() == began
    assert strategy.aborted == [holder.conn]
    await holder.leave()
    check_settled(pool)


@virtual
async def test_c12_an_abort_that_raises_is_logged_and_the_others_are_aborted(caplog):
    class Strategy(FakeStrategy):
        def abort_connection(self, conn):
            aborted.append(conn)
            raise OSError("abort")

    aborted: list = []
    pool = ConnectionPool(strategy=Strategy(), max_size=3)
    holders = await hold(pool, 2)
    await pool.close(timeout=1)
    assert len(aborted) == 2
    assert "abort_connection" in caplog.text
    await leave_all(holders)
    check_settled(pool)


@virtual
async def test_c12_a_caller_whose_connection_is_aborted_in_the_tick_of_its_hand_over_is_told():
    class Strategy(FakeStrategy):
        def abort_connection(self, conn):
            conn.closed = True

    pool = ConnectionPool(strategy=Strategy(), max_size=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    (waiter,) = await callers(pool, 1)
    step(lease.__aexit__(None, None, None))  # it is the waiter's now
    pool._shut()
    pool._abort()
    await settle()
    assert isinstance(waiter.error, PoolClosedError)
    await pool.close()
    check_settled(pool)


# What is in flight.


@virtual
async def test_c12_an_open_in_flight_is_cancelled():
    strategy = FakeStrategy(create=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (waiter,) = await callers(pool, 1)
    await pool.close()
    assert strategy.creating == 0
    assert isinstance(waiter.error, PoolClosedError)
    check_settled(pool)


@virtual
async def test_c12_what_an_open_yields_all_the_same_is_closed():
    strategy = FakeStrategy(create=[stubborn_open])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    await callers(pool, 1)
    await pool.close()
    assert len(strategy.connections) == 1
    assert not strategy.open
    check_settled(pool)


@virtual
async def test_c12_an_open_that_was_given_up_before_is_waited_for_and_closed():
    strategy = FakeStrategy(create=[stubborn_open])
    pool = ConnectionPool(strategy=strategy, max_size=1, connect_timeout=1)
    await callers(pool, 1)
    await asyncio.sleep(2)
    await pool.close()
    assert not strategy.open
    check_settled(pool)


@virtual
async def test_c12_what_an_open_raises_when_it_is_cancelled_is_logged(caplog):
    async def fail():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise OSError("while closing") from None

    pool = ConnectionPool(strategy=FakeStrategy(create=[fail]), max_size=1)
    await callers(pool, 1)
    await pool.close()
    assert "while closing" in caplog.text
    check_settled(pool)


@virtual
async def test_c12_an_open_that_ends_in_the_tick_of_the_close_is_closed():
    for ticks in range(8):
        gate = asyncio.Event()
        strategy = FakeStrategy(create=[gate.wait])
        pool = ConnectionPool(strategy=strategy, max_size=1)
        (waiter,) = await callers(pool, 1)
        gate.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        closing = asyncio.create_task(pool.close())
        waiter.leave()
        await settle()
        assert closing.done()
        assert isinstance(waiter.error, PoolClosedError | None)
        assert not strategy.open
        check_settled(pool)


@virtual
async def test_c12_a_reset_in_flight_is_cancelled_and_its_connection_is_closed(caplog):
    strategy = FullFakeStrategy(reset=[NEVER], close=[5])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    conn = await use(pool)
    assert pool.stats().resetting == 1
    await pool.close()
    assert conn.closed
    assert not caplog.records
    check_settled(pool)


@virtual
async def test_c12_a_reset_that_ends_well_all_the_same_does_not_save_its_connection():
    strategy = FullFakeStrategy(reset=[stubborn_open])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    conn = await use(pool)
    await settle()
    await pool.close()
    assert conn.closed
    check_settled(pool)


@virtual
async def test_c12_a_reset_that_does_not_heed_its_cancellation_does_not_outwait_the_timeout():
    strategy = FullFakeStrategy(reset=[stubborn_open])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    conn = await use(pool)
    await settle()
    began = now()
    await pool.close(timeout=2)
    assert now() - began == 2
    await asyncio.sleep(10)
    assert conn.closed
    check_settled(pool)


@virtual
async def test_c12_a_delayed_shrink_does_not_outlive_close():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=3, shrink_delay=100)
    await idle(pool, 3)
    await pool.close()
    assert now() < 10
    assert not strategy.open
    check_settled(pool)


@pytest.mark.parametrize("strategy", [FakeStrategy, FullFakeStrategy])
@virtual
async def test_c12_close_ends_when_close_timeout_has_given_up_the_last_close(strategy):
    pool = ConnectionPool(strategy=strategy(close=[NEVER]), max_size=1, close_timeout=5)
    await use(pool)
    await settle()
    began = now()
    await pool.close()
    assert now() - began == 5
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    check_settled(pool)


@pytest.mark.parametrize("timeout", [None, 5])
@virtual
async def test_c13_a_close_that_was_given_up_before_ends_with_the_pool(timeout):
    strategy = FakeStrategy(close=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=1, close_timeout=5)
    (holder,) = await hold(pool)
    pool.discard(holder.conn)
    await holder.leave()
    await asyncio.sleep(6)
    assert pool.stats().size == 0
    assert len(asyncio.all_tasks()) == 2  # there is no abort, so it is left to run
    began = now()
    await pool.close(timeout)
    assert now() == began
    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    check_settled(pool)


@virtual
async def test_c13_a_close_that_was_given_up_may_still_end_well_while_the_pool_is_open():
    strategy = FakeStrategy(close=[10])
    pool = ConnectionPool(strategy=strategy, max_size=1, close_timeout=5)
    (holder,) = await hold(pool)
    pool.discard(holder.conn)
    await holder.leave()
    await asyncio.sleep(11)
    assert not strategy.open
    await pool.close()
    check_settled(pool)


# Cancelling, calling again, calling later.


@virtual
async def test_c12_cancelling_close_strands_nothing_and_calling_it_again_waits_again():
    strategy = FakeStrategy(close=[10])
    pool = ConnectionPool(strategy=strategy, max_size=2)
    (holder,) = await hold(pool)
    closing = asyncio.create_task(pool.close())
    await asyncio.sleep(1)
    closing.cancel()
    await settle()
    assert closing.cancelled()
    assert pool.closed
    again = asyncio.create_task(pool.close())
    await asyncio.sleep(100)
    assert not again.done()
    holder.leave()
    await asyncio.sleep(1)
    assert not again.done()
    await asyncio.sleep(10)
    assert again.done()
    assert not strategy.open
    check_settled(pool)


@pytest.mark.parametrize("ticks", range(8))
@virtual
async def test_c12_close_can_be_cancelled_at_any_tick(ticks):
    strategy = FullFakeStrategy(create=[None, None, NEVER], reset=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=4)
    one, two = await hold(pool, 2)
    await one.leave()
    (waiter,) = await callers(pool, 1)
    closing = asyncio.create_task(pool.close())
    for _ in range(ticks):
        await asyncio.sleep(0)
    closing.cancel()
    await settle()
    check(pool)
    two.leave()
    await pool.close()
    assert isinstance(waiter.error, PoolClosedError)
    assert not strategy.open
    check_settled(pool)


@virtual
async def test_c12_two_may_close_at_the_same_time_each_with_a_timeout_of_its_own():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    (holder,) = await hold(pool)
    closings = [asyncio.create_task(pool.close(timeout=timeout)) for timeout in (5, 50, None)]
    await asyncio.sleep(6)
    assert [task.done() for task in closings] == [True, False, False]
    await holder.leave()
    await asyncio.gather(*closings)
    check_settled(pool)


async def test_c12_closing_again_does_nothing_more():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    await use(pool)
    await pool.close()
    await pool.close()
    await pool.close(timeout=0)
    check_settled(pool)


@pytest.mark.parametrize("options", [{}, {"timeout": 0}, {"timeout": 5}, {"timeout": None}])
async def test_c12_later_acquisitions_fail(options):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2, name="things")
    await use(pool)
    await pool.close()
    with pytest.raises(PoolClosedError, match="'things' is closed"):
        step(pool.get_connection(**options).__aenter__())
    check_settled(pool)


async def test_c12_acquisitions_fail_as_soon_as_close_has_begun():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    (holder,) = await hold(pool)
    closing = asyncio.create_task(pool.close())
    await settle()
    assert isinstance(await outcome(use(pool)), PoolClosedError)
    await holder.leave()
    await closing


async def test_c12_a_closed_pool_cannot_be_opened():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    await pool.close()
    with pytest.raises(PoolClosedError):
        await pool.open()
    with pytest.raises(PoolClosedError):
        async with pool:
            pass


async def test_async_with_opens_and_closes():
    strategy = FakeStrategy()
    async with ConnectionPool(strategy=strategy, max_size=2) as pool:
        assert isinstance(pool, ConnectionPool)
        assert not pool.closed
        await use(pool)
    assert pool.closed
    assert not strategy.open


async def test_async_with_closes_after_an_error_too_and_swallows_nothing():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    with pytest.raises(ValueError, match="mine"):
        async with pool:
            raise ValueError("mine")
    assert pool.closed


async def test_open_may_be_called_again_and_opens_nothing_by_itself():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=2)
    await pool.open()
    await pool.open()
    assert not strategy.connections
    await pool.close()


async def test_limits_of_a_closed_pool_can_be_set_and_nothing_comes_of_it():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=2)
    await use(pool)
    await pool.close()
    pool.max_size = 5
    await settle()
    check_settled(pool)


# Pools that are dropped.


def warnings_of_dropping(pools):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pools.clear()
        gc.collect()
    return [warning for warning in caught if issubclass(warning.category, ResourceWarning)]


@pytest.mark.parametrize("used", [False, True])
async def test_c12_a_pool_that_was_opened_and_is_dropped_unclosed_warns(used):
    pools = [ConnectionPool(strategy=FakeStrategy(), max_size=2, name="things")]
    await pools[0].open()
    if used:
        await use(pools[0])
        await settle()
    (warning,) = warnings_of_dropping(pools)
    assert "things" in str(warning.message)
    assert "close()" in str(warning.message)


@pytest.mark.parametrize("used", [False, True])
async def test_c12_a_pool_that_never_was_opened_does_not_warn(used):
    pools = [ConnectionPool(strategy=FakeStrategy(), max_size=2)]
    if used:
        await use(pools[0])
        await settle()
    assert not warnings_of_dropping(pools)


async def test_c12_a_pool_that_was_closed_does_not_warn():
    pools = [ConnectionPool(strategy=FakeStrategy(), max_size=2)]
    async with pools[0]:
        pass
    await settle()
    assert not warnings_of_dropping(pools)


def test_c12_a_pool_that_could_not_be_built_does_not_warn():
    with pytest.raises(ValueError, match="max_size"):
        ConnectionPool(strategy=FakeStrategy(), max_size=-1)
    assert not warnings_of_dropping([])


async def test_c12_a_caller_may_come_back_to_a_pool_that_others_close():
    """The holder is in its block while the pool closes, and asks for one more."""
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    (holder,) = await hold(pool)
    closing = asyncio.create_task(pool.close())
    await settle()
    late = Caller(pool)
    await settle()
    assert isinstance(late.error, PoolClosedError)
    await holder.leave()
    await closing
