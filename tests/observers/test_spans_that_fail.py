"""Spans of what ends badly in a way of its own, and observers that are dropped more than once."""

from __future__ import annotations

import asyncio

import pytest

from ageing import Server
from asyncio_connection_pool import ConnectionPool, PoolClosedError, PoolObserver
from diary import Diary
from oracle import check_settled
from scenarios import callers, outcome, settle, step, use, virtual


@virtual
async def test_c7_what_the_closed_check_raises_at_a_checked_hand_out_ends_the_acquisition():
    class Looking(Server):
        alarm = False

        def connection_is_closed(self, conn):
            if self.alarm:
                raise KeyboardInterrupt
            return False

    diary = Diary()
    pool = ConnectionPool(strategy=Looking(), max_size=1, max_lifetime=60, observers=[diary])
    await use(pool)
    diary.spans.clear()
    pool.strategy.alarm = True
    with pytest.raises(KeyboardInterrupt):
        step(pool.get_connection().__aenter__())
    assert [name for _, name in diary.spans] == ["begins", "KeyboardInterrupt"]
    pool.strategy.alarm = False
    await use(pool)
    check_settled(pool)


@virtual
async def test_c12_a_caller_whose_connection_is_aborted_in_the_tick_of_its_hand_over_leaves_no_span_open():
    class Aborting(Server):
        def abort_connection(self, conn):
            conn.closed = True

    diary = Diary()
    pool = ConnectionPool(strategy=Aborting(), max_size=1, observers=[diary])
    lease = pool.get_connection()
    await lease.__aenter__()
    (waiter,) = await callers(pool, 1)
    diary.spans.clear()
    step(lease.__aexit__(None, None, None))  # it is the waiter's now
    pool._shut()
    pool._abort()
    await settle()
    assert isinstance(waiter.error, PoolClosedError)
    assert [name for _, name in diary.spans] == ["PoolClosedError"] * 2
    await pool.close()


@virtual
async def test_an_observer_whose_spans_fail_together_is_dropped_once(caplog):
    """Both are open when the first fails."""

    class Clumsy(PoolObserver):
        def acquiring_span(self, pool):
            return self

        waiting_span = acquiring_span

        def __enter__(self):
            return self

        def __exit__(self, *error):
            raise ValueError("clumsy")

    pool = ConnectionPool(strategy=Server(create=[1]), max_size=1, observers=[Clumsy()])
    assert await outcome(use(pool)) is pool.strategy.connections[0]
    await asyncio.sleep(1)
    assert [str(record.exc_info[1]) for record in caplog.records] == ["clumsy"]
