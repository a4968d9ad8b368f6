"""C6: what a create raises reaches a caller, as it is, and strands nobody."""

from __future__ import annotations

import asyncio

import pytest

from asyncio_connection_pool import ConnectionPool, PoolTimeoutError
from asyncio_connection_pool.testing import NEVER, FakeStrategy
from oracle import check, check_settled
from scenarios import Caller, Halt, callers, hold, leave_all, outcome, settle, use, virtual, virtual_loop


def opens() -> list[asyncio.Task]:
    """The tasks of the pool that run a create."""
    return [task for task in asyncio.all_tasks() if task.get_name().endswith(": open")]


class UnluckyError(Exception):
    """Of the strategy's own making, with more than a message to it."""

    def __init__(self, code, *, hint):
        super().__init__(code)
        self.hint = hint


@pytest.mark.parametrize("error", [OSError("refused"), UnluckyError(7, hint="try again"), TimeoutError(), Halt("no")])
async def test_c6_the_exception_is_raised_as_it_is(error):
    pool = ConnectionPool(strategy=FakeStrategy(create=[error]), max_size=1)
    assert await outcome_of_use(pool) is error
    assert error.__cause__ is None
    check_settled(pool)
    assert pool.stats().create_failures == 1
    await use(pool)


async def outcome_of_use(pool):
    """Without a task around it, which would keep a `BaseException` to itself."""
    try:
        await use(pool)
    except BaseException as error:
        return error


async def test_c6_it_is_the_first_live_waiter_that_is_told():
    strategy = FakeStrategy(create=[None, OSError("refused")])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (holder,) = await hold(pool)
    people = await callers(pool, 4)
    people[0].cancel()
    holder.conn.closed = True
    holder.leave()
    await settle()
    assert people[0].task.cancelled()
    assert isinstance(people[1].error, OSError)
    assert people[2].entered
    await leave_all(people[2:])
    check_settled(pool)


async def test_c6_the_slot_is_free_in_the_same_step():
    async def caller():
        try:
            await use(pool)
        except OSError:
            return pool.stats().size

    pool = ConnectionPool(strategy=FakeStrategy(create=[OSError("refused")]), max_size=1)
    assert await caller() == 0


async def test_c6_another_create_starts_for_those_who_still_wait():
    strategy = FakeStrategy(create=[OSError("1"), OSError("2"), None, OSError("3")])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    people = await callers(pool, 5)
    await leave_all(people)
    assert [str(caller.error) for caller in people] == ["1", "2", "None", "None", "None"]
    check_settled(pool)


async def test_c6_every_caller_is_told_of_a_failure_of_its_own():
    errors = [OSError(str(number)) for number in range(20)]
    pool = ConnectionPool(strategy=FakeStrategy(create=errors), max_size=3)
    people = await callers(pool, 20)
    assert [caller.error for caller in people] == errors
    check_settled(pool)


async def test_c6_a_waiter_that_gets_a_returned_connection_leaves_the_failure_to_the_next():
    gate = asyncio.Event()

    async def fail():
        await gate.wait()
        raise OSError("refused")

    pool = ConnectionPool(strategy=FakeStrategy(create=[None, fail]), max_size=2)
    (holder,) = await hold(pool)
    first, second = await callers(pool, 2)
    await holder.leave()
    await settle()
    assert first.entered
    gate.set()
    await settle()
    assert isinstance(second.error, OSError)
    await first.leave()
    check_settled(pool)


@virtual
async def test_c6_with_no_waiter_left_it_goes_to_the_log(caplog):
    async def fail():
        await asyncio.sleep(5)
        raise OSError("refused")

    pool = ConnectionPool(strategy=FakeStrategy(create=[fail]), max_size=1, name="things")
    (caller,) = await callers(pool, 1)
    caller.cancel()
    await asyncio.sleep(6)
    assert "things" in caplog.text
    assert "refused" in caplog.text
    check_settled(pool)
    await use(pool)


async def test_c6_what_a_caller_is_told_is_not_logged(caplog):
    pool = ConnectionPool(strategy=FakeStrategy(create=[OSError("refused")]), max_size=1)
    assert isinstance(await outcome(use(pool)), OSError)
    assert not caplog.records


async def test_c6_a_failure_whose_caller_is_cancelled_in_that_tick_is_logged_and_strands_nobody(caplog):
    gate = asyncio.Event()

    async def fail():
        await gate.wait()
        raise OSError("refused")

    pool = ConnectionPool(strategy=FakeStrategy(create=[fail]), max_size=1)
    first, second = await callers(pool, 2)
    (task,) = opens()
    task.add_done_callback(lambda _: first.cancel())
    gate.set()
    await settle()
    assert first.task.cancelled()
    assert second.entered
    assert "refused" in caplog.text
    await second.leave()
    check_settled(pool)


async def test_c6_a_cancellederror_of_the_strategys_own_is_a_failure():
    error = asyncio.CancelledError("of the driver")
    strategy = FakeStrategy(create=[error])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    raised = await outcome_of_use(pool)
    assert isinstance(raised, asyncio.CancelledError)
    assert raised.args == ("of the driver",)
    assert pool.stats().create_failures == 1
    assert not strategy.connections
    check_settled(pool)


async def test_c6_a_cancelled_future_inside_a_strategy_is_a_failure_too():
    async def await_what_is_cancelled():
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    pool = ConnectionPool(strategy=FakeStrategy(create=[await_what_is_cancelled]), max_size=1)
    first, second = await callers(pool, 2)
    assert isinstance(first.error, asyncio.CancelledError)
    assert second.entered
    await second.leave()


async def test_c6_a_strategys_own_timeout_is_a_failure_and_no_cancellation():
    async def with_timeout():
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    pool = ConnectionPool(strategy=FakeStrategy(create=[with_timeout]), max_size=1)
    error = await outcome(use(pool))
    assert type(error) is TimeoutError
    check_settled(pool)


async def test_c6_a_pool_task_that_somebody_cancels_is_no_failure_another_create_starts():
    strategy = FakeStrategy(create=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=1)
    (caller,) = await callers(pool, 1)
    (task,) = opens()
    task.cancel()
    await settle()
    assert caller.entered
    assert pool.stats().create_failures == 0
    await caller.leave()
    check_settled(pool)


async def test_c6_a_pool_task_that_is_cancelled_before_its_first_step_is_no_failure_either():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1)
    entering = pool.get_connection().__aenter__()
    entering.send(None)  # parks, and starts the open
    for task in opens():
        task.cancel()
    (caller,) = await callers(pool, 1)
    await settle()
    check(pool)
    entering.close()
    await settle()
    assert caller.entered
    await caller.leave()
    check_settled(pool)


async def test_c6_cancelling_every_task_in_sight_once_strands_nobody():
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER, NEVER, NEVER]), max_size=3)
    people = await callers(pool, 3)
    for task in opens():
        task.cancel()
    await settle()
    assert all(caller.entered for caller in people)
    await leave_all(people)
    check_settled(pool)


@pytest.mark.parametrize("ticks", range(8))
async def test_c6_a_caller_cancelled_in_the_very_tick_costs_one_open_too_many_at_most(ticks):
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=5)
    first = Caller(pool)
    await settle(ticks)
    first.cancel()
    (second,) = await callers(pool, 1)
    check(pool)
    assert second.entered
    assert len(strategy.connections) <= 2
    await second.leave()
    check_settled(pool)


def test_c6_a_keyboardinterrupt_in_a_create_stops_the_loop_and_still_reaches_its_caller():
    pool = ConnectionPool(strategy=FakeStrategy(create=[KeyboardInterrupt()]), max_size=1)
    loop = virtual_loop()
    task = loop.create_task(outcome_of_use(pool))
    second = loop.create_task(use(pool))
    interrupts = 0
    while not (task.done() and second.done()):
        try:
            loop.run_until_complete(settle())
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts <= 1
    assert isinstance(task.result(), KeyboardInterrupt)
    assert second.result() is not None
    check_settled(pool)
    loop.run_until_complete(pool.close())
    loop.close()


@virtual
async def test_connect_timeout_reaches_the_first_live_waiter_as_an_error_of_the_stage_opening():
    strategy = FakeStrategy(create=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=1, connect_timeout=5)
    gone, first, second = await callers(pool, 3)
    gone.cancel()
    await asyncio.sleep(6)
    assert isinstance(first.error, PoolTimeoutError)
    assert first.error.stage == "opening"
    assert second.entered
    assert strategy.creating == 0
    assert pool.stats().create_failures == 1
    await second.leave()
    check_settled(pool)


@virtual
async def test_connect_timeout_with_no_waiter_left_is_logged(caplog):
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1, connect_timeout=5)
    (caller,) = await callers(pool, 1)
    caller.cancel()
    await asyncio.sleep(6)
    assert "PoolTimeoutError" in caplog.text
    check_settled(pool)


@virtual
async def test_what_an_open_yields_after_its_connect_timeout_is_closed():
    async def yield_late():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(3)

    strategy = FakeStrategy(create=[yield_late])
    pool = ConnectionPool(strategy=strategy, max_size=1, connect_timeout=5)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(6)
    assert isinstance(caller.error, PoolTimeoutError)
    await asyncio.sleep(3)
    assert len(strategy.connections) == 1
    assert not strategy.open
    assert pool.stats().closed["broken_off"] == 1
    check_settled(pool)


@virtual
async def test_a_connect_timeout_that_comes_in_the_tick_in_which_the_open_ends_changes_nothing():
    pool = ConnectionPool(strategy=FakeStrategy(create=[5]), max_size=1, connect_timeout=5)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(6)
    assert caller.entered or isinstance(caller.error, PoolTimeoutError)
    caller.leave()
    await settle()
    check_settled(pool)


@virtual
async def test_an_open_that_was_given_up_and_fails_then_is_silent(caplog):
    async def fail_late():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise OSError("while giving up") from None

    pool = ConnectionPool(strategy=FakeStrategy(create=[fail_late]), max_size=1, connect_timeout=5)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(6)
    assert isinstance(caller.error, PoolTimeoutError)
    assert not caplog.records
    check_settled(pool)
