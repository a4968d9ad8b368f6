"""What users of the package type, checked by mypy and pyright and never run.

Each assertion is a promise: to change one of these types is to break somebody's build.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import assert_type

from asyncio_connection_pool import (
    ConnectionPool,
    ConnectionStrategy,
    PoolClosedError,
    PoolError,
    PoolObserver,
    PoolOverloadedError,
    PoolStats,
    PoolTimeoutError,
    events,
)


class Thing:
    """A connection."""

    closed = False


class Minimal(ConnectionStrategy[Thing]):
    """Overrides what it must."""

    async def create_connection(self) -> Thing:
        return Thing()

    def connection_is_closed(self, conn: Thing) -> bool:
        return conn.closed

    async def close_connection(self, conn: Thing) -> None:
        return None


class Whole(Minimal):
    """Overrides all that it may."""

    def connection_is_reusable(self, conn: Thing, exc: BaseException | None) -> bool:
        return exc is None

    async def reset_connection(self, conn: Thing) -> None:
        return None

    async def validate_connection(self, conn: Thing) -> None:
        return None

    def abort_connection(self, conn: Thing) -> None:
        return None


def the_connection_type_comes_from_the_strategy() -> None:
    assert_type(ConnectionPool(strategy=Minimal(), max_size=1), ConnectionPool[Thing])
    assert_type(ConnectionPool[Thing](strategy=Whole(), max_size=1), ConnectionPool[Thing])


def every_option_has_a_type(strategy: Minimal) -> ConnectionPool[Thing]:
    return ConnectionPool(
        strategy=strategy,
        max_size=1,
        burst_limit=2,
        name="things",
        acquire_timeout=1.5,
        max_waiting=10,
        max_connecting=2,
        connect_timeout=1,
        close_timeout=0.5,
        shrink_delay=30,
    )


async def a_block_is_given_a_connection(pool: ConnectionPool[Thing]) -> None:
    async with pool.get_connection() as conn:
        assert_type(conn, Thing)
    async with pool.get_connection(timeout=0) as conn:
        assert_type(conn, Thing)
    manager: AbstractAsyncContextManager[Thing, bool | None] = pool.get_connection(timeout=None)
    del manager


async def a_pool_is_a_context_manager_itself(pool: ConnectionPool[Thing]) -> None:
    async with pool as same:
        assert_type(same, ConnectionPool[Thing])


async def a_pool_is_opened_and_closed(pool: ConnectionPool[Thing]) -> None:
    opening: Awaitable[None] = pool.open()
    await opening
    await pool.close()
    await pool.close(timeout=1.5)
    await pool.close(1)


def a_pool_answers_questions(pool: ConnectionPool[Thing], conn: Thing) -> None:
    assert_type(pool.closed, bool)
    assert_type(pool.name, str)
    assert_type(pool.stats(), PoolStats)
    assert_type(pool.stats().size, int)
    assert_type(pool.max_size, int)
    assert_type(pool.burst_limit, int | None)
    pool.discard(conn)


def the_limits_can_be_assigned(pool: ConnectionPool[Thing]) -> None:
    pool.max_size = 2
    pool.burst_limit = 4
    pool.burst_limit = None


async def errors_are_caught_by_their_base(pool: ConnectionPool[Thing]) -> None:
    try:
        await pool.open()
    except (PoolTimeoutError, PoolOverloadedError, PoolClosedError) as error:
        caught: PoolError = error
        del caught
    except TimeoutError:
        pass


class Watching(PoolObserver):
    """Overrides one hook and one span."""

    def on_acquire(self, event: events.Acquired) -> None:
        assert_type(event.waited, float)

    def opening_span(self, pool: str) -> None:
        return None


def observers_are_given_as_any_iterable() -> None:
    assert_type(ConnectionPool(strategy=Whole(), max_size=1, observers=[Watching()]), ConnectionPool[Thing])


async def open_thing() -> Thing:
    return Thing()


@asynccontextmanager
async def thing() -> AsyncGenerator[Thing]:
    yield Thing()


def a_strategy_can_be_made() -> None:
    made = ConnectionStrategy.from_functions(
        create=open_thing, is_closed=lambda conn: conn.closed, close=lambda conn: None
    )
    assert_type(made, ConnectionStrategy[Thing])
    assert_type(ConnectionStrategy.from_context_manager(thing), ConnectionStrategy[Thing])


async def a_blocking_library_is_called_in_a_thread() -> None:
    strategy = ConnectionStrategy.from_blocking_functions(
        create=lambda: sqlite3.connect("shop.db"), close=sqlite3.Connection.close
    )
    async with ConnectionPool(strategy=strategy, max_size=1).get_connection() as conn:
        assert_type(await conn.call(sqlite3.Connection.execute, "SELECT 1"), sqlite3.Cursor)
