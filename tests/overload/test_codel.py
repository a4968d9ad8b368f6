"""`queue_policy=CoDel(…)`: who has waited too long is refused while the queue is overloaded, and nobody else."""

from __future__ import annotations

import asyncio

import pytest

from asyncio_connection_pool import CoDel, ConnectionPool, PoolClosedError, PoolOverloadedError, PoolTimeoutError
from asyncio_connection_pool.testing import FakeStrategy
from oracle import check, check_settled
from scenarios import Caller, callers, hold, leave_all, outcome, run_virtual, settle, use, virtual

POLICY = CoDel(target=1, interval=10)


def pool_for(**options):
    return ConnectionPool(**({"strategy": FakeStrategy(), "max_size": 1, "queue_policy": POLICY} | options))


async def wait_for_it(pool, seconds):
    """Have somebody wait so many seconds for the only connection, and return what comes of it."""
    (holder,) = await hold(pool)
    caller = Caller(pool)
    await asyncio.sleep(seconds)
    await leave_all([holder])
    caller.leave()
    return await outcome(caller.task)


async def long_waits(pool, count, seconds=2.5):
    """Hand the only connection over so often, each time to one who has waited so long; it is never idle."""
    (holder,) = await hold(pool)
    results = []
    for _ in range(count):
        caller = Caller(pool)
        await asyncio.sleep(seconds)
        holder.leave()
        await settle()
        results.append(caller.error)
        if caller.error is not None:
            (caller,) = await hold(pool)
        holder = caller
    return holder, results


# When it refuses.


@virtual
async def test_nobody_is_refused_before_each_wait_was_too_long_for_an_interval():
    pool = pool_for()
    holder, results = await long_waits(pool, 5)
    assert results[:4] == [None] * 4
    assert isinstance(results[4], PoolOverloadedError)
    assert pool.stats().rejections == 1
    await leave_all([holder])
    check_settled(pool)


@virtual
async def test_one_short_wait_within_the_interval_and_it_begins_anew():
    pool = pool_for()
    holder, results = await long_waits(pool, 4)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(0.5)
    await leave_all([holder])
    assert caller.entered
    waiting = Caller(pool)
    await asyncio.sleep(2.5)
    await leave_all([caller])
    assert waiting.entered
    assert [*results, pool.stats().rejections] == [None] * 4 + [0]
    await leave_all([waiting])
    check_settled(pool)


@virtual
async def test_waits_between_target_and_twice_that_are_long_and_yet_served():
    pool = pool_for()
    holder, results = await long_waits(pool, 30, seconds=1.5)
    assert results == [None] * 30
    holder.leave()
    caller = Caller(pool)
    await settle()
    await leave_all([caller])
    check_settled(pool)


@virtual
async def test_a_wait_of_exactly_the_target_is_short():
    pool = pool_for()
    holder, results = await long_waits(pool, 30, seconds=1.0)
    assert results == [None] * 30
    assert not pool._ledger._overload.overloaded
    await leave_all([holder])


@virtual
async def test_callers_served_without_a_wait_in_between_are_short_waits():
    pool = pool_for()
    for _ in range(10):
        assert await wait_for_it(pool, 2.5) is None
        await asyncio.sleep(2)
        await use(pool)
    assert pool.stats().rejections == 0


@virtual
async def test_a_long_wait_of_yesterday_says_nothing_of_today():
    pool = pool_for()
    assert await wait_for_it(pool, 5) is None
    for _ in range(100):
        await asyncio.sleep(1)
        await use(pool)
    assert await wait_for_it(pool, 5) is None


@virtual
async def test_an_overload_of_yesterday_says_nothing_of_today():
    pool = pool_for()
    holder, results = await long_waits(pool, 5)
    assert results[-1] is not None
    await leave_all([holder])
    for _ in range(100):
        await asyncio.sleep(1)
        await use(pool)
    assert await wait_for_it(pool, 5) is None


def test_c11_nor_do_the_waits_of_another_event_loop():
    pool = pool_for()

    async def wait():
        await asyncio.sleep(50)
        return await wait_for_it(pool, 5)

    async def wait_later():
        await asyncio.sleep(100)
        return await wait_for_it(pool, 5)

    assert run_virtual(wait()) is None
    assert run_virtual(wait_later()) is None


# Who is refused, and who is served.


async def overloaded_queue(pool, pauses):
    """A queue of callers that came at so many seconds after each other, in an overloaded pool; and the holder."""
    holder, results = await long_waits(pool, 8, seconds=1.5)
    assert results == [None] * 8
    people = []
    for pause in pauses:
        people.append(Caller(pool))
        await asyncio.sleep(pause)
    return holder, people


@virtual
async def test_at_a_hand_over_all_who_have_waited_over_twice_the_target_are_refused_in_order():
    pool = pool_for()
    refused = []
    holder, people = await overloaded_queue(pool, [1, 1, 1, 0.2, 1.5])
    for caller in people:
        caller.task.add_done_callback(refused.append)
    before = pool.stats().rejections
    await leave_all([holder])
    assert refused == [caller.task for caller in people[:3]]
    assert all(isinstance(caller.error, PoolOverloadedError) for caller in people[:3])
    assert people[3].entered
    assert not people[4].entered
    assert pool.stats().rejections == before + 3
    check(pool)
    await leave_all(people[3:])
    check_settled(pool)


@virtual
async def test_c3_those_who_are_served_are_served_in_order():
    pool = pool_for()
    holder, people = await overloaded_queue(pool, [0.1] * 30)
    served = []
    while holder is not None:
        await leave_all([holder])
        await asyncio.sleep(0.1)
        holder = next((caller for caller in people if caller.entered and not caller.task.done()), None)
        served += [people.index(holder)] if holder is not None else []
    assert served == sorted(served)
    assert 5 < len(served) < 30
    check_settled(pool)


@virtual
async def test_if_all_are_refused_the_connection_is_idle():
    pool = pool_for()
    holder, people = await overloaded_queue(pool, [0] * 3)
    await asyncio.sleep(5)
    await leave_all([holder])
    assert all(isinstance(caller.error, PoolOverloadedError) for caller in people)
    check_settled(pool)
    await use(pool, timeout=0)


@virtual
async def test_the_error_has_the_numbers_and_what_to_do():
    pool = pool_for(name="orders", max_size=1)
    holder, people = await overloaded_queue(pool, [0, 4.5])
    await leave_all([holder])
    message = str(people[0].error)
    assert "pool 'orders' is overloaded" in message
    assert "waited 4.5 s" in message
    assert "in use" in message
    assert "limit 1" in message
    assert "raise max_size" in message
    assert not isinstance(people[0].error, TimeoutError)


@virtual
async def test_once_waits_have_been_short_for_a_while_nobody_is_refused_any_more():
    pool = pool_for()
    holder, _ = await overloaded_queue(pool, [])
    for _ in range(20):
        caller = Caller(pool)
        await asyncio.sleep(0.7)
        await leave_all([holder])
        assert caller.entered
        holder = caller
    await leave_all([holder])
    holder, results = await long_waits(pool, 3)
    assert results == [None] * 3
    await leave_all([holder])
    check_settled(pool)


# Only looking on.


@virtual
async def test_with_observe_nobody_is_refused_and_those_who_would_be_are_counted():
    pool = pool_for(queue_policy=CoDel(target=1, interval=10, observe=True))
    holder, results = await long_waits(pool, 30)
    assert results == [None] * 30
    stats = pool.stats()
    assert stats.rejections == 0
    assert 20 <= stats.would_be_rejections <= 26
    await leave_all([holder])
    check_settled(pool)


@virtual
async def test_where_it_refuses_nothing_would_have_been():
    pool = pool_for()
    holder, _ = await overloaded_queue(pool, [5])
    await leave_all([holder])
    assert pool.stats().would_be_rejections == 0
    assert pool.stats().rejections == 1


# With everything else.


@virtual
async def test_c10_a_caller_cancelled_in_the_step_of_its_refusal_is_cancelled():
    pool = pool_for()
    holder, (caller,) = await overloaded_queue(pool, [5])
    holder.leave()
    while pool.stats().waiting:
        await asyncio.sleep(0)
    caller.cancel()
    await settle()
    assert caller.task.cancelled()
    check_settled(pool)


@virtual
async def test_a_caller_that_is_refused_does_not_time_out_too():
    pool = pool_for()
    holder, _ = await overloaded_queue(pool, [])
    caller = Caller(pool, timeout=6)
    await asyncio.sleep(5)
    await leave_all([holder])
    assert isinstance(caller.error, PoolOverloadedError)
    await asyncio.sleep(5)
    assert pool.stats().timeouts == 0


@virtual
async def test_a_timeout_that_comes_first_is_a_timeout():
    pool = pool_for()
    holder, _ = await overloaded_queue(pool, [])
    caller = Caller(pool, timeout=4)
    await asyncio.sleep(5)
    assert isinstance(caller.error, PoolTimeoutError)
    await leave_all([holder])
    check_settled(pool)


@virtual
async def test_c12_close_refuses_all_as_closed():
    pool = pool_for()
    holder, people = await overloaded_queue(pool, [5, 0])
    closing = asyncio.create_task(pool.close())
    await settle()
    assert all(isinstance(caller.error, PoolClosedError) for caller in people)
    holder.leave()
    await closing
    check_settled(pool)


@virtual
async def test_c8_a_surplus_connection_whose_callers_are_all_refused_is_closed():
    strategy = FakeStrategy()
    pool = pool_for(strategy=strategy, max_size=0, burst_limit=1)
    holder, (caller,) = await overloaded_queue(pool, [5])
    await leave_all([holder])
    assert isinstance(caller.error, PoolOverloadedError)
    assert not strategy.open
    check_settled(pool)


@virtual
async def test_none_is_no_policy():
    pool = pool_for(queue_policy=None)
    holder, results = await long_waits(pool, 30)
    assert results == [None] * 30
    assert pool._ledger._overload is None
    await leave_all([holder])


# Bad input.


@pytest.mark.parametrize("name", ["target", "interval"])
@pytest.mark.parametrize("value", ["1", None, True, [1], 1j], ids=repr)
def test_seconds_of_the_wrong_type_are_a_typeerror_that_names_them(name, value):
    with pytest.raises(TypeError, match=f"{name} must be a number of seconds, not") as error:
        CoDel(**{name: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("name", ["target", "interval"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), -float("inf")])
def test_seconds_out_of_range_are_a_valueerror_that_says_what_is_allowed(name, value):
    with pytest.raises(ValueError, match=f"{name} must be finite and more than 0 seconds, not {value!r}"):
        CoDel(**{name: value})


@pytest.mark.parametrize("value", ["yes", None, 1], ids=repr)
def test_observe_is_true_or_false(value):
    with pytest.raises(TypeError, match="observe must be True or False"):
        CoDel(observe=value)


@pytest.mark.parametrize("value", [True, False, 0.05, "codel", CoDel, {"target": 1}], ids=repr)
def test_a_queue_policy_of_the_wrong_type_is_refused_at_construction(value):
    with pytest.raises(TypeError, match="queue_policy must be None or a CoDel, not"):
        pool_for(queue_policy=value)


def test_arguments_are_by_keyword_and_cant_be_changed():
    with pytest.raises(TypeError):
        CoDel(1, 2)
    with pytest.raises(AttributeError):
        POLICY.target = 2
