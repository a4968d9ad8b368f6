"""Resets and closes of asyncpg's connections are bounded, by one timer for all of them."""

from __future__ import annotations

import asyncio
import gc

import pytest

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib._asyncpg_session import Insisting, Watch
from asyncpg_driver import connected
from servers import postgres
from strategy_contract import until


async def forever(watch):
    with Insisting(None, watch):
        await asyncio.get_running_loop().create_future()


async def test_one_timer_bounds_all_resets_under_way_and_none_is_left():
    """C13."""
    with postgres.start() as server:
        async with connected(server) as driver, asyncio.timeout(20):
            pool = ConnectionPool(strategy=driver.strategy(patience=0.1), max_size=3)
            watch = pool.strategy._watch
            async with pool.get_connection(), pool.get_connection(), pool.get_connection():
                server.freeze()
            await until(lambda: len(watch.watched) == 3)
            timer = watch._timer
            assert timer is not None
            await until(lambda: pool.stats().size == 0)
            assert pool.stats().closed["reset_failed"] == 3
            assert watch._timer is None
            assert not watch.watched
            server.thaw()
            await pool.close()


async def test_no_block_is_ended_before_its_own_time():
    watch, loop = Watch(0.05), asyncio.get_running_loop()

    async def timed():
        began = loop.time()
        with pytest.raises(TimeoutError):
            await forever(watch)
        return loop.time() - began

    first = asyncio.create_task(timed())
    await asyncio.sleep(0.03)
    for took in await asyncio.gather(first, timed()):
        assert took > 0.049
    assert watch._timer is None


async def test_a_cancellation_from_outside_stays_one():
    watch = Watch(60)
    task = asyncio.create_task(forever(watch))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert watch._timer is None


def test_a_block_is_bounded_where_another_loop_was_lost_with_one_in_it():
    """C11."""
    watch = Watch(0.01)
    lost = asyncio.new_event_loop()
    abandoned = lost.create_task(forever(watch))
    lost.run_until_complete(asyncio.sleep(0))
    lost.close()
    with pytest.raises(TimeoutError):
        asyncio.run(forever(watch))
    assert watch._timer is None
    del abandoned
    gc.collect()
