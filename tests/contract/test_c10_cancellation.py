"""C10: cancellation is harmless at every await.

The sweeps cancel everybody at every tick; here are the cases that a person would think of, each by its name.
"""

from __future__ import annotations

import asyncio

import pytest

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Caller, callers, hold, idle, leave_all, outcome, settle, step, use, virtual


async def test_c10_a_caller_that_is_cancelled_before_its_first_step_never_was():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    await idle(pool, 1)
    task = asyncio.create_task(use(pool))
    task.cancel()
    await settle()
    assert task.done()
    await use(pool)
    check_settled(pool)


async def test_c10_a_cancelled_waiter_leaves_the_queue_at_its_next_step():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    holder, *waiting = await callers(pool, 10)
    for caller in waiting:
        caller.cancel()
    await settle()
    assert pool.stats().waiting == 0
    await holder.leave()
    check_settled(pool)


async def test_c10_a_connection_handed_to_who_is_cancelled_in_that_tick_becomes_idle():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    lease = pool.get_connection()
    conn = await lease.__aenter__()
    (waiter,) = await callers(pool, 1)
    step(lease.__aexit__(None, None, None))
    waiter.cancel()
    await settle()
    assert waiter.task.cancelled()
    assert pool.stats().acquired == pool.stats().released == 1
    assert await use(pool) is conn
    check_settled(pool)


async def test_c10_a_hand_over_is_passed_on_along_a_row_of_cancelled_callers():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    lease = pool.get_connection()
    conn = await lease.__aenter__()
    people = await callers(pool, 6)
    step(lease.__aexit__(None, None, None))
    for caller in people[:-1]:
        caller.cancel()
        check(pool)
        await asyncio.sleep(0)
    await settle()
    assert people[-1].conn is conn
    await people[-1].leave()
    check_settled(pool)


async def test_c10_a_handed_over_connection_that_is_surplus_once_its_caller_left_is_closed():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=2)
    lease = pool.get_connection()
    conn = await lease.__aenter__()
    (other,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    step(lease.__aexit__(None, None, None))
    waiter.cancel()
    await settle()
    assert conn.closed
    await other.leave()
    check_settled(pool)


@pytest.mark.parametrize("caught", [True, False])
async def test_c10_a_cancellation_is_not_swallowed_while_waiting(caught):
    async def caller():
        try:
            await use(pool)
        except asyncio.CancelledError:
            if not caught:
                raise
            return "told"

    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1)
    task = asyncio.create_task(caller())
    await settle()
    task.cancel("why")
    assert task.cancelling() == 1
    await settle()
    assert (task.result() == "told") if caught else task.cancelled()
    await pool.close()


async def test_c10_a_waiter_whose_coroutine_is_closed_is_out_of_the_queue():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    (holder,) = await hold(pool)
    entering = pool.get_connection().__aenter__()
    entering.send(None)
    assert pool.stats().waiting == 1
    entering.close()
    assert pool.stats().waiting == 0
    await holder.leave()
    check_settled(pool)


@virtual
async def test_c10_a_timeout_around_the_acquisition_is_a_timeout_of_the_caller():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    (holder,) = await hold(pool)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await use(pool)
    assert pool.stats().timeouts == 0
    await holder.leave()
    check_settled(pool)


@virtual
async def test_c10_a_timeout_and_a_hand_over_in_one_tick_lose_nothing():
    pool = ConnectionPool(strategy=FakeStrategy(create=[5]), max_size=1)
    people = await callers(pool, 3, timeout=5)
    await asyncio.sleep(6)
    await leave_all(people)
    [caller.error for caller in people]
    check_settled(pool)
    await use(pool)


@virtual
async def test_c10_a_caller_that_times_out_and_is_cancelled_in_one_tick_is_one_or_the_other():
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1)
    (caller,) = await callers(pool, 1, timeout=5)
    asyncio.get_running_loop().call_later(5, caller.cancel)
    await asyncio.sleep(6)
    assert isinstance(caller.error, (asyncio.CancelledError, TimeoutError))
    await pool.close()
    check_settled(pool)


@pytest.mark.parametrize("ticks", range(10))
async def test_c10_a_task_group_that_fails_gives_everything_back(ticks):
    async def fail():
        await settle(ticks)
        raise ValueError

    pool = ConnectionPool(strategy=FullFakeStrategy(), max_size=2, burst_limit=4)
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(use(pool))
            group.create_task(fail())
    await settle()
    check_settled(pool)
    await pool.close()


@pytest.mark.parametrize("ticks", range(6))
@pytest.mark.parametrize("work", ["open", "close", "reset"])
async def test_c10_a_pool_task_that_is_cancelled_at_any_tick_is_accounted_for(work, ticks):
    strategy = FullFakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=2)
    people = await callers(pool, 0)
    for tick in range(12):
        people.append(Caller(pool))
        for caller in people[:-1]:
            caller.leave()
        if tick == ticks:
            for task in asyncio.all_tasks():
                if task.get_name().endswith(f": {work}"):
                    task.cancel()
        await asyncio.sleep(0)
        check(pool)
    await leave_all(people)
    assert all(caller.task.done() and caller.error is None for caller in people)
    check_settled(pool)
    await pool.close()


async def test_c10_pool_tasks_that_are_cancelled_in_their_first_tick_are_accounted_for():
    """Such a task runs none of its code, not even a `finally`; eager ones have begun already."""

    def cancel_pool_tasks():
        for task in asyncio.all_tasks():
            if task.get_name().startswith("things: "):
                task.cancel()

    pool = ConnectionPool(strategy=FullFakeStrategy(), max_size=1, burst_limit=3, name="things")
    leases = [pool.get_connection() for _ in range(3)]
    for lease in leases:
        await lease.__aenter__()
    pool.discard(leases[0]._slot.conn)
    for lease in leases[:1]:
        step(lease.__aexit__(None, None, None))
    cancel_pool_tasks()
    await settle()
    check(pool)
    leaving = asyncio.create_task(leases[1].__aexit__(None, None, None))
    await asyncio.sleep(0)
    cancel_pool_tasks()
    await settle()
    assert leaving.done()
    step(leases[2].__aexit__(None, None, None))
    assert pool.stats().resetting == 1
    cancel_pool_tasks()
    await settle()
    check_settled(pool)
    await pool.close()


A_TICK = 1e-10  # less than the resolution of the clock: two timers so far apart fire in one tick, in this order


@virtual
async def test_c10_a_caller_that_is_cancelled_in_the_tick_of_its_timeout_stays_cancelled():
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1)
    (caller,) = await callers(pool, 1, timeout=5)
    asyncio.get_running_loop().call_later(5 - A_TICK, caller.cancel)
    await asyncio.sleep(6)
    assert caller.task.cancelled()
    assert pool.stats().timeouts == pool.stats().waiting == 0
    await pool.close()
    check_settled(pool)


@virtual
async def test_c10_a_caller_that_is_served_in_the_tick_of_its_timeout_has_its_connection():
    pool = ConnectionPool(strategy=FakeStrategy(create=[5 - A_TICK]), max_size=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    (waiter,) = await callers(pool, 1, timeout=5)
    asyncio.get_running_loop().call_later(5 - A_TICK, lambda: step(lease.__aexit__(None, None, None)))
    await asyncio.sleep(6)
    assert waiter.entered
    assert pool.stats().timeouts == 0
    await waiter.leave()
    check_settled(pool)


@virtual
async def test_a_connect_timeout_in_the_tick_in_which_the_open_has_ended_comes_too_late():
    gate = asyncio.get_running_loop().create_future()
    pool = ConnectionPool(strategy=FakeStrategy(create=[lambda: gate]), max_size=1, connect_timeout=5)
    (caller,) = await callers(pool, 1)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name().endswith(": open"))
    loop = asyncio.get_running_loop()

    def end():
        """Be so late that the timer is due in the tick in which the task takes its last step."""
        gate.set_result(None)
        loop.advance(1)

    loop.call_later(4, end)
    await asyncio.sleep(7)
    assert task.done()
    assert caller.entered
    await caller.leave()
    check_settled(pool)


async def test_c10_a_slot_that_comes_free_while_all_who_wait_are_cancelled_is_not_opened_for_them():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1)
    lease = pool.get_connection()
    (await lease.__aenter__()).closed = True
    (waiter,) = await callers(pool, 1)
    waiter.cancel()
    step(lease.__aexit__(None, None, None))
    check(pool)
    await settle()
    assert len(strategy.connections) == 1
    assert waiter.task.cancelled()
    check_settled(pool)


async def test_c10_a_hand_over_that_is_aborted_and_whose_caller_is_cancelled_in_one_tick_is_over():
    pool = ConnectionPool(strategy=FullFakeStrategy(), max_size=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    (waiter,) = await callers(pool, 1)
    pool._plain = True  # a hand-over without the reset in between
    pool._supply._resets = False
    step(lease.__aexit__(None, None, None))
    pool._shut()
    pool._abort()
    waiter.cancel()
    await settle()
    assert waiter.task.cancelled()
    await pool.close()
    check_settled(pool)


async def test_c10_a_close_that_fails_in_the_tick_in_which_its_caller_is_cancelled_is_logged(caplog):
    gate = asyncio.Event()

    async def fail():
        await gate.wait()
        raise OSError("close")

    pool = ConnectionPool(strategy=FakeStrategy(close=[fail]), max_size=1, burst_limit=2)
    first, second = await hold(pool, 2)
    first.leave()
    await settle()
    (task,) = (task for task in asyncio.all_tasks() if task.get_name().endswith(": close"))
    task.add_done_callback(lambda _: first.cancel())
    gate.set()
    await settle()
    assert first.task.cancelled()
    assert "close_connection" in caplog.text
    await second.leave()
    check_settled(pool)


async def test_c10_no_connection_is_ever_handed_out_twice():
    async def worker(number):
        for turn in range(30):
            try:
                async with asyncio.timeout(None) as scope:
                    if (number + turn) % 3 == 0:
                        asyncio.get_running_loop().call_soon(scope.reschedule, 0)
                    async with pool.get_connection() as conn:
                        assert conn not in held
                        held.append(conn)
                        try:
                            await settle((number * 7 + turn) % 4)
                        finally:
                            held.remove(conn)
            except TimeoutError:
                pass

    held: list = []
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2, burst_limit=3)
    results = await asyncio.gather(*(outcome(worker(number)) for number in range(12)))
    assert results == [None] * 12
    await settle()
    check_settled(pool)
