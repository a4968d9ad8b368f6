"""C2: with an idle connection at hand, neither entering nor leaving gives control to the loop."""

from __future__ import annotations

import asyncio

import pytest

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy, FullFakeStrategy
from oracle import check_settled
from scenarios import hold, idle, settle, step


class Asked(FakeStrategy):
    def connection_is_reusable(self, conn, exc):
        return True


class Cleaned(FullFakeStrategy):
    connection_is_reusable = FakeStrategy.connection_is_reusable


@pytest.mark.parametrize(
    "strategy, options",
    [
        (FakeStrategy(), {}),
        (Asked(), {}),
        (Asked(), {"burst_limit": 5, "shrink_delay": 3}),
        (Asked(), {"acquire_timeout": 1, "connect_timeout": 1, "close_timeout": 1, "max_waiting": 0}),
    ],
)
async def test_c2_neither_entry_nor_exit_yields(strategy, options):
    pool = ConnectionPool(strategy=strategy, max_size=1, **options)
    (conn,) = await idle(pool, 1)
    for _ in range(3):
        lease = pool.get_connection()
        assert step(lease.__aenter__()) is conn
        assert not step(lease.__aexit__(None, None, None))
    check_settled(pool)


async def test_c2_a_whole_block_runs_in_one_step():
    async def block():
        async with pool.get_connection() as conn, pool.get_connection() as other:
            return conn, other

    pool = ConnectionPool(strategy=FakeStrategy(), max_size=2)
    bottom, top = await idle(pool, 2)
    assert step(block()) == (top, bottom)


async def test_c2_the_loop_runs_nothing_in_between():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    await idle(pool, 1)
    ran = []
    asyncio.get_running_loop().call_soon(ran.append, "other")
    async with pool.get_connection():
        pass
    assert not ran
    await settle()
    assert ran


async def test_c2_dead_idle_connections_on_the_way_to_a_live_one_do_not_yield():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=3)
    alive, *dead = await idle(pool, 3)
    for conn in dead:
        conn.closed = True
    assert step(pool.get_connection().__aenter__()) is alive


async def test_c2_a_timeout_of_zero_takes_what_is_at_hand():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    (conn,) = await idle(pool, 1)
    lease = pool.get_connection(timeout=0)
    assert step(lease.__aenter__()) is conn


async def test_c2_a_timeout_of_zero_raises_in_this_step_where_nothing_is_at_hand():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    with pytest.raises(TimeoutError):
        step(pool.get_connection(timeout=0).__aenter__())
    assert pool.stats().opening == 0
    assert pool.stats().timeouts == 1


async def test_c2_handing_over_to_a_waiter_does_not_yield():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    lease = pool.get_connection()
    conn = await lease.__aenter__()
    waiter = asyncio.create_task(pool.get_connection().__aenter__())
    await settle()
    step(lease.__aexit__(None, None, None))
    assert await waiter is conn


async def test_c2_an_exit_after_an_exception_does_not_yield():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    (conn,) = await idle(pool, 1)
    lease = pool.get_connection()
    step(lease.__aenter__())
    assert not step(lease.__aexit__(ValueError, ValueError("ours"), None))
    assert step(pool.get_connection().__aenter__()) is conn


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()])
async def test_c9_an_exit_that_closes_a_dirty_connection_does_not_yield_either(error):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    assert not step(lease.__aexit__(type(error), error, None))
    await settle()
    assert pool.stats().closed["dirty"] == 1


async def test_c5_an_exit_that_starts_a_reset_does_not_yield_either():
    pool = ConnectionPool(strategy=Cleaned(), max_size=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    step(lease.__aexit__(None, None, None))
    assert pool.stats().resetting == 1
    await pool.close()


async def test_c12_an_exit_after_close_does_not_yield_either():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    (holder,) = await hold(pool)
    await pool.close(timeout=0)
    holder.leave()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert holder.task.done()
    await pool.close()
