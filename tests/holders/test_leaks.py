"""`leak_threshold`: a connection that is held for too long is told of once, and once more when it comes back."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import weakref

import pytest

from ageing import tasks, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy
from counting import counting
from oracle import check_settled
from outages import Failover
from scenarios import Caller, callers, hold, leave_all, run_virtual, settle, use, virtual
from sweeping import captured_log


def pool_for(strategy=None, **options):
    return ConnectionPool(strategy=strategy or FakeStrategy(), **({"max_size": 2, "leak_threshold": 30} | options))


@pytest.fixture(autouse=True)
def told():
    """What the log was told."""
    with captured_log() as records:
        yield records


# What is told.


@virtual
async def test_one_that_is_held_for_too_long_is_told_of_once(told):
    pool = pool_for(name="orders")

    async def work():
        async with pool.get_connection():
            await asyncio.sleep(100)

    task = asyncio.create_task(work(), name="worker 7")
    await asyncio.sleep(29.9)
    assert not told
    await asyncio.sleep(0.2)
    assert len(told) == 1
    message = told[0].getMessage()
    line = inspect.getsourcelines(work)[1] + 1
    assert told[0].levelno == logging.WARNING
    assert message.startswith("pool 'orders': a connection may have leaked: worker 7 for 30 s")
    assert f"taken at {__file__}:{line} in work" in message
    await asyncio.sleep(60)
    assert len(told) == 1
    await task
    assert len(told) == 2
    assert told[1].getMessage().startswith("pool 'orders': back after all: worker 7 for 100 s")
    assert f"taken at {__file__}:{line} in work" in told[1].getMessage()
    check_settled(pool)


@virtual
async def test_the_stack_is_the_holders_as_it_stands_down_to_where_it_waits(told):
    pool = pool_for()

    async def work():
        async with pool.get_connection():
            await middle()

    async def middle():
        await asyncio.sleep(10)
        await innermost()

    async def innermost():
        await asyncio.sleep(100)

    task = asyncio.create_task(work())
    await asyncio.sleep(31)
    message = told[0].getMessage()
    for function, line in ((work, 2), (middle, 2), (innermost, 1)):
        assert f"line {inspect.getsourcelines(function)[1] + line}, in {function.__name__}" in message
    assert message.index("in work\n") < message.index("in middle\n") < message.index("in innermost\n")
    assert "await asyncio.sleep(100)" in message
    await task


@virtual
async def test_the_stack_goes_through_generators_and_what_is_no_coroutine(told):
    pool = pool_for()

    async def numbers():
        async with pool.get_connection():
            yield 1
            await asyncio.get_running_loop().create_future()

    async def consume():
        async for _ in numbers():
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(31)
    assert "in consume" in told[0].getMessage()
    task.cancel()
    await asyncio.wait([task])
    await settle()
    assert len(told) == 2
    check_settled(pool)


@virtual
async def test_of_a_holder_whose_task_has_ended_it_says_so(told):
    pool = pool_for()
    lease = pool.get_connection()
    await asyncio.create_task(lease.__aenter__(), name="forgetful")
    await asyncio.sleep(31)
    assert "forgetful" in told[0].getMessage()
    assert "its task has ended" in told[0].getMessage()
    await lease.__aexit__(None, None, None)
    assert len(told) == 2
    check_settled(pool)


@virtual
async def test_one_that_comes_back_in_time_is_not_told_of(told):
    pool = pool_for()
    for _ in range(20):
        async with pool.get_connection():
            await asyncio.sleep(29)
    assert not told
    check_settled(pool)


@virtual
async def test_one_by_one_each_at_its_own_time(told):
    pool = pool_for(max_size=5)
    people = []
    for _ in range(5):
        people += await hold(pool)
        await asyncio.sleep(3)
    await asyncio.sleep(1)
    counts = []
    for _ in range(8):
        counts.append(len(told))
        await asyncio.sleep(3)
    await asyncio.sleep(20)
    assert counts == [0, 0, 0, 0, 0, 1, 2, 3]
    assert len(told) == 5
    await leave_all(people)
    assert len(told) == 10
    check_settled(pool)


@virtual
async def test_the_same_connection_may_be_told_of_again_with_its_next_holder(told):
    pool = pool_for(max_size=1)
    for _ in range(2):
        async with pool.get_connection():
            await asyncio.sleep(40)
    assert len(told) == 4
    check_settled(pool)


@virtual
async def test_waiting_is_not_holding(told):
    pool = pool_for(max_size=1)
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    await asyncio.sleep(29)
    await leave_all([holder])
    await asyncio.sleep(29)
    assert not told
    await leave_all([waiter])


@virtual
async def test_a_threshold_of_0_tells_of_each(told):
    pool = pool_for(leak_threshold=0)
    async with pool.get_connection():
        await asyncio.sleep(1)
    assert len(told) == 2


@virtual
async def test_a_message_that_the_log_refuses_harms_nobody(told):
    """A handler of the user's own may raise."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    class Refusing(logging.Handler):
        def emit(self, record):
            raise LookupError

    pool = pool_for(max_size=1)
    handler = Refusing()
    logging.getLogger("asyncio_connection_pool").addHandler(handler)
    try:
        (holder,) = await hold(pool)
        await asyncio.sleep(31)
    finally:
        logging.getLogger("asyncio_connection_pool").removeHandler(handler)
    (waiter,) = await callers(pool, 1)
    await leave_all([holder])
    assert waiter.entered
    await leave_all([waiter])
    check_settled(pool)


# What it costs.


@virtual
async def test_c13_there_is_one_timer_however_many_hold_and_none_when_none_is_due():
    pool = pool_for(max_size=50)
    assert not timers()
    people = await hold(pool, 50)
    assert len(timers()) == 1
    await asyncio.sleep(10)
    assert len(timers()) == 1
    await asyncio.sleep(30)
    assert not timers(), "all are told of"
    await leave_all(people)
    await asyncio.sleep(60)
    assert not timers()
    assert not tasks()
    check_settled(pool)


@virtual
async def test_c13_close_ends_it(told):
    pool = pool_for()
    people = await hold(pool, 2)
    await pool.close(timeout=1)
    assert not timers()
    await asyncio.sleep(100)
    assert not told
    await leave_all(people)
    assert not timers()
    check_settled(pool)


@virtual
async def test_c13_nothing_that_happens_while_it_closes_arms_it_again(told):
    pool = pool_for(Failover(), max_size=3)
    people = await hold(pool, 3)
    closing = asyncio.create_task(pool.close(timeout=2))
    await asyncio.sleep(1)
    people[0].leave(ConnectionResetError())
    await settle()
    await leave_all([people[1]])
    await closing
    assert not timers()
    await asyncio.sleep(100)
    assert not told
    await leave_all(people[2:])
    check_settled(pool)


@virtual
async def test_c13_a_pool_that_nobody_references_can_be_collected_although_its_timer_is_armed(told):
    pool = pool_for()
    await use(pool)
    assert timers()
    reference = weakref.ref(pool)
    del pool
    gc.collect()
    assert reference() is None
    await asyncio.sleep(60)
    assert not timers()
    assert not told


@virtual
async def test_tasks_that_have_given_back_are_not_kept_alive():
    pool = pool_for()
    task = asyncio.create_task(use(pool))
    await task
    await settle(1)
    reference = weakref.ref(task)
    del task
    gc.collect()
    assert reference() is None
    check_settled(pool)


def test_c11_holders_of_a_closed_loop_are_forgotten(told):
    pool = pool_for()

    async def leave_one_held():
        lease = pool.get_connection()
        await lease.__aenter__()
        return lease

    async def wait():
        await use(pool)
        assert not pool._holders._holders
        await asyncio.sleep(100)
        await lease.__aexit__(None, None, None)
        await use(pool)

    lease = run_virtual(leave_one_held())
    run_virtual(wait())
    assert not told
    check_settled(pool)


@virtual
async def test_c14_an_acquisition_costs_the_same_however_many_are_told_of():
    asyncio.get_running_loop().set_debug(False)  # whose cost is not ours
    costs = []
    for leaked in (10, 3000):
        pool = pool_for(max_size=leaked + 1)
        people = [Caller(pool) for _ in range(leaked)]
        await asyncio.sleep(40)
        await use(pool)
        with counting() as calls:
            for _ in range(300):
                await use(pool)
        costs.append(calls.made)
        for caller in people:
            caller.leave()
        await settle()
    assert costs[1] <= 1.1 * costs[0]


@virtual
async def test_c14_telling_of_many_at_once_costs_each_the_same():
    asyncio.get_running_loop().set_debug(False)  # whose cost is not ours
    costs = []
    for leaked in (100, 3000):
        pool = pool_for(max_size=leaked)
        people = [Caller(pool) for _ in range(leaked)]
        await asyncio.sleep(29)
        with counting() as calls:
            await asyncio.sleep(2)
        costs.append(calls.made / leaked)
        for caller in people:
            caller.leave()
        await settle()
    assert costs[1] <= 1.1 * costs[0]


# Bad input.


@pytest.mark.parametrize("value", ["30", True, [30], 1j], ids=repr)
def test_a_threshold_of_the_wrong_type_is_refused_at_construction(value):
    with pytest.raises(TypeError, match="leak_threshold must be a number of seconds, not"):
        pool_for(leak_threshold=value)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_a_threshold_out_of_range_is_refused_at_construction(value):
    with pytest.raises(ValueError, match="leak_threshold must be finite and not negative"):
        pool_for(leak_threshold=value)
