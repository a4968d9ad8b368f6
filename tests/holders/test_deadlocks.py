"""With `track_holders`, tasks that wait for each other's connections are told so at once; nobody else is."""

from __future__ import annotations

import asyncio

import pytest

from asyncio_connection_pool import ConnectionPool, PoolError, PoolTimeoutError, _holders
from asyncio_connection_pool.testing import FakeStrategy, FullFakeStrategy
from counting import counting
from oracle import check_settled
from scenarios import Caller, callers, hold, leave_all, outcome, settle, use, virtual


def pool_for(strategy=None, **options):
    return ConnectionPool(strategy=strategy or FakeStrategy(), **({"max_size": 1, "track_holders": True} | options))


class Nesting:
    """A task that holds a connection and, when told to, acquires another one inside."""

    def __init__(self, pool, name, depth=1, **options):
        self.pool = pool
        self.options = options
        self.go = asyncio.Event()
        self.leave = asyncio.Event()
        self.entered = False
        self.task = asyncio.create_task(self._run(depth), name=name)
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # somebody knows how it ended

    async def _run(self, depth):
        async with self.pool.get_connection():
            await self.go.wait()
            async with self.pool.get_connection(**self.options):
                self.entered = True
                await self.leave.wait()

    @property
    def deadlock(self):
        """What it was told, if that is a deadlock."""
        if not self.task.done() or self.task.cancelled():
            return None
        error = self.task.exception()
        return error if isinstance(error, PoolError) and "deadlocked" in str(error) else None


async def nesting(pool, *names, **options):
    people = [Nesting(pool, name, **options) for name in names]
    await settle()
    return people


async def advance(*people):
    """Let each come to its inner acquisition, one after the other."""
    for person in people:
        person.go.set()
        await settle()


async def end(*people):
    for person in people:
        person.leave.set()
        person.go.set()
    await asyncio.wait([person.task for person in people])


# What is one.


@virtual
async def test_a_task_that_nests_in_a_pool_of_one():
    pool = pool_for(name="orders")
    async with pool.get_connection():
        with pytest.raises(PoolError, match="pool 'orders' is deadlocked") as raised:
            await use(pool)
    assert asyncio.get_running_loop().time() == 0
    message = str(raised.value)
    assert not isinstance(raised.value, PoolTimeoutError)
    assert asyncio.current_task().get_name() in message
    assert "in use 1 / idle 0 / opening 0 / waiting 1 / limit 1" in message
    assert f"taken at {__file__}:" in message
    assert "don't acquire inside a block that holds a connection" in message
    check_settled(pool)
    await use(pool)


@virtual
async def test_a_task_that_holds_all_of_several():
    pool = pool_for(max_size=2)
    async with pool.get_connection(), pool.get_connection():
        with pytest.raises(PoolError, match="deadlocked"):
            await use(pool)
    check_settled(pool)


@pytest.mark.parametrize("count", [2, 3, 10])
@virtual
async def test_tasks_that_cross_and_it_is_the_last_that_is_told(count):
    pool = pool_for(max_size=count)
    people = await nesting(pool, *map("task {}".format, range(count)))
    await advance(*people[:-1])
    assert not any(person.task.done() for person in people)
    await advance(people[-1])
    assert people[-1].deadlock
    assert asyncio.get_running_loop().time() == 0
    assert people[0].entered, "its connection serves who waited longest"
    await end(*people)
    assert [bool(person.deadlock) for person in people] == [False] * (count - 1) + [True]
    check_settled(pool)


@virtual
async def test_one_with_a_timeout_is_one_too_and_needs_not_wait_for_that():
    pool = pool_for(max_size=2)
    people = await nesting(pool, "first", "second", timeout=60)
    await advance(*people)
    assert people[1].deadlock
    assert asyncio.get_running_loop().time() == 0
    await end(*people)
    check_settled(pool)


@virtual
async def test_one_among_others_who_wait_and_hold_nothing():
    pool = pool_for(max_size=2)
    people = await nesting(pool, "first", "second")
    bystanders = await callers(pool, 3)
    await advance(*people)
    assert people[1].deadlock
    assert not any(caller.task.done() for caller in bystanders)
    await leave_all(bystanders)
    await end(*people)
    assert all(caller.error is None for caller in bystanders)
    check_settled(pool)


@virtual
async def test_bursts_are_part_of_the_limit():
    pool = pool_for(max_size=1, burst_limit=2)
    people = await nesting(pool, "first", "second")
    await advance(*people)
    assert people[1].deadlock
    await end(*people)
    check_settled(pool)


@virtual
async def test_leak_threshold_tracks_holders_too():
    pool = pool_for(track_holders=False, leak_threshold=60)
    async with pool.get_connection():
        with pytest.raises(PoolError, match="deadlocked"):
            await use(pool)


# What is none.


@virtual
async def test_not_where_nothing_is_tracked():
    pool = pool_for(track_holders=False)
    async with pool.get_connection():
        with pytest.raises(PoolTimeoutError):
            await use(pool, timeout=5)


@virtual
async def test_not_where_somebody_holds_one_and_does_not_wait():
    pool = pool_for(max_size=3)
    (third,) = await hold(pool)
    people = await nesting(pool, "first", "second")
    await advance(*people)
    await asyncio.sleep(10)
    assert not any(person.task.done() for person in people)
    await leave_all([third])
    assert people[0].entered
    await end(*people)
    assert all(person.task.exception() is None for person in people)
    check_settled(pool)


@virtual
async def test_not_where_the_limit_has_room():
    pool = pool_for(FakeStrategy(create=[None, 5]), max_size=2)
    async with pool.get_connection():
        await use(pool)
    assert asyncio.get_running_loop().time() == 5


@virtual
async def test_not_while_an_open_is_in_flight():
    pool = pool_for(FakeStrategy(create=[None, None, 5]), max_size=3)
    people = await nesting(pool, "first", "second")
    (caller,) = await callers(pool, 1)
    await advance(*people)
    assert not any(person.task.done() for person in people)
    await asyncio.sleep(5)
    await leave_all([caller])
    await end(*people)
    assert not any(person.deadlock for person in people)
    check_settled(pool)


@virtual
async def test_not_while_a_close_is_in_flight():
    pool = pool_for(FakeStrategy(close=[5]), max_size=3)
    people = await nesting(pool, "first", "second")
    async with pool.get_connection() as conn:
        pool.discard(conn)
    assert pool.stats().closing == 1
    await advance(*people)
    assert not any(person.task.done() for person in people)
    await asyncio.sleep(6)
    assert people[0].entered
    await end(*people)
    assert not any(person.deadlock for person in people)
    check_settled(pool)


@virtual
async def test_not_while_a_reset_is_in_flight():
    pool = pool_for(FullFakeStrategy(reset=[5]), max_size=3)
    people = await nesting(pool, "first", "second")
    await use(pool)
    assert pool.stats().resetting == 1
    await advance(*people)
    assert not any(person.task.done() for person in people)
    await asyncio.sleep(6)
    assert people[0].entered
    await end(*people)
    assert not any(person.deadlock for person in people)
    await asyncio.sleep(1)
    check_settled(pool)


@virtual
async def test_not_while_a_connection_is_being_handed_over():
    """Who was served in this very tick has it, but does not know yet."""
    pool = pool_for(max_size=2)
    (holder,) = await hold(pool)
    (person,) = await nesting(pool, "nesting")
    (waiter,) = await callers(pool, 1)
    holder._end.set_result(None)
    person.go.set()
    await settle()
    assert waiter.entered
    assert not person.task.done()
    await leave_all([waiter])
    await end(person)
    assert not person.deadlock
    check_settled(pool)


@pytest.mark.parametrize("way", ["cancelled", "timed out"])
@virtual
async def test_c10_not_where_one_of_them_is_about_to_leave(way):
    """Its wait has ended in this very tick, so that its connection will be free in the next."""
    pool = pool_for(max_size=2)
    (first,) = await nesting(pool, "first", **({"timeout": 5} if way == "timed out" else {}))
    (second,) = await nesting(pool, "second")
    await advance(first)
    if way == "cancelled":
        second.go.set()
        first.task.cancel()
    else:
        asyncio.get_running_loop().call_at(5, second.go.set)
        await asyncio.sleep(5)
    await settle()
    assert first.task.done()
    assert second.entered
    await end(second)
    assert not second.deadlock
    check_settled(pool)


@virtual
async def test_not_in_an_outage():
    """The limit has room: it is the server that is lost, and the prober will find it."""
    pool = pool_for(FakeStrategy(create=[None, *[OSError()] * 3]), max_size=2, reconnect=True)
    (person,) = await nesting(pool, "nesting")
    await advance(person)
    (caller,) = await callers(pool, 1)
    (other,) = await nesting(pool, "other")
    assert not any(task.done() for task in (person.task, caller.task, other.task))
    await asyncio.sleep(60)
    assert person.entered
    person.leave.set()
    await settle()
    caller.leave()
    await settle()
    await end(other)
    assert not other.deadlock
    check_settled(pool)


@virtual
async def test_not_for_who_holds_nothing():
    pool = pool_for(max_size=1)
    (holder,) = await hold(pool)
    people = await callers(pool, 50)
    assert not any(caller.task.done() for caller in people)
    await leave_all([holder, *people])
    assert all(caller.error is None for caller in people)
    check_settled(pool)


@virtual
async def test_not_with_timeout_0_which_never_waits():
    pool = pool_for()
    async with pool.get_connection():
        with pytest.raises(PoolTimeoutError):
            await use(pool, timeout=0)


@virtual
async def test_not_after_somebody_has_given_up_and_come_back():
    """What is remembered of a wait ends with it, however it ends."""
    pool = pool_for(max_size=2)
    people = await nesting(pool, "first", timeout=5)
    (other,) = await hold(pool)
    await advance(*people)
    await asyncio.sleep(6)
    assert people[0].task.done()
    assert not pool._holders._waiting
    people = await nesting(pool, "second")
    await advance(*people)
    assert not people[0].task.done()
    await leave_all([other])
    await end(*people)
    check_settled(pool)
    assert not pool._holders._holders


@virtual
async def test_a_deadlock_that_is_resolved_leaves_all_as_it_was():
    pool = pool_for(max_size=2)
    for _ in range(50):
        people = await nesting(pool, "first", "second")
        await advance(*people)
        assert people[1].deadlock
        await end(*people)
        check_settled(pool)
    assert not pool._holders._waiting
    assert not pool._holders._holders


@virtual
async def test_the_message_of_a_large_pool_stays_readable():
    pool = pool_for(max_size=300)
    people = await nesting(pool, *map("task {}".format, range(300)))
    await advance(*people)
    assert len(str(people[-1].deadlock)) < 1000
    await end(*people)


@virtual
async def test_c14_a_wait_costs_the_same_however_many_wait():
    asyncio.get_running_loop().set_debug(False)  # whose cost is not ours
    costs = []
    for number in (500, 4000):
        pool = pool_for()
        (holder,) = await hold(pool)
        with counting() as calls:
            people = [Caller(pool) for _ in range(number)]
            await settle(3)
        costs.append(calls.made / number)
        for caller in people:
            caller.cancel()
        await settle()
        await leave_all([holder])
    assert costs[1] <= 1.1 * costs[0]


# Odd holders.


@virtual
async def test_the_line_is_found_however_few_calls_there_are(monkeypatch):
    """A coroutine can be driven by what is not Python."""
    monkeypatch.setattr(_holders, "NEAREST", 10_000)
    pool = pool_for()
    async with pool.get_connection():
        with pytest.raises(PoolError, match=f"taken at {__file__}:"):
            await use(pool)


@virtual
async def test_a_connection_given_back_by_another_task_than_took_it_is_held_by_nobody_more():
    pool = pool_for()
    lease = pool.get_connection()
    await asyncio.create_task(lease.__aenter__())
    await asyncio.create_task(lease.__aexit__(None, None, None))
    assert not pool._holders._holders
    await use(pool)
    check_settled(pool)


@virtual
async def test_a_wait_that_fails_is_raised_as_ever():
    refused = OSError()
    pool = pool_for(FakeStrategy(create=[None, refused]), max_size=2)
    async with pool.get_connection():
        assert await outcome(use(pool)) is refused
    assert not pool._holders._waiting
    check_settled(pool)
