"""A `PoolTimeoutError` says what ran out, in which stage, and who holds what it was waiting for."""

from __future__ import annotations

import asyncio
import inspect
import re

import pytest

from asyncio_connection_pool import ConnectionPool, PoolTimeoutError
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from counting import counting
from oracle import check_settled
from scenarios import Caller, callers, hold, idle, leave_all, outcome, settle, use, virtual


def pool_for(strategy=None, **options):
    return ConnectionPool(strategy=strategy or FakeStrategy(), **({"max_size": 1} | options))


async def message_of(pool, timeout=1):
    error = await outcome(use(pool, timeout=timeout))
    assert isinstance(error, PoolTimeoutError), error
    return str(error)


def ages_in(message):
    """What it claims of how long connections are held: seconds, with whether it is more than that."""
    _, _, claims = message.partition("held longest: ")
    claims, _, _ = claims.partition(" (track_holders")
    return [(float(age), bool(over)) for over, age in re.findall(r"(over )?([\d.e+]+) s", claims)]


# Stages and counts.


@virtual
async def test_the_stage_is_waiting_where_all_are_in_use():
    pool = pool_for(name="orders", max_size=2)
    people = await hold(pool, 2)
    message = await message_of(pool, 1.5)
    assert "pool 'orders' had no connection within 1.5 s, stage: waiting" in message
    assert "in use 2 / idle 0 / opening 0 / waiting 1 / limit 2" in message
    assert message.endswith("raise max_size, burst_limit or the timeout")
    await leave_all(people)
    check_settled(pool)


@virtual
async def test_the_stage_is_opening_where_enough_are_being_opened():
    pool = pool_for(FakeStrategy(create=[5]))
    message = await message_of(pool)
    assert "stage: opening" in message
    assert "opening 1 / waiting 1" in message
    assert "look at the server" in message


@virtual
async def test_the_stage_is_waiting_where_too_few_are_being_opened():
    pool = pool_for(FakeStrategy(create=[5]))
    people = await callers(pool, 1)
    assert "stage: waiting" in await message_of(pool)
    await asyncio.sleep(5)
    await leave_all(people)


@virtual
async def test_the_stage_is_validating_where_that_takes_too_long():
    pool = pool_for(FullFakeStrategy(validate=[5]), validate_after=1)
    await idle(pool, 1)
    await asyncio.sleep(2)
    error = await outcome(use(pool, timeout=1))
    assert error.stage == "validating"
    assert "stage: validating" in str(error)
    assert "opening 0 / validating 1 / waiting 1 / limit" in str(error)


@virtual
async def test_what_is_being_closed_is_counted_where_it_is_in_the_way():
    pool = pool_for(FakeStrategy(close=[5]))
    async with pool.get_connection() as conn:
        pool.discard(conn)
    assert "opening 0 / closing 1 / waiting 1 / limit 1" in await message_of(pool)


@virtual
async def test_it_chains_the_last_create_error_until_one_succeeds():
    refused = OSError("refused")
    pool = pool_for(FakeStrategy(create=[refused, 5]), max_size=2)
    assert await outcome(use(pool)) is refused
    error = await outcome(use(pool, timeout=1))
    assert error.__cause__ is refused
    assert "last connect error: OSError('refused')" in str(error)
    await asyncio.sleep(5)
    people = await hold(pool, 2)
    assert (await outcome(use(pool, timeout=1))).__cause__ is None
    await leave_all(people)


@virtual
async def test_a_connect_timeout_is_of_the_stage_opening_and_has_its_own_seconds():
    pool = pool_for(FakeStrategy(create=[NEVER]), connect_timeout=3)
    error = await outcome(use(pool, timeout=10))
    assert error.stage == "opening"
    assert "within 3 s" in str(error)


# How long they hold, where nobody is tracked.


@virtual
async def test_what_was_handed_over_since_the_queue_began_is_dated():
    pool = pool_for()
    (holder,) = await hold(pool)
    waiters = await callers(pool, 1)
    await asyncio.sleep(3)
    late = Caller(pool, timeout=7)
    await leave_all([holder])
    await asyncio.sleep(7.5)
    assert ages_in(str(late.error)) == [(7, False)]
    await leave_all(waiters)
    check_settled(pool)


@virtual
async def test_what_was_taken_from_rest_before_the_queue_began_is_held_for_longer_than_that():
    pool = pool_for(max_size=2)
    await idle(pool, 2)
    await asyncio.sleep(50)
    people = await hold(pool, 2)
    await asyncio.sleep(20)
    message = await message_of(pool, 4)
    assert ages_in(message) == [(4, True)] * 2
    await leave_all(people)


@virtual
async def test_no_more_than_three_are_told_of_and_those_are_the_longest():
    pool = pool_for(max_size=6)
    people = []
    for _ in range(6):
        people += await hold(pool)
        await asyncio.sleep(1)
    message = await message_of(pool, 4)
    assert len(ages_in(message)) == 3
    assert all(age == 4 for age, _ in ages_in(message))
    await leave_all(people)


async def taken_from_rest(pool, seconds):
    """A holder of a connection that was at rest, which has had it for so many seconds."""
    holder = Caller(pool)
    await asyncio.sleep(seconds)
    assert holder.entered
    return holder


@virtual
async def test_a_refusal_without_a_wait_claims_no_age_that_nobody_knows():
    """Here nothing says when it was taken: it had been at rest, and nobody waits."""
    pool = pool_for()
    await asyncio.sleep(100)
    await use(pool)
    await asyncio.sleep(100)
    holder = await taken_from_rest(pool, 1)
    assert all(over and age <= 1 for age, over in ages_in(await message_of(pool, 0)))
    await leave_all([holder])


@virtual
async def test_a_queue_of_before_dates_nothing_that_was_taken_since():
    pool = pool_for()
    (holder,) = await hold(pool)
    waiters = await callers(pool, 1)
    await asyncio.sleep(10)
    await leave_all([holder])
    await asyncio.sleep(10)
    await leave_all(waiters)
    await asyncio.sleep(100)
    holder = await taken_from_rest(pool, 2)
    assert all(over and age <= 2 for age, over in ages_in(await message_of(pool, 0)))
    assert ages_in(await message_of(pool, 3)) == [(3, True)]
    await leave_all([holder])


@virtual
async def test_a_queue_whose_callers_were_cancelled_dates_nothing_either():
    pool = pool_for()
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    await asyncio.sleep(10)
    waiter.cancel()
    holder.leave()
    await settle()
    await asyncio.sleep(10)
    holder = await taken_from_rest(pool, 1)
    assert ages_in(await message_of(pool, 3)) == [(3, True)]
    await leave_all([holder])


@virtual
async def test_every_age_that_is_claimed_is_true(monkeypatch):
    """Callers come and go by chance; what an error claims is compared with what they know."""
    import random

    chance = random.Random(1)
    loop = asyncio.get_running_loop()
    pool = pool_for(max_size=3)
    since = {}
    claims = []

    async def borrow():
        timeout = chance.choice([None, 0, 0.5, 2])
        try:
            async with pool.get_connection(timeout=timeout):
                task = asyncio.current_task()
                since[task] = loop.time()
                await asyncio.sleep(chance.random() * 3)
                del since[task]
        except PoolTimeoutError as error:
            compare(ages_in(str(error)))

    def compare(claimed):
        claims.extend(claimed)
        known = sorted((loop.time() - when for when in since.values()), reverse=True)
        assert len(claimed) <= len(known)
        for (age, over), true in zip(claimed, known, strict=False):
            assert age <= true * 1.01 + 0.01 if over else any(abs(age - each) <= 0.01 * each + 0.01 for each in known)

    tasks = []
    for _ in range(3000):
        tasks.append(asyncio.create_task(borrow()))
        await asyncio.sleep(chance.choice([0, 0.2, 0.5, 1.5]))
    await asyncio.gather(*tasks)
    assert len(claims) > 1000
    check_settled(pool)


# Who holds, where they are tracked.


@virtual
async def test_with_track_holders_it_names_tasks_ages_and_lines():
    pool = pool_for(max_size=2, track_holders=True)

    async def import_orders():
        async with pool.get_connection():
            await asyncio.sleep(100)

    async def report():
        async with pool.get_connection(timeout=5):
            await asyncio.sleep(100)

    first = asyncio.create_task(import_orders(), name="importer")
    await asyncio.sleep(40)
    second = asyncio.create_task(report(), name="reporter")
    await asyncio.sleep(10)
    message = await message_of(pool, 2)
    place = f"taken at {__file__}:{inspect.getsourcelines(import_orders)[1] + 1} in import_orders"
    assert f"held by importer for 52 s, {place}; reporter for 12 s, taken at {__file__}:" in message
    assert "in report" in message
    assert "track_holders" not in message
    await asyncio.gather(first, second)
    check_settled(pool)


@virtual
async def test_the_line_is_the_users_also_through_an_exit_stack_and_a_wrapper_of_their_own():
    from contextlib import AsyncExitStack, asynccontextmanager

    pool = pool_for(track_holders=True)

    @asynccontextmanager
    async def connection():
        async with pool.get_connection() as conn:
            yield conn

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pool.get_connection())
        assert "in test_the_line" in await message_of(pool)
    async with connection():
        assert f"{__file__}:" in await message_of(pool)
        assert "in connection" in await message_of(pool)


@virtual
async def test_the_age_is_since_the_connection_was_had_and_not_since_it_was_asked_for():
    pool = pool_for(track_holders=True)
    (holder,) = await hold(pool)
    (waiter,) = await callers(pool, 1)
    await asyncio.sleep(30)
    await leave_all([holder])
    assert "for 2 s" in await message_of(pool, 2)
    await leave_all([waiter])


@virtual
async def test_who_has_given_back_is_named_no_more():
    pool = pool_for(track_holders=True)
    task = asyncio.create_task(use(pool), name="gone")
    await task
    holders = await hold(pool)
    assert "gone" not in await message_of(pool)
    await leave_all(holders)
    assert not pool._holders._holders


@virtual
async def test_where_nobody_holds_nobody_is_named():
    assert "held" not in await message_of(pool_for(FakeStrategy(create=[5]), track_holders=True))


@virtual
async def test_an_age_that_is_too_short_to_tell_is_not_told():
    pool = pool_for(track_holders=True)
    (holder,) = await hold(pool)
    error = await outcome(use(pool, timeout=0))
    assert "for under 1 ms, taken at" in str(error)
    await leave_all([holder])


@virtual
async def test_a_message_of_a_large_pool_stays_readable_and_names_the_longest():
    pool = pool_for(max_size=1000, track_holders=True)
    people = []
    for n in range(1000):
        people.append(Caller(pool))
        people[-1].task.set_name(f"holder-{n}")
        if n < 5:
            await asyncio.sleep(1)
    await settle()
    message = await message_of(pool, 1)
    assert len(message) < 1000
    assert [f"holder-{n}" in message for n in range(5)] == [True] * 3 + [False] * 2
    assert "997 more" in message
    for caller in people:
        caller.leave()
    await settle()
    check_settled(pool)


@pytest.mark.parametrize("tracks", [False, True])
@virtual
async def test_c14_many_timeouts_together_cost_little_whatever_is_held(tracks):
    """The same number of callers run out of time in a small pool and in one of a thousand connections."""
    asyncio.get_running_loop().set_debug(False)  # whose cost is not ours
    costs = []
    for size in (10, 1000):
        pool = pool_for(max_size=size, track_holders=tracks)
        holders = [Caller(pool) for _ in range(size)]
        await settle()
        people = [Caller(pool, timeout=1) for _ in range(500)]
        await asyncio.sleep(0.5)
        with counting() as calls:
            await asyncio.sleep(1)
        costs.append(calls.made)
        assert all(isinstance(caller.error, PoolTimeoutError) for caller in people)
        for caller in holders:
            caller.leave()
        await settle()
    assert costs[1] <= 1.1 * costs[0]


@virtual
async def test_tracking_costs_nothing_where_it_is_off():
    pool = pool_for()
    (holder,) = await hold(pool)
    assert not pool._holders._holders
    await leave_all([holder])


# Bad input.


@pytest.mark.parametrize("value", [1, 0, None, "yes", [True]], ids=repr)
def test_track_holders_is_true_or_false(value):
    with pytest.raises(TypeError, match="track_holders must be True or False, not"):
        pool_for(track_holders=value)
