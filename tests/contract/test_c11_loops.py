"""C11: one loop at a time; and a forked child has nothing to do with its parent's connections."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings

import pytest

import loops
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from forking import forks, in_child
from oracle import check, check_settled
from scenarios import Caller, callers, hold, idle, outcome, settle, use


@pytest.fixture
def new_loop():
    """Make loops that are closed at the end of the test."""
    made = []

    def new_loop():
        made.append(loops.new_loop())
        return made[-1]

    yield new_loop
    for loop in made:
        loop.close()


def test_c11_a_pool_can_be_built_where_no_loop_runs(new_loop):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2, burst_limit=3, shrink_delay=1, acquire_timeout=5)
    assert pool.stats().size == 0
    assert not pool.closed
    assert repr(pool)
    pool.max_size = 1
    pool.get_connection()
    loop = new_loop()
    assert loop.run_until_complete(use(pool)) is not None
    loop.run_until_complete(pool.close())


def test_c11_a_pool_needs_a_loop_only_where_it_is_used():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    entering = pool.get_connection().__aenter__()
    with pytest.raises(RuntimeError, match="no running event loop"):
        entering.send(None)
    assert pool.stats().waiting == pool.stats().size == 0


def test_c11_it_binds_to_the_loop_that_first_uses_it_and_not_to_the_one_that_built_it(new_loop):
    async def build():
        return ConnectionPool(strategy=FakeStrategy(), max_size=1)

    pool = new_loop().run_until_complete(build())
    assert new_loop().run_until_complete(use(pool)) is not None


@pytest.mark.parametrize("what", ["get_connection", "open", "close", "async with"])
def test_c11_use_from_another_loop_while_the_first_is_open_raises(new_loop, what):
    async def misuse():
        if what == "get_connection":
            await use(pool)
        elif what == "open":
            await pool.open()
        elif what == "close":
            await pool.close()
        else:
            async with pool:
                pass

    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, name="things")
    first, second = new_loop(), new_loop()
    conn = first.run_until_complete(use(pool))
    with pytest.raises(RuntimeError, match=r"'things' .*another event loop.* still open"):
        second.run_until_complete(misuse())
    check_settled(pool)
    assert first.run_until_complete(use(pool)) is conn
    assert not pool.closed


def test_c11_after_the_first_loop_is_closed_the_pool_starts_anew(new_loop):
    pool = ConnectionPool(strategy=FullFakeStrategy(), max_size=2)
    loop = new_loop()
    old = loop.run_until_complete(idle(pool, 2))
    loop.run_until_complete(settle())
    loop.close()
    conn = new_loop().run_until_complete(use(pool))
    assert conn not in old
    assert pool.strategy.aborted == old
    assert pool.stats().closed["forgotten"] == 2


def test_c11_asyncio_run_can_be_called_again_and_again():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    conns = [asyncio.run(use(pool)) for _ in range(3)]
    assert len(set(conns)) == 3
    assert pool.stats().size == 1


def test_c11_what_cannot_be_aborted_is_forgotten(new_loop):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    loop = new_loop()
    (old,) = loop.run_until_complete(idle(pool, 1))
    loop.close()
    new_loop().run_until_complete(use(pool))
    assert not old.closed
    assert pool.stats().size == 1


def test_c11_an_abort_that_raises_does_not_keep_the_pool_from_starting_anew(new_loop, caplog):
    class Strategy(FakeStrategy):
        def abort_connection(self, conn):
            aborted.append(conn)
            raise OSError("abort")

    aborted: list = []
    pool = ConnectionPool(strategy=Strategy(), max_size=2)
    loop = new_loop()
    old = loop.run_until_complete(idle(pool, 2))
    loop.close()
    assert new_loop().run_until_complete(use(pool)) not in old
    assert aborted == old
    assert "abort_connection" in caplog.text


def test_c11_whatever_was_going_on_when_the_first_loop_was_closed_is_forgotten(new_loop, caplog):
    """In use, waiting, opening, resetting, closing, all at once."""

    async def fill():
        one, two, three = await hold(pool, 3)
        pool.discard(two.conn)
        for holder in (one, two):
            holder.leave()
            await settle()
        return [one.conn, two.conn, three.conn], three, await callers(pool, 2)

    strategy = FullFakeStrategy(create=[None, None, None, NEVER], reset=[NEVER], close=[NEVER])
    pool = ConnectionPool(strategy=strategy, max_size=4)
    loop = new_loop()
    conns, *kept = loop.run_until_complete(fill())
    stats = pool.stats()
    assert (stats.in_use, stats.opening, stats.resetting, stats.closing, stats.waiting) == (1, 1, 1, 1, 2)
    loop.close()
    assert new_loop().run_until_complete(use(pool)) not in conns
    assert sorted(conn.number for conn in strategy.aborted) == [0, 1, 2]
    check(pool)
    stats = pool.stats()
    assert (stats.in_use, stats.opening, stats.closing, stats.waiting) == (0, 0, 0, 0)
    del kept
    gc.collect()  # asyncio logs the tasks that the closed loop has left behind
    caplog.clear()
    check(pool)


def test_c11_an_open_that_was_given_up_when_the_first_loop_was_closed_is_forgotten_too(new_loop, caplog):
    async def stubborn():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.get_running_loop().create_future()

    async def wait_for_timeout():
        return await outcome(use(pool))

    pool = ConnectionPool(strategy=FullFakeStrategy(create=[stubborn]), max_size=1, connect_timeout=0.001)
    loop = new_loop()
    assert isinstance(loop.run_until_complete(wait_for_timeout()), TimeoutError)
    assert pool.stats().closing == 1
    loop.close()
    assert new_loop().run_until_complete(use(pool)) is not None
    assert pool.strategy.aborted == []
    gc.collect()
    check(pool)


def test_c11_a_block_of_the_old_loop_that_ends_after_gives_nothing_back(new_loop):
    async def enter():
        return await lease.__aenter__()

    async def leave(error):
        await lease.__aexit__(type(error) if error else None, error, None)

    for error in (None, ValueError(), TimeoutError()):
        pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
        lease = pool.get_connection()
        loop = new_loop()
        old = loop.run_until_complete(enter())
        loop.close()
        loop = new_loop()
        conn = loop.run_until_complete(use(pool))
        loop.run_until_complete(leave(error))
        assert loop.run_until_complete(use(pool)) is conn is not old
        check_settled(pool)


def test_c11_a_closed_pool_stays_closed_on_a_new_loop(new_loop):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    loop = new_loop()
    loop.run_until_complete(pool.close())
    loop.close()
    with pytest.raises(Exception, match="is closed"):
        new_loop().run_until_complete(use(pool))


def test_c11_limits_can_be_set_between_two_loops(new_loop):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=3)
    loop = new_loop()
    loop.run_until_complete(idle(pool, 3))
    loop.close()
    pool.max_size = 1
    loop = new_loop()
    loop.run_until_complete(use(pool))
    assert pool.stats().size == 1


# os.fork


@forks
def test_c11_after_a_fork_the_child_forgets_every_connection_and_closes_none(new_loop):
    def child():
        stats = pool.stats()
        conn = asyncio.run(use(pool))
        closed = [old.closed for old in conns]
        return stats.size, stats.closed["forgotten"], conn in conns, closed, pool.strategy.aborted

    pool = ConnectionPool(strategy=FullFakeStrategy(), max_size=3)
    loop = new_loop()
    conns = loop.run_until_complete(idle(pool, 2))
    loop.run_until_complete(settle())
    assert in_child(child) == str((0, 2, False, [False, False], []))
    assert pool.stats().idle == 2
    assert loop.run_until_complete(use(pool)) in conns
    loop.run_until_complete(settle())


@forks
def test_c11_the_connections_of_the_parent_are_not_even_finalized_in_the_child(new_loop):
    class Noisy:
        def __del__(self):
            finalized.append(os.getpid())

    class Strategy(FakeStrategy):
        async def create_connection(self):
            return Noisy()

        def connection_is_closed(self, conn):
            return False

    def child():
        nonlocal pool
        pool = None
        gc.collect()
        return os.getpid() in finalized

    finalized: list[int] = []
    pool = ConnectionPool(strategy=Strategy(), max_size=3)
    new_loop().run_until_complete(use(pool))
    assert in_child(child) == "False"


@forks
def test_c11_a_child_forked_while_the_loop_runs_can_use_the_pool_on_a_loop_of_its_own():
    async def main():
        people = [Caller(pool) for _ in range(4)]
        await settle()
        answer = in_child(lambda: asyncio.run(count()))
        check(pool)
        for caller in people:
            await caller.leave()
        return answer

    async def count():
        await asyncio.gather(use(pool), use(pool))
        stats = pool.stats()
        await pool.close()
        return stats.size, stats.waiting, stats.in_use

    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    with asyncio.Runner() as runner:
        assert runner.run(main()) == str((2, 0, 0))
    check_settled(pool)


@forks
@pytest.mark.parametrize("error", [None, ValueError(), TimeoutError()], ids=repr)
def test_c11_a_block_that_ends_in_the_child_gives_nothing_back(error):
    async def main():
        lease = pool.get_connection()
        conn = await lease.__aenter__()
        answer = in_child(lambda: asyncio.run(leave(lease, conn)))
        await lease.__aexit__(None, None, None)
        return answer

    async def leave(lease, conn):
        await lease.__aexit__(type(error) if error else None, error, None)
        await settle()
        return conn.closed, pool.stats().size, await use(pool) is conn

    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    with asyncio.Runner() as runner:
        assert runner.run(main()) == str((False, 0, False))
    assert pool.stats().idle == 1


@forks
@pytest.mark.parametrize("work", ["open", "reset", "close", "wait", "hand over"])
def test_c11_work_in_flight_at_the_fork_comes_to_nothing_in_a_child_that_goes_on_with_the_loop(new_loop, work):
    """As a daemon does that forks between two runs of its loop."""

    async def begin():
        lease = pool.get_connection()
        if work != "open":
            conn = await lease.__aenter__()
            (waiter,) = await callers(pool, work in {"wait", "hand over"}) or [None]
            if work == "close":
                pool.discard(conn)
            if work != "wait":
                await lease.__aexit__(None, None, None)
            return lease, waiter
        caller = Caller(pool)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return lease, caller

    async def go_on():
        await settle()
        gate.set()
        await settle()
        check_settled(pool)
        assert pool._ledger.broken_off == 0
        assert await use(pool)
        await settle()
        check_settled(pool)
        assert pool.strategy.aborted == []
        return [conn.closed for conn in pool.strategy.connections[:1]]

    gate = asyncio.Event()
    scripts = {"open": {"create": [gate.wait]}, "reset": {"reset": [gate.wait]}, "close": {"close": [gate.wait]}}
    pool = ConnectionPool(strategy=FullFakeStrategy(**scripts.get(work, {})), max_size=1, max_connecting=1)
    loop = new_loop()
    kept = loop.run_until_complete(begin())
    answer = in_child(lambda: loop.run_until_complete(go_on()))
    assert answer == ("[True]" if work == "close" else "[False]")  # that one was begun by the strategy itself
    del kept


@forks
def test_c12_a_pool_that_was_open_in_the_parent_does_not_warn_in_the_child(new_loop):
    def child():
        nonlocal pool
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pool = None
            gc.collect()
        return [str(warning.message) for warning in caught]

    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    loop = new_loop()
    loop.run_until_complete(pool.open())
    assert in_child(child) == "[]"
    loop.run_until_complete(pool.close())


def test_c11_a_pool_that_nobody_references_is_no_concern_of_a_fork():
    from asyncio_connection_pool import _fork

    before = len(_fork._forkables)
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    assert len(_fork._forkables) == before + 1
    del pool
    gc.collect()
    assert len(_fork._forkables) <= before
