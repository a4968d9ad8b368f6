"""What code for releases 1.x does keeps working, and what their README promised is kept."""

from __future__ import annotations

import asyncio
import importlib
import warnings
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Generic, TypeVar
from unittest import mock

import pytest

import asyncio_connection_pool
from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from oracle import check_settled
from scenarios import Halt, callers, hold, idle, leave_all, settle, step, use

T = TypeVar("T")


class Thing:
    def __init__(self):
        self.closed = False


# Strategies as they were written.


class Legacy(ConnectionStrategy[Thing]):
    async def make_connection(self):
        return Thing()

    def connection_is_closed(self, conn):
        return conn.closed

    async def close_connection(self, conn):
        conn.closed = True


class Unsubscripted(ConnectionStrategy):
    async def make_connection(self):
        return Thing()

    def connection_is_closed(self, conn):
        return conn.closed

    async def close_connection(self, conn):
        conn.closed = True


class Slotted(Legacy):
    __slots__ = ("dsn",)

    def __init__(self):
        self.dsn = "redis://"


class SlottedThroughout(ConnectionStrategy[Thing]):
    __slots__ = ("made",)

    def __init__(self):
        self.made = 0

    async def make_connection(self):
        self.made += 1
        return Thing()

    connection_is_closed = Legacy.connection_is_closed
    close_connection = Legacy.close_connection


class SyncClose(Legacy):
    def close_connection(self, conn):
        conn.closed = True


class CloseThatReturnsAnAwaitable(Legacy):
    def close_connection(self, conn):
        return asyncio.ensure_future(super().close_connection(conn))


class AnswersNothing(Legacy):
    def connection_is_closed(self, conn):
        return True if conn.closed else None


class Maker:
    async def make_connection(self):
        return Thing()


class MixinFirst(Maker, ConnectionStrategy[Thing]):
    connection_is_closed = Legacy.connection_is_closed
    close_connection = Legacy.close_connection


class MixinLast(ConnectionStrategy[Thing], Maker):
    connection_is_closed = Legacy.connection_is_closed
    close_connection = Legacy.close_connection


class Halves(ConnectionStrategy[Thing]):
    connection_is_closed = Legacy.connection_is_closed
    close_connection = Legacy.close_connection


class LaterHalf(Halves):
    async def make_connection(self):
        return Thing()


class Grandchild(Legacy):
    async def make_connection(self):
        return await super().make_connection()


class GenericOne(ConnectionStrategy[T], Generic[T]):
    async def make_connection(self):
        return Thing()

    connection_is_closed = Legacy.connection_is_closed
    close_connection = Legacy.close_connection


class OfThings(GenericOne[Thing]):
    pass


class MakeThatReturnsAnAwaitable(Legacy):
    def make_connection(self):
        return asyncio.ensure_future(Maker().make_connection())


class Duck:
    async def make_connection(self):
        return Thing()

    def connection_is_closed(self, conn):
        return conn.closed

    async def close_connection(self, conn):
        conn.closed = True


class Both(Legacy):
    """A library that supports both lines."""

    async def create_connection(self):
        return await self.make_connection()


class Modern(Legacy):
    """Moves on from a base of its own that was written for 1.x."""

    async def create_connection(self):
        return Thing()

    async def make_connection(self):
        raise AssertionError("this is not its name any more")


STRATEGIES = [
    *(Legacy, Unsubscripted, Slotted, SlottedThroughout, SyncClose, CloseThatReturnsAnAwaitable, AnswersNothing),
    *(MixinFirst, MixinLast, LaterHalf, Grandchild, GenericOne, OfThings, MakeThatReturnsAnAwaitable),
    *(Duck, Both, Modern),
]


@pytest.mark.parametrize("kind", STRATEGIES)
async def test_a_strategy_of_1_x_works_unchanged(kind):
    pool = ConnectionPool(strategy=kind(), max_size=1, burst_limit=2)
    people = await callers(pool, 5)
    assert sum(caller.entered for caller in people) == 2
    await leave_all(people)
    assert all(caller.entered for caller in people)
    assert sum(conn.closed for conn in {caller.conn for caller in people}) == 1
    (kept,) = (conn for conn in {caller.conn for caller in people} if not conn.closed)
    kept.closed = True
    assert await use(pool) is not kept
    await settle()
    check_settled(pool)
    await pool.close()


def test_a_strategy_of_1_x_gets_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind = type("Another", (ConnectionStrategy,), dict(vars(Duck)))
        ConnectionPool(strategy=kind(), max_size=1)


def test_a_strategy_with_slots_has_no_dict():
    assert not hasattr(SlottedThroughout(), "__dict__")


def test_a_subclass_without_either_name_is_still_abstract():
    with pytest.raises(TypeError, match="create_connection"):
        Halves()


async def test_a_make_connection_that_fails_is_raised_as_it_is():
    class Failing(Legacy):
        async def make_connection(self):
            raise error

    error = OSError("refused")
    with pytest.raises(OSError, match="refused") as caught:
        await use(ConnectionPool(strategy=Failing(), max_size=1))
    assert caught.value is error


async def test_a_make_connection_that_is_patched_later_is_the_one_that_is_called():
    """As tests do it."""
    strategy = Legacy()
    thing = Thing()
    with mock.patch.object(strategy, "make_connection", mock.AsyncMock(return_value=thing)):
        assert await use(ConnectionPool(strategy=strategy, max_size=1)) is thing


# Pools as they were built and read.


async def test_a_subscripted_pool_can_be_called():
    pool = ConnectionPool[Thing](strategy=Legacy(), max_size=15)
    assert isinstance(await use(pool), Thing)


def test_a_pool_can_be_built_at_import_with_the_arguments_of_1_x():
    pool = ConnectionPool(strategy=Legacy(), max_size=3, burst_limit=10)
    assert (pool.max_size, pool.burst_limit) == (3, 10)
    assert asyncio.run(use(pool))


async def test_the_names_that_users_of_1_x_read():
    gate = asyncio.Event()

    class Slow(Legacy):
        makes = 0

        async def make_connection(self):
            self.makes += 1
            if self.makes > 3:
                await gate.wait()
            return Thing()

        async def close_connection(self, conn):
            await gate.wait()

    strategy = Slow()
    pool = ConnectionPool(strategy=strategy, max_size=2, burst_limit=4)
    assert pool.strategy is strategy
    assert pool.available.empty() is True
    one, two, three = await hold(pool, 3)
    pool.discard(one.conn)
    await one.leave()
    people = await callers(pool, 2)
    assert pool.in_use == 2
    assert pool.currently_allocating == 1
    assert pool.currently_deallocating == 1
    assert pool._waiters == 2
    assert type(pool._waiters) is int
    assert pool._total == 4
    gate.set()
    await settle()
    assert pool._waiters == 0
    await leave_all([two, three, *people])
    assert pool.available.qsize() == pool._total == 2
    assert pool.available.empty() is False
    assert (pool.in_use, pool.currently_allocating, pool.currently_deallocating) == (0, 0, 0)
    check_settled(pool)


async def test_limits_can_be_assigned():
    pool = ConnectionPool(strategy=Legacy(), max_size=2)
    pool.burst_limit = 5
    pool.max_size = 4
    assert pool.stats().limit == 5
    pool.burst_limit = None
    assert pool.stats().limit == 4
    assert len(await hold(pool, 4)) == 4


async def test_get_connection_is_an_async_context_manager_to_everybody():
    pool = ConnectionPool(strategy=Legacy(), max_size=2)
    async with AsyncExitStack() as stack:
        conn = await stack.enter_async_context(pool.get_connection())
        assert isinstance(conn, Thing)
        assert pool.in_use == 1
    assert pool.in_use == 0


async def test_a_subclass_may_wrap_get_connection():
    class Traced(ConnectionPool[Thing]):
        def __init__(self, *, service, **options):
            super().__init__(**options)
            self.service = service
            self.seen = []

        @asynccontextmanager
        async def get_connection(self):
            self.seen.append("asked")
            async with super().get_connection() as conn:
                self.seen.append("got")
                yield conn
            self.seen.append("returned")

    pool = Traced(service="x", strategy=Legacy(), max_size=2)
    async with pool.get_connection() as conn:
        assert isinstance(conn, Thing)
    assert pool.seen == ["asked", "got", "returned"]
    with pytest.raises(ValueError, match="mine"):
        async with pool.get_connection():
            raise ValueError("mine")
    assert pool.in_use == 0
    check_settled(pool)


async def test_a_pool_that_nobody_closes_is_dropped_in_silence():
    pool = ConnectionPool(strategy=Legacy(), max_size=2)
    await use(pool)
    await settle()
    del pool  # a warning would be an error


@pytest.mark.parametrize("name", ["ConnectionPool", "ConnectionStrategy"])
def test_names_are_imported_from_where_they_were(name):
    assert hasattr(importlib.import_module("asyncio_connection_pool"), name)
    assert name in asyncio_connection_pool.__all__


# The README of 1.0.0, sentence by sentence.


async def test_no_lock_and_no_condition_is_taken_in_order_to_get_a_connection(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("no locking")

    for primitive in ("Lock", "Condition", "Semaphore", "BoundedSemaphore", "Queue", "LifoQueue", "wait_for"):
        monkeypatch.setattr(asyncio, primitive, refuse)
    for method in ("acquire", "__aenter__"):
        monkeypatch.setattr(asyncio.locks.Lock, method, refuse)
    pool = ConnectionPool(strategy=Legacy(), max_size=2, burst_limit=4)
    await leave_all(await callers(pool, 10))
    check_settled(pool)


async def test_available_connections_are_retrieved_without_yielding_to_the_event_loop():
    pool = ConnectionPool(strategy=Legacy(), max_size=1)
    conn = await use(pool)
    assert step(pool.get_connection().__aenter__()) is conn


async def test_with_a_burst_limit_the_pool_goes_beyond_max_size_under_load_and_shrinks_back_after():
    pool = ConnectionPool(strategy=Legacy(), max_size=2, burst_limit=5)
    holders = await hold(pool, 5)
    assert pool._total == 5
    await leave_all(holders)
    assert pool._total == 2


async def test_when_the_block_is_exited_the_connection_is_returned_to_the_pool():
    pool = ConnectionPool(strategy=Legacy(), max_size=2)
    conn = await use(pool)
    with pytest.raises(ValueError, match="mine"):
        async with pool.get_connection() as same:
            raise ValueError("mine")
    assert same is conn
    assert await use(pool) is conn


async def test_the_caller_yields_where_a_connection_has_to_be_opened_or_none_is_available():
    pool = ConnectionPool(strategy=Legacy(), max_size=1)
    opening = pool.get_connection().__aenter__()
    opening.send(None)  # it gave control to the loop
    opening.close()
    (holder,) = await hold(pool)
    waiting = pool.get_connection().__aenter__()
    waiting.send(None)
    waiting.close()
    await holder.leave()


async def test_create_connection_is_called_when_all_connections_are_in_use_and_there_is_room():
    made = []

    class Counting(Legacy):
        async def make_connection(self):
            made.append(Thing())
            return made[-1]

    pool = ConnectionPool(strategy=Counting(), max_size=2)
    for expected in (1, 1, 1):
        await use(pool)
        assert len(made) == expected
    people = await callers(pool, 5)
    assert len(made) == 2
    await leave_all(people)
    assert len(made) == 2


class Checked(Legacy):
    """Raises what it is told from its check."""

    error = None

    def connection_is_closed(self, conn):
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return conn.closed


async def test_a_check_that_raises_means_invalid_and_is_suppressed():
    pool = ConnectionPool(strategy=Checked(), max_size=2)
    bottom, top = await idle(pool, 2)
    pool.strategy.error = ValueError()
    assert await use(pool) is bottom
    assert bottom is not top


@pytest.mark.parametrize("error", [asyncio.CancelledError(), Halt()], ids=repr)
async def test_a_check_that_raises_what_is_no_exception_propagates(error):
    pool = ConnectionPool(strategy=Checked(), max_size=2)
    await use(pool)
    pool.strategy.error = error
    with pytest.raises(type(error)) as caught:
        await use(pool)
    assert caught.value is error


async def test_close_connection_is_called_when_a_connection_is_returned_above_max_size_and_nobody_waits():
    pool = ConnectionPool(strategy=Legacy(), max_size=1, burst_limit=2)
    people = await callers(pool, 3)
    await people[0].leave()
    await settle()
    assert not people[0].conn.closed  # somebody waited
    await people[1].leave()
    assert people[1].conn.closed
    await people[2].leave()
    assert not people[2].conn.closed


async def test_what_close_connection_raises_bubbles_to_the_exit_and_the_connection_counts_as_closed():
    class Failing(Legacy):
        async def close_connection(self, conn):
            raise OSError("close")

    pool = ConnectionPool(strategy=Failing(), max_size=1, burst_limit=2)
    one, two = await hold(pool, 2)
    with pytest.raises(OSError, match="close"):
        await one.leave()
    assert pool._total == 1
    await two.leave()
    check_settled(pool)
