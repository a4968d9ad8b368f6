"""What the pool raises of its own says what happened, where, and what to do next."""

from __future__ import annotations

import asyncio
import copy
import pickle

import pytest

from asyncio_connection_pool import (
    ConnectionPool,
    PoolClosedError,
    PoolError,
    PoolOverloadedError,
    PoolTimeoutError,
)
from asyncio_connection_pool.testing import NEVER, FakeStrategy
from oracle import check_settled
from scenarios import Caller, callers, hold, leave_all, outcome, settle, use, virtual

ERRORS = [PoolError, PoolTimeoutError, PoolOverloadedError, PoolClosedError]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_a_poolerror(kind):
    assert issubclass(kind, PoolError)
    assert issubclass(kind, Exception)


def test_only_a_timeout_is_a_timeouterror():
    assert issubclass(PoolTimeoutError, TimeoutError)
    assert [kind for kind in ERRORS if issubclass(kind, OSError)] == [PoolTimeoutError]


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_can_be_pickled_and_copied(kind, clone):
    error = kind("what happened")
    error.add_note("a note")
    twin = clone(error)
    assert type(twin) is kind
    assert (str(twin), twin.args, twin.__notes__) == ("what happened", ("what happened",), ["a note"])


@pytest.mark.parametrize("stage", ["waiting", "opening", "validating"])
def test_the_stage_of_a_timeout_outlives_a_pickle(stage):
    error = PoolTimeoutError("late", stage=stage)
    assert pickle.loads(pickle.dumps(error)).stage == stage
    assert str(error) == "late"


def test_a_timeout_that_is_raised_by_others_has_a_stage():
    assert PoolTimeoutError("late").stage == "waiting"


async def errors_of_a_busy_pool():
    """One of each kind."""
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2, name="things", max_waiting=1)
    holders = await hold(pool, 2)
    (late,) = await callers(pool, 1, timeout=0.25)
    overloaded = await outcome(use(pool))
    await asyncio.sleep(1)
    closing = asyncio.create_task(pool.close())
    await settle()
    closed = await outcome(use(pool))
    await leave_all(holders)
    await closing
    return late.error, overloaded, closed


@virtual
async def test_every_message_names_the_pool_and_the_numbers_and_what_to_do():
    late, overloaded, closed = await errors_of_a_busy_pool()
    for error, kind in ((late, PoolTimeoutError), (overloaded, PoolOverloadedError), (closed, PoolClosedError)):
        assert type(error) is kind
        assert "pool 'things'" in str(error)
        assert "in use 2 / idle 0 / opening 0 / waiting" in str(error)
        assert "limit 2" in str(error)
        pickle.loads(pickle.dumps(error))
    assert "within 0.25 s" in str(late)
    assert "waiting 1" in str(late)
    assert "max_waiting=1" in str(overloaded)
    assert "raise max_size" in str(late)
    assert "raise max_size" in str(overloaded)
    assert "new pool" in str(closed)


@virtual
async def test_a_timeout_behind_others_is_of_the_stage_waiting():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    holder, waiter = await callers(pool, 2, timeout=5)
    await asyncio.sleep(6)
    assert waiter.error.stage == "waiting"
    assert "stage: waiting" in str(waiter.error)
    assert waiter.error.__cause__ is None
    await holder.leave()


@virtual
async def test_a_timeout_while_a_connection_is_opened_is_of_the_stage_opening():
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1)
    (waiter,) = await callers(pool, 1, timeout=5)
    await asyncio.sleep(6)
    assert waiter.error.stage == "opening"
    assert "opening 1" in str(waiter.error)
    assert "server" in str(waiter.error)
    await pool.close()


@virtual
async def test_a_timeout_after_failed_opens_has_the_last_of_them_as_its_cause():
    failures = [OSError("first"), OSError("second")]
    pool = ConnectionPool(strategy=FakeStrategy(create=[*failures, NEVER]), max_size=1)
    people = await callers(pool, 3, timeout=5)
    assert [caller.error for caller in people] == [*failures, None]
    await asyncio.sleep(6)
    assert people[2].error.__cause__ is failures[1]
    assert "last connect error: OSError('second')" in str(people[2].error)
    await pool.close()


@virtual
async def test_a_success_makes_earlier_failures_a_thing_of_the_past():
    pool = ConnectionPool(strategy=FakeStrategy(create=[OSError("first")]), max_size=1)
    await outcome(use(pool))
    holder, waiter = await callers(pool, 2, timeout=5)
    await asyncio.sleep(6)
    assert waiter.error.__cause__ is None
    assert "first" not in str(waiter.error)
    await holder.leave()


@virtual
async def test_connect_timeouts_are_causes_as_well():
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER, NEVER]), max_size=1, connect_timeout=5)
    first, second = await callers(pool, 2)
    third = Caller(pool, timeout=8)
    await asyncio.sleep(9)
    assert first.error.stage == "opening"
    assert "within 5 s" in str(first.error)
    assert third.error.__cause__ is first.error
    await asyncio.sleep(2)
    assert second.error.stage == "opening"
    check_settled(pool)


@virtual
async def test_acquire_timeout_is_for_who_brings_no_timeout():
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1, acquire_timeout=5)
    default, shorter, longer, endless = (
        Caller(pool),
        Caller(pool, timeout=2),
        Caller(pool, timeout=50),
        Caller(pool, timeout=None),
    )
    await asyncio.sleep(3)
    assert [caller.task.done() for caller in (default, shorter, longer, endless)] == [False, True, False, False]
    await asyncio.sleep(3)
    assert [caller.task.done() for caller in (default, shorter, longer, endless)] == [True, True, False, False]
    await asyncio.sleep(1000)
    assert [caller.task.done() for caller in (default, shorter, longer, endless)] == [True, True, True, False]
    assert "within 5 s" in str(default.error)
    await pool.close()


@virtual
async def test_acquire_timeout_bounds_the_whole_of_an_acquisition():
    """However many connections turn out to be dead on the way."""
    strategy = FakeStrategy(create=[2] * 10)
    strategy.connection_is_closed = lambda conn: True
    pool = ConnectionPool(strategy=strategy, max_size=1, acquire_timeout=7)
    began = asyncio.get_running_loop().time()
    assert isinstance(await outcome(use(pool)), PoolTimeoutError)
    assert asyncio.get_running_loop().time() - began == 7
    await pool.close()


async def test_an_acquire_timeout_of_zero_never_waits():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, acquire_timeout=0)
    assert isinstance(await outcome(use(pool)), PoolTimeoutError)
    await use(pool, timeout=None)
    await use(pool)
    assert pool.stats().timeouts == 1
    check_settled(pool)


async def test_max_waiting_of_zero_never_queues_at_capacity():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2, max_waiting=0)
    holders = await hold(pool, 2)
    assert isinstance(await outcome(use(pool)), PoolOverloadedError)
    assert pool.stats().rejections == 1
    await leave_all(holders)
    await use(pool)
    check_settled(pool)


async def test_max_waiting_counts_only_those_for_whom_nothing_can_be_opened():
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER] * 4), max_size=2, burst_limit=4, max_waiting=1)
    people = await callers(pool, 7)
    assert [type(caller.error) for caller in people[:5]] == [type(None)] * 5
    assert [type(caller.error) for caller in people[5:]] == [PoolOverloadedError] * 2
    await pool.close()


async def test_max_waiting_of_zero_lets_a_rush_open_what_there_is_room_for():
    """All of them come in one step, before a single open has begun to run."""
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=5, max_waiting=0)
    results = await asyncio.gather(*(outcome(pool.get_connection().__aenter__()) for _ in range(7)))
    assert sum(isinstance(result, PoolOverloadedError) for result in results) == 2
    assert pool.stats().in_use == 5


async def test_a_caller_that_left_the_queue_makes_room_for_another():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, max_waiting=1)
    holder, waiter = await callers(pool, 2)
    waiter.cancel()
    await settle()
    (another,) = await callers(pool, 1)
    assert another.error is None
    await leave_all([holder, another])
    check_settled(pool)


async def test_a_rejection_comes_in_the_same_step():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, max_waiting=0)
    (holder,) = await hold(pool)
    with pytest.raises(PoolOverloadedError):
        pool.get_connection().__aenter__().send(None)
    await holder.leave()


async def test_the_repr_of_a_pool_is_a_line_of_its_state():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, burst_limit=2, name="things")
    assert repr(pool) == "<ConnectionPool 'things' in use 0 / idle 0 / opening 0 / waiting 0 / limit 2>"
    people = await callers(pool, 3)
    assert repr(pool) == "<ConnectionPool 'things' in use 2 / idle 0 / opening 0 / waiting 1 / limit 2>"
    await leave_all(people)
    await pool.close()
    assert repr(pool) == "<ConnectionPool 'things' closed, in use 0 / idle 0 / opening 0 / waiting 0 / limit 2>"


async def test_what_connection_is_closed_raised_of_each_new_connection_is_told():
    class Typo(FakeStrategy):
        def connection_is_closed(self, conn):
            return conn.is_conected

    pool = ConnectionPool(strategy=Typo(), max_size=1)
    with pytest.raises(PoolError, match=r"connection_is_closed raised AttributeError\(.*is_conected"):
        async with pool.get_connection():
            pass
    await pool.close()


async def test_what_connection_is_closed_says_is_blamed_where_it_only_says_so():
    class Pessimist(FakeStrategy):
        def connection_is_closed(self, conn):
            return True

    pool = ConnectionPool(strategy=Pessimist(), max_size=1)
    with pytest.raises(PoolError, match="look at the server, or at this: what connection_is_closed says"):
        async with pool.get_connection():
            pass
    await pool.close()


@virtual
async def test_an_open_that_was_given_up_names_connect_timeout():
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1, connect_timeout=2)
    with pytest.raises(PoolTimeoutError, match="within 2 s, its connect_timeout, stage: opening") as caught:
        await use(pool)
    assert caught.value.stage == "opening"
    await pool.close()


async def test_who_awaits_get_connection_is_told_to_enter_it():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    with pytest.raises(TypeError, match="not awaited, but entered: async with pool"):
        await pool.get_connection()
    await pool.close()


@pytest.mark.parametrize("method", ["reset_connection", "validate_connection"])
@virtual
async def test_a_method_that_is_no_coroutine_function_is_told_of_in_the_log(method, caplog):
    plain = type("Plain", (FakeStrategy,), {method: lambda self, conn: True})
    pool = ConnectionPool(strategy=plain(), max_size=1, validate_after=0)
    for _ in range(2):
        await use(pool)
        await asyncio.sleep(1)
    await pool.close()
    (record, *_) = caplog.records
    step = method.partition("_")[0]
    assert record.getMessage() == f"pool {pool.name!r}: {step} failed"
    assert f"{method} must be a coroutine function; it returned True of type bool" in str(record.exc_info[1])


async def test_a_question_that_fails_is_logged_with_the_name_of_the_strategy(caplog):
    class Broken(FakeStrategy):
        def connection_is_reusable(self, conn, exc):
            raise OSError

    pool = ConnectionPool(strategy=Broken(), max_size=1)
    await use(pool)
    await pool.close()
    assert caplog.messages == [f"{Broken.__qualname__}.connection_is_reusable failed"]
