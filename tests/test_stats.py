"""`stats()`: a snapshot of the counts by state, and totals that are right whatever happens."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import pickle

import pytest

from asyncio_connection_pool import ConnectionPool, PoolStats
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import callers, hold, idle, leave_all, outcome, settle, use, virtual

STATES = ("idle", "in_use", "opening", "validating", "resetting", "closing")
TOTALS = (
    *("acquired_at_once", "acquired_after_waiting", "acquired_after_opening", "released", "created"),
    *(
        "create_failures",
        "closed",
        "timeouts",
        "rejections",
        "would_be_rejections",
        "wait_seconds_total",
        "wait_seconds_max",
    ),
)


def totals(pool, *names):
    return [getattr(pool.stats(), name) for name in names]


def closed(pool):
    return {reason: count for reason, count in pool.stats().closed.items() if count}


def test_the_fields_of_a_snapshot():
    names = ("name", "max_size", "burst_limit", "limit", "min_size", *STATES, "size", "waiting", *TOTALS)
    assert tuple(field.name for field in dataclasses.fields(PoolStats)) == names


def test_a_new_pool_has_done_nothing():
    stats = ConnectionPool(strategy=FakeStrategy(), max_size=3, burst_limit=5, name="things").stats()
    assert (stats.name, stats.max_size, stats.burst_limit, stats.limit) == ("things", 3, 5, 5)
    assert not any(getattr(stats, name) for name in (*STATES, "size", "waiting"))
    assert not any(getattr(stats, name) for name in TOTALS if name != "closed")
    assert set(stats.closed.values()) == {0}
    assert stats.acquired == 0


def test_a_snapshot_is_frozen_and_slotted():
    stats = ConnectionPool(strategy=FakeStrategy(), max_size=3).stats()
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.idle = 5
    assert not hasattr(stats, "__dict__")


def test_a_snapshot_can_be_compared_copied_pickled_and_written_as_json():
    stats = ConnectionPool(strategy=FakeStrategy(), max_size=3).stats()
    assert copy.deepcopy(stats) == pickle.loads(pickle.dumps(stats)) == dataclasses.replace(stats) == stats
    assert json.loads(json.dumps(dataclasses.asdict(stats)))["closed"] == dict(stats.closed)


async def test_a_snapshot_does_not_change():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=3)
    before = pool.stats()
    twin = copy.deepcopy(before)
    (holder,) = await hold(pool)
    pool.discard(holder.conn)
    await holder.leave()
    await settle()
    assert before == twin != pool.stats()


@virtual
async def test_the_counts_by_state_add_up_to_the_size():
    strategy = FullFakeStrategy(create=[None] * 4 + [NEVER], reset=[NEVER], close=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=5)
    one, two, three, four = await hold(pool, 4)
    pool.discard(one.conn)
    await leave_all([one, two])
    assert totals(pool, *STATES) == [0, 2, 0, 0, 1, 1]
    await callers(pool, 3)
    stats = pool.stats()
    assert totals(pool, *STATES, "size", "waiting") == [0, 2, 1, 0, 1, 1, 5, 3]
    assert stats.size == sum(getattr(stats, name) for name in STATES)
    await leave_all([three, four])
    await pool.close(timeout=0)


async def test_acquisitions_are_counted_by_how_they_were_served():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    await use(pool)
    ways = ("acquired_at_once", "acquired_after_waiting", "acquired_after_opening", "acquired", "released")
    assert totals(pool, *ways) == [0, 0, 1, 1, 1]
    await use(pool)
    assert totals(pool, *ways) == [1, 0, 1, 2, 2]
    people = await callers(pool, 3)
    assert totals(pool, *ways) == [2, 0, 1, 3, 2]
    await leave_all(people)
    assert totals(pool, *ways) == [2, 2, 1, 5, 5]
    check_settled(pool)


async def test_a_connection_opened_in_vain_and_used_later_was_acquired_at_once():
    gate = asyncio.Event()
    pool = ConnectionPool(strategy=FakeStrategy(create=[gate.wait]), max_size=1)
    (gone,) = await callers(pool, 1)
    gone.cancel()
    gate.set()
    await settle()
    people = await callers(pool, 2)
    await leave_all(people)
    assert totals(pool, "acquired_at_once", "acquired_after_waiting", "acquired_after_opening") == [1, 1, 0]


@pytest.mark.parametrize("error", [OSError(), asyncio.CancelledError(), TimeoutError()], ids=repr)
async def test_failed_creates_are_counted(error):
    pool = ConnectionPool(strategy=FakeStrategy(create=[error]), max_size=1)
    await callers(pool, 1)
    assert totals(pool, "created", "create_failures", "acquired") == [0, 1, 0]
    await use(pool)
    assert totals(pool, "created", "create_failures", "acquired") == [1, 1, 1]


@virtual
async def test_connections_that_left_are_counted_by_reason():
    async def late():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    strategy = FullFakeStrategy(reset=[OSError("reset")], create=[None, late])
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=2, connect_timeout=5)
    await use(pool)
    await asyncio.sleep(1)
    assert closed(pool) == {"reset_failed": 1}
    assert isinstance(await outcome(use(pool)), TimeoutError)
    await asyncio.sleep(2)
    assert closed(pool) == {"reset_failed": 1, "broken_off": 1}
    one, two = await hold(pool, 2)
    one.leave(TimeoutError())
    await settle()
    assert one.error is not None
    pool.discard(two.conn)
    await two.leave()
    await asyncio.sleep(1)
    assert closed(pool) == {"reset_failed": 1, "broken_off": 1, "dirty": 1, "discarded": 1}
    await leave_all(await hold(pool, 2))
    assert closed(pool)["surplus"] == 1
    await settle()
    strategy.open[0].closed = True
    await use(pool)
    assert closed(pool)["dead"] == 1
    await settle()
    await pool.close()
    assert closed(pool)["pool_closed"] == 1
    assert pool.stats().created == sum(closed(pool).values()) == len(strategy.connections)
    check_settled(pool)


def test_connections_that_were_forgotten_are_counted():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    for _ in range(3):
        asyncio.run(use(pool))
    assert closed(pool) == {"forgotten": 2}
    assert totals(pool, "created", "acquired", "released") == [3, 3, 3]


@virtual
async def test_timeouts_and_rejections_are_counted():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, max_waiting=1)
    (holder,) = await hold(pool)
    await outcome(use(pool, timeout=0))
    (late,) = await callers(pool, 1, timeout=5)
    await outcome(use(pool))
    await outcome(use(pool))
    await asyncio.sleep(6)
    assert late.error is not None
    assert totals(pool, "timeouts", "rejections", "waiting") == [2, 2, 0]
    await holder.leave()
    check_settled(pool)


@virtual
async def test_seconds_waited_are_added_up_and_the_longest_is_kept():
    pool = ConnectionPool(strategy=FakeStrategy(create=[3]), max_size=1)
    await use(pool)
    assert totals(pool, "wait_seconds_total", "wait_seconds_max") == [3, 3]
    await use(pool)
    assert totals(pool, "wait_seconds_total", "wait_seconds_max") == [3, 3]
    (holder,) = await hold(pool)
    waiting = await callers(pool, 2)
    await asyncio.sleep(5)
    await leave_all([holder])
    await asyncio.sleep(1)
    await leave_all(waiting)
    assert totals(pool, "wait_seconds_total", "wait_seconds_max") == [14, 6]


@virtual
async def test_those_who_left_unserved_have_not_waited():
    pool = ConnectionPool(strategy=FakeStrategy(create=[NEVER]), max_size=1)
    (caller,) = await callers(pool, 1, timeout=5)
    await asyncio.sleep(6)
    assert caller.error is not None
    assert totals(pool, "acquired", "wait_seconds_total") == [0, 0]
    await pool.close()


@pytest.mark.parametrize("ticks", range(12))
async def test_totals_agree_at_every_tick(ticks):
    pool = ConnectionPool(strategy=FullFakeStrategy(create=[OSError("refused")]), max_size=1, burst_limit=2)
    people = await callers(pool, 6)
    for caller in people:
        caller.leave()
    for tick in range(12):
        if tick == ticks:
            people[3].cancel()
        await asyncio.sleep(0)
        check(pool)
        stats = pool.stats()
        assert 0 <= stats.released <= stats.acquired
    await settle()
    check_settled(pool)
    assert pool.stats().created == len(pool.strategy.connections)
    assert [type(caller.error) for caller in people[:1]] == [OSError]
    assert people[3].task.done()
    assert [caller.error for caller in people[4:]] == [None, None]


async def test_dead_idle_connections_are_no_acquisitions():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=3)
    for conn in await idle(pool, 3):
        conn.closed = True
    before = pool.stats().acquired
    await use(pool)
    assert pool.stats().acquired == pool.stats().released == before + 1
