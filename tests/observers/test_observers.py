"""Who observes: several side by side, one that raises, one that comes and goes with its pool, and nobody."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref

import pytest

from ageing import Server
from asyncio_connection_pool import ConnectionPool, PoolObserver, events
from asyncio_connection_pool.testing import FakeStrategy, FullFakeStrategy
from diary import Diary, differences
from oracle import check_settled
from scenarios import Halt, callers, hold, leave_all, outcome, settle, use, virtual

HOOKS = [name for name in vars(PoolObserver) if name.startswith("on_") or name.endswith("_span")]


@virtual
async def test_several_observe_side_by_side():
    diaries = [Diary(), Diary()]
    pool = ConnectionPool(strategy=Server(), max_size=1, burst_limit=2, observers=iter(diaries))
    async with pool:
        await leave_all(await hold(pool, 2))
    assert diaries[0].events == diaries[1].events
    assert diaries[0].spans


@virtual
async def test_one_may_observe_several_pools():
    diary = Diary()
    pools = [ConnectionPool(strategy=Server(), max_size=1, name=name, observers=[diary]) for name in ("a", "b")]
    for pool in pools:
        await use(pool)
    assert [event.pool for event in diary.of(events.Acquired)] == ["a", "b"]


def raising(hook, error):
    """Make an observer whose one hook raises."""

    def fail(*_):
        raise error

    return type("Raising", (Diary,), {hook: fail})()


async def everything(observers, strategy=None):
    """Have every hook called."""
    strategy = strategy or FullFakeStrategy(create=[None, OSError()])
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=2, max_waiting=1, observers=observers)
    async with pool:
        (holder,) = await hold(pool)
        await outcome(use(pool))
        more = await hold(pool)
        waiting = await callers(pool, 1, timeout=1)
        await outcome(use(pool))
        await asyncio.sleep(2)
        await leave_all([*waiting, *more, holder])
        await use(pool)
    return pool


@pytest.mark.parametrize(
    "error", [ValueError("mine"), asyncio.CancelledError()], ids=lambda error: type(error).__name__
)
@pytest.mark.parametrize("hook", HOOKS)
def test_one_that_raises_is_logged_once_and_told_nothing_more_and_the_pool_goes_on(hook, error, caplog):
    bad, good = raising(hook, error), Diary()

    @virtual
    async def play():
        pool = await everything([bad, good])
        check_settled(pool)
        assert not differences(good, pool.stats())
        assert good.detached == [pool]

    play()
    records = [record for record in caplog.records if record.name == "asyncio_connection_pool" and record.exc_info]
    assert len(records) == 1
    assert records[0].exc_info[1] is error
    assert "told nothing any more" in records[0].getMessage()
    told_after = [event for event in bad.events if event in good.events]
    assert len(told_after) <= len(good.events)
    assert hook == "on_detach" or not bad.detached


@virtual
async def test_a_span_that_raises_when_it_is_left_drops_its_observer():
    class Bad(Diary):
        def acquiring_span(self, pool):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            raise ValueError

    bad = Bad()
    pool = ConnectionPool(strategy=Server(), max_size=1, observers=[bad])
    await use(pool)
    await use(pool)
    assert not bad.of(events.Acquired)
    assert pool.stats().acquired == 2


@virtual
async def test_c10_an_interrupt_in_a_hook_loses_no_connection():
    interrupting = raising("on_acquire", Halt())
    pool = ConnectionPool(strategy=Server(), max_size=1, observers=[interrupting])
    with pytest.raises(Halt):
        await pool.get_connection().__aenter__()
    await settle()
    assert pool.stats().in_use == 0


@virtual
async def test_a_hook_may_use_the_pool():
    class Meddling(PoolObserver):
        def on_attach(self, pool):
            self.pool = weakref.ref(pool)

        def on_create(self, event):
            self.pool().evict()

        def on_release(self, event):
            self.pool().resize(2)

    pool = ConnectionPool(strategy=Server(), max_size=1, burst_limit=4, observers=[Meddling()])
    async with pool:
        await leave_all(await hold(pool, 4))
        assert pool.burst_limit is None
    check_settled(pool)


@virtual
async def test_it_is_told_when_its_pool_was_built_and_when_it_is_closed_and_nothing_after_that():
    diary = Diary()
    pool = ConnectionPool(strategy=Server(), max_size=1, observers=[diary])
    assert diary.attached == [pool]
    (holder,) = await hold(pool)
    await pool.close(timeout=1)
    assert diary.detached == [pool]
    told = diary.events.copy()
    await leave_all([holder])
    await pool.close()
    assert diary.events == told
    assert diary.detached == [pool]


@virtual
async def test_c13_a_pool_that_is_observed_can_be_collected_and_leaves_no_task():
    diary = PoolObserver()
    diary.on_create = print
    pool = ConnectionPool(strategy=Server(), max_size=1, observers=[diary])
    await use(pool)
    await settle()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    assert len(asyncio.all_tasks()) == 1


def test_c11_what_is_forgotten_with_a_loop_is_told_in_the_next():
    diary = Diary()
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=[diary])
    asyncio.run(use(pool))
    asyncio.run(use_and_settle(pool))
    assert [event.reason for event in diary.of(events.Closed)] == ["forgotten"]
    assert not differences(diary, pool.stats())


async def use_and_settle(pool):
    await use(pool)
    await settle()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_c11_a_child_tells_of_its_own_only():
    diary = Diary()
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=[diary])
    asyncio.run(use(pool))
    told = len(diary.events)
    pid = os.fork()
    if not pid:
        os._exit(len(diary.events) != told)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(
    "observers, message",
    [
        (Diary(), "observers must be an iterable"),
        (None, "observers must be an iterable"),
        ([Diary], "must be a PoolObserver object, not <class 'diary.Diary'>"),
        (["me"], "must be a PoolObserver object, not 'me' of type str"),
    ],
)
def test_what_is_no_observer_is_refused(observers, message):
    with pytest.raises(TypeError, match=message):
        ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=observers)


def test_c14_a_pool_without_observers_is_made_of_the_plain_parts():
    """What is not there cannot cost: the parts that observe are not even imported."""
    import subprocess
    import sys

    program = """
import asyncio, sys
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy
async def main():
    async with ConnectionPool(strategy=FakeStrategy(), max_size=1) as pool:
        async with pool.get_connection():
            pass
asyncio.run(main())
print([name for name in sys.modules if name.startswith("asyncio_connection_pool.") and name.split(".")[1] in
       ("events", "_observed", "_journal")])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@virtual
async def test_an_observer_that_wants_no_callers_costs_them_nothing():
    class Burst(PoolObserver):
        def on_burst(self, event):
            pass

    watched = ConnectionPool(strategy=Server(), max_size=1, observers=[Burst()])
    plain = ConnectionPool(strategy=Server(), max_size=1)
    for pool in (watched, plain):
        await use(pool)
    assert type(watched.get_connection()) is type(plain.get_connection())
    assert type(watched._checkout) is type(plain._checkout)
    assert watched._idle is watched._ledger.idle


@virtual
async def test_resets_go_on_when_the_only_one_who_heard_of_them_has_raised():
    bad = raising("on_reset", ValueError("mine"))
    pool = ConnectionPool(strategy=FullFakeStrategy(reset=[1, 1]), max_size=1, observers=[bad])
    for _ in range(2):
        await use(pool)
        await asyncio.sleep(2)
    assert (pool.stats().created, pool.stats().idle) == (1, 1)
    assert len(bad.of(events.Released)) == 1


@virtual
async def test_c14_resets_of_which_nobody_hears_are_not_timed():
    """What is not there cannot cost: the clock is read as often as in a pool without observers."""

    class Opens(PoolObserver):
        def on_create(self, event):
            pass

    class Resets(PoolObserver):
        def on_reset(self, event):
            pass

    plain, opens, resets = [
        await reads_of_the_clock(ConnectionPool(strategy=FullFakeStrategy(), max_size=1, observers=observers))
        for observers in ([], [Opens()], [Resets()])
    ]
    assert plain == opens == resets - 2


async def reads_of_the_clock(pool):
    """Count them while a connection is used and reset."""
    loop = asyncio.get_running_loop()
    loop.set_debug(False)  # else the loop itself reads the clock around every call
    await use(pool)
    await settle()
    time, reads = loop.time, []
    loop.time = lambda: reads.append(1) or time()
    try:
        await use(pool)
        await settle()
    finally:
        del loop.time
    return len(reads)


def test_holders_can_be_tracked_and_observed_together():
    @virtual
    async def play():
        pool = ConnectionPool(strategy=Server(), max_size=1, track_holders=True, name="p", observers=[diary := Diary()])
        (holder,) = await hold(pool)
        error = await outcome(use(pool, timeout=1))
        assert "taken at" in str(error)
        assert diary.of(events.TimedOut) == [events.TimedOut("p", 1, "waiting")]
        await leave_all([holder])

    play()
