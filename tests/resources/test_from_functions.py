"""`ConnectionStrategy.from_functions`: a strategy without a class."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial

import pytest

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from asyncio_connection_pool.testing import FakeConnection
from scenarios import idle, outcome, settle, use, virtual


class Thing:
    """A connection that remembers what was done to it."""

    def __init__(self):
        self.done = []
        self.closed = False


class Things:
    """A service, with a function for everything."""

    def __init__(self):
        self.opened = []

    async def create(self):
        await asyncio.sleep(1)
        self.opened.append(Thing())
        return self.opened[-1]

    def is_closed(self, thing):
        return thing.closed

    def close(self, thing):
        thing.closed = True

    async def close_slowly(self, thing):
        await asyncio.sleep(1)
        thing.closed = True

    async def reset(self, thing):
        thing.done.append("reset")

    async def validate(self, thing):
        thing.done.append("validate")

    def abort(self, thing):
        thing.done.append("abort")

    @property
    def musts(self):
        return {"create": self.create, "is_closed": self.is_closed, "close": self.close}


def pool_of(things, *, max_size=1, burst_limit=None, validate_after=None, **functions):
    strategy = ConnectionStrategy.from_functions(**things.musts | functions)
    return ConnectionPool(
        strategy=strategy, max_size=max_size, burst_limit=burst_limit, validate_after=validate_after, close_timeout=5
    )


@virtual
async def test_three_functions_are_a_strategy():
    things = Things()
    async with pool_of(things) as pool:
        first = await use(pool)
        assert await use(pool) is first
        first.closed = True
        second = await use(pool)
        assert second is not first
    assert things.opened == [first, second]
    assert second.closed


@pytest.mark.parametrize("close, seconds", [("close", 0), ("close_slowly", 1)])
def test_close_may_be_a_plain_function_or_a_coroutine_function(close, seconds):
    @virtual
    async def test():
        things = Things()
        loop = asyncio.get_running_loop()
        async with pool_of(things, close=getattr(things, close)) as pool:
            thing = await use(pool)
            began = loop.time()
        assert thing.closed
        assert loop.time() - began == seconds

    test()


@virtual
async def test_a_strategy_made_of_functions_is_a_connection_strategy():
    strategy = ConnectionStrategy.from_functions(**Things().musts)
    assert isinstance(strategy, ConnectionStrategy)
    thing = await strategy.create_connection()
    assert not strategy.connection_is_closed(thing)
    assert strategy.connection_is_reusable(thing, ValueError())
    assert not strategy.connection_is_reusable(thing, TimeoutError())
    assert not strategy.failure_is_fatal(OSError())


@virtual
async def test_what_create_raises_reaches_the_caller_as_it_is():
    """C6."""
    error = OSError("refused")

    async def create():
        raise error

    pool = pool_of(Things(), create=create)
    assert await outcome(use(pool)) is error


@virtual
async def test_a_connection_is_reset_and_validated_by_the_functions_for_that():
    things = Things()
    async with pool_of(things, reset=things.reset, validate=things.validate, validate_after=10) as pool:
        thing = await use(pool)
        await asyncio.sleep(11)
        assert await use(pool) is thing
        await settle()
        assert thing.done == ["reset", "validate", "reset"]


@virtual
async def test_is_reusable_is_asked_at_every_return_and_has_the_say():
    """C9."""
    asked = []

    def is_reusable(thing, exc):
        asked.append((thing, exc))
        return exc is not None

    things = Things()
    async with pool_of(things, is_reusable=is_reusable) as pool:
        error = TimeoutError()
        with pytest.raises(TimeoutError):
            async with pool.get_connection() as first:
                raise error
        assert await use(pool) is first
        assert await use(pool) is not first
    assert asked[:2] == [(first, error), (first, None)]


@virtual
async def test_is_fatal_retires_what_was_open_before():
    things = Things()
    async with pool_of(things, max_size=2, is_fatal=lambda exc: isinstance(exc, OSError)) as pool:
        await idle(pool, 2)
        with pytest.raises(OSError, match="failover"):
            async with pool.get_connection():
                raise OSError("failover")
        await settle()
        assert pool.stats().size == 0


@virtual
async def test_abort_is_called_where_a_close_takes_too_long():
    async def never(thing):
        await asyncio.get_running_loop().create_future()

    things = Things()
    async with pool_of(things, close=never, abort=things.abort) as pool:
        thing = await use(pool)
    assert thing.done == ["abort"]


@virtual
async def test_functions_that_were_not_given_cost_nothing():
    """C2, C8: with a reset, or an answer at every return, leaving the block would do more."""
    strategy = ConnectionStrategy.from_functions(**Things().musts)
    for method in ("connection_is_reusable", "failure_is_fatal", "reset_connection", "abort_connection"):
        assert getattr(strategy, method).__func__ is getattr(ConnectionStrategy, method)


MUSTS = Things().musts


async def coroutine_function(*args):
    pass


@pytest.mark.parametrize(
    "name", ["create", "is_closed", "close", "is_reusable", "is_fatal", "reset", "validate", "abort"]
)
@pytest.mark.parametrize("value", [5, "close", [], object()], ids=["int", "str", "list", "object"])
def test_what_is_no_function_is_refused_at_once(name, value):
    with pytest.raises(TypeError, match=rf"^{name} must be a function, not ") as error:
        ConnectionStrategy.from_functions(**MUSTS | {name: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("name", ["create", "is_closed", "close"])
def test_what_is_a_must_may_be_neither_none_nor_left_out(name):
    with pytest.raises(TypeError, match=rf"^{name} must be a function, not None"):
        ConnectionStrategy.from_functions(**MUSTS | {name: None})
    with pytest.raises(TypeError, match=name):
        ConnectionStrategy.from_functions(**{other: MUSTS[other] for other in MUSTS if other != name})


@pytest.mark.parametrize("name", ["is_closed", "is_reusable", "is_fatal", "abort"])
def test_what_is_to_answer_at_once_may_be_no_coroutine_function(name):
    with pytest.raises(TypeError, match=rf"^{name} must be a plain function, .* not the coroutine function"):
        ConnectionStrategy.from_functions(**MUSTS | {name: coroutine_function})


@pytest.mark.parametrize(
    "name, value, takes",
    [
        ("create", lambda host: None, "no argument"),
        ("is_closed", lambda: None, "one argument"),
        ("is_closed", lambda conn, exc: None, "one argument"),
        ("close", lambda: None, "one argument"),
        ("is_reusable", lambda conn: None, "two arguments"),
        ("reset", lambda *, conn: None, "one argument"),
        ("create", FakeConnection, "no argument"),
        ("create", sqlite3.Connection.close, "no argument"),
    ],
    ids=range(8),
)
def test_what_cannot_be_called_as_it_will_be_is_refused_at_once(name, value, takes):
    with pytest.raises(TypeError, match=rf"^{name} is called with {takes}, which .* does not accept"):
        ConnectionStrategy.from_functions(**MUSTS | {name: value})


@pytest.mark.parametrize(
    "close", [lambda *args: None, partial(max, 1), dict.pop, type, sqlite3.Connection.close], ids=range(5)
)
def test_whatever_can_be_called_so_is_taken(close):
    ConnectionStrategy.from_functions(**MUSTS | {"close": close})


def test_functions_are_given_by_keyword():
    with pytest.raises(TypeError):
        ConnectionStrategy.from_functions(*MUSTS.values())


@pytest.mark.parametrize("method", ["reset", "validate"])
@virtual
async def test_a_reset_or_validation_that_returns_no_awaitable_is_told_so(method):
    strategy = ConnectionStrategy.from_functions(**MUSTS | {method: lambda conn: None})
    error = await outcome(getattr(strategy, f"{method}_connection")(None))
    assert isinstance(error, TypeError)
    assert str(error) == f"{method} must be a coroutine function; it returned None"


@virtual
async def test_a_create_that_returns_no_awaitable_is_told_so():
    pool = pool_of(Things(), create=Thing)
    error = await outcome(use(pool))
    assert isinstance(error, TypeError)
    assert "create_connection must be a coroutine function" in str(error)
