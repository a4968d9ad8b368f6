"""C4: the connection that was used last is handed out first."""

from __future__ import annotations

import asyncio

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy
from scenarios import hold, idle, settle, use, virtual


async def test_c4_idle_connections_are_a_stack():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=4)
    conns = await idle(pool, 4)
    holders = await hold(pool, 4)
    assert [caller.conn for caller in holders] == conns[::-1]


async def test_c4_one_connection_is_enough_for_one_caller_at_a_time():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=4)
    await idle(pool, 4)
    used = [await use(pool) for _ in range(10)]
    assert all(conn is used[0] for conn in used)


@virtual
async def test_c4_the_surplus_that_is_closed_is_what_was_used_longest_ago():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=4, shrink_delay=10)
    conns = await idle(pool, 4)
    await asyncio.sleep(5)
    top = await use(pool)
    assert top is conns[-1]
    await asyncio.sleep(11)
    assert strategy.open == [top]


async def test_c4_lowering_max_size_closes_from_the_bottom():
    strategy = FakeStrategy()
    pool = ConnectionPool(strategy=strategy, max_size=4)
    conns = await idle(pool, 4)
    pool.max_size = 2
    await settle()
    assert strategy.open == conns[2:]
    await pool.close()
