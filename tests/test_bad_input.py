"""Bad input is a clear error, and nothing is lost by it.

Clear: the message says what was given, what is allowed, and so what to do. Odd input that is allowed is here as well.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction

import pytest

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy, PoolClosedError
from asyncio_connection_pool.testing import FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Halt, callers, hold, idle, leave_all, settle, step, use

COUNTS = ["max_size", "burst_limit", "max_waiting", "max_connecting"]
SECONDS = ["acquire_timeout", "connect_timeout", "close_timeout", "shrink_delay"]


class Index:
    """What numpy's integers are like."""

    def __index__(self):
        return 3


def build(**options):
    return ConnectionPool(**({"strategy": FakeStrategy(), "max_size": 1} | options))


# Arguments.


@pytest.mark.parametrize("option", COUNTS)
@pytest.mark.parametrize("value", ["3", 3.0, True, False, [3], object, Decimal(3), math.nan], ids=repr)
def test_a_count_of_the_wrong_type_is_a_typeerror_that_names_it(option, value):
    with pytest.raises(TypeError) as error:
        build(**{option: value})
    assert option in str(error.value)
    assert repr(value) in str(error.value)
    assert "int" in str(error.value)


@pytest.mark.parametrize(
    "option, value, least",
    [
        ("max_size", -1, 0),
        ("max_size", 0, 1),
        ("burst_limit", 0, 1),
        ("burst_limit", -5, 1),
        ("max_waiting", -1, 0),
        ("max_connecting", 0, 1),
        ("max_connecting", -1, 1),
    ],
)
def test_a_count_out_of_range_is_a_valueerror_that_says_what_is_allowed(option, value, least):
    with pytest.raises(ValueError, match=f"{option} must be at least {least}.*not {value}"):
        build(**{option: value})


def test_max_size_may_not_be_none():
    with pytest.raises(TypeError, match="max_size must be an int, not None"):
        build(max_size=None)


@pytest.mark.parametrize("option", SECONDS)
@pytest.mark.parametrize("value", ["5", True, [1], {}, 1j], ids=repr)
def test_seconds_of_the_wrong_type_are_a_typeerror_that_names_them(option, value):
    with pytest.raises(TypeError, match=f"{option} must be a number of seconds") as error:
        build(**{option: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("option", SECONDS)
@pytest.mark.parametrize("value", [-1, -0.001, math.inf, -math.inf, math.nan])
def test_seconds_out_of_range_are_a_valueerror_that_says_what_is_allowed(option, value):
    with pytest.raises(ValueError, match=f"{option} must be finite and not negative, not {value}"):
        build(**{option: value})


@pytest.mark.parametrize("option", SECONDS[:-1])
def test_the_error_says_that_none_is_allowed_where_it_is(option):
    with pytest.raises(ValueError, match="None"):
        build(**{option: -1})
    build(**{option: None})


def test_shrink_delay_may_not_be_none():
    with pytest.raises(TypeError, match="shrink_delay"):
        build(shrink_delay=None)


def test_a_burst_limit_below_max_size_is_named_in_the_words_of_1_x():
    with pytest.raises(ValueError, match="burst_limit must be greater than or equal to max_size") as error:
        build(max_size=5, burst_limit=4)
    assert "4" in str(error.value)
    assert "5" in str(error.value)


@pytest.mark.parametrize("name", [5, b"things", ["things"]])
def test_a_name_has_to_be_a_string(name):
    with pytest.raises(TypeError, match="name must be a str or None, not "):
        build(name=name)


def test_arguments_are_given_by_keyword():
    with pytest.raises(TypeError):
        ConnectionPool(FakeStrategy(), 1)


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="maxsize"):
        build(maxsize=3)


@pytest.mark.parametrize(
    "options",
    [
        {"max_size": Index(), "burst_limit": Index()},
        {"max_size": 0, "burst_limit": 1},
        {"max_size": 1, "burst_limit": 1},
        {"max_size": 10**9},
        {"max_waiting": 0},
        {"max_connecting": 1},
        {"name": ""},
        {"name": "things"},
        *({option: value} for option in SECONDS for value in (0, 0.5, 7, 10**6)),
    ],
)
def test_what_is_allowed_is_allowed(options):
    pool = build(**options)
    assert pool.stats().name == pool.name
    assert pool.stats().max_size == pool.max_size


@pytest.mark.parametrize("value", [Fraction(1, 2), Decimal("0.5")], ids=repr)
def test_seconds_are_ints_or_floats(value):
    with pytest.raises(TypeError, match="acquire_timeout"):
        build(acquire_timeout=value)


def test_a_pool_without_a_name_is_given_one_of_its_own():
    assert build().name != build().name


@pytest.mark.parametrize("timeout", ["5", True, [1]], ids=repr)
def test_a_timeout_of_the_wrong_type_is_a_typeerror(timeout):
    with pytest.raises(TypeError, match=r"timeout must be a number of seconds.*None"):
        build().get_connection(timeout=timeout)


@pytest.mark.parametrize("timeout", [-1, math.inf, math.nan])
def test_a_timeout_out_of_range_is_a_valueerror(timeout):
    with pytest.raises(ValueError, match=r"timeout must be finite and not negative.*None"):
        build().get_connection(timeout=timeout)


@pytest.mark.parametrize("timeout, error", [("5", TypeError), (-1, ValueError), (math.nan, ValueError)])
async def test_a_bad_timeout_of_close_closes_nothing(timeout, error):
    pool = build()
    await idle(pool, 1)
    with pytest.raises(error, match="timeout"):
        await pool.close(timeout)
    assert not pool.closed
    await use(pool)


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("max_size", "5", TypeError),
        ("max_size", True, TypeError),
        ("max_size", None, TypeError),
        ("max_size", -1, ValueError),
        ("max_size", 9, ValueError),
        ("burst_limit", 1, ValueError),
        ("burst_limit", 0, ValueError),
        ("burst_limit", 4.0, TypeError),
    ],
)
async def test_a_bad_limit_that_is_assigned_changes_nothing(name, value, error):
    pool = build(max_size=2, burst_limit=4)
    conns = await idle(pool, 2)
    with pytest.raises(error, match=name):
        setattr(pool, name, value)
    assert (pool.max_size, pool.burst_limit, pool.stats().limit) == (2, 4, 4)
    await settle()
    assert pool.strategy.open == conns
    check_settled(pool)


def test_a_max_size_of_zero_cannot_lose_its_burst_limit():
    pool = build(max_size=0, burst_limit=2)
    with pytest.raises(ValueError, match="max_size must be at least 1"):
        pool.burst_limit = None
    assert pool.burst_limit == 2


@pytest.mark.parametrize("name", ["name", "closed", "strategy"])
def test_what_cannot_change_cannot_be_assigned(name):
    with pytest.raises(AttributeError):
        setattr(build(), name, None)


# Strategies.


class Duck:
    """A strategy that is no `ConnectionStrategy`."""

    async def create_connection(self):
        return object()

    def connection_is_closed(self, conn):
        return False

    async def close_connection(self, conn):
        pass


def without(method):
    members = {name: member for name, member in vars(Duck).items() if name != method and not name.startswith("__")}
    return type("Partial", (), members)()


METHODS = ["create_connection", "connection_is_closed", "close_connection"]


@pytest.mark.parametrize("method", METHODS)
def test_a_strategy_that_lacks_a_method_is_told_which(method):
    with pytest.raises(TypeError, match=method) as error:
        build(strategy=without(method))
    assert "Partial" in str(error.value)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_cannot_be_called_is_none(method):
    strategy = Duck()
    setattr(strategy, method, None)
    with pytest.raises(TypeError, match=method):
        build(strategy=strategy)


@pytest.mark.parametrize("method", METHODS)
def test_a_subclass_that_lacks_a_method_is_told_which_when_it_is_called(method):
    members = {name: vars(Duck)[name] for name in METHODS if name != method}
    partial = type("Partial", (ConnectionStrategy,), members)
    with pytest.raises(TypeError, match=method):
        partial()


def test_a_strategy_has_to_be_an_instance():
    with pytest.raises(TypeError, match=r"FakeStrategy.*call it"):
        build(strategy=FakeStrategy)


@pytest.mark.parametrize("strategy", [None, 5, "redis://", object()])
def test_a_strategy_has_to_be_one(strategy):
    with pytest.raises(TypeError, match="strategy"):
        build(strategy=strategy)


@pytest.mark.parametrize("method", ["connection_is_closed", "connection_is_reusable"])
def test_a_question_that_is_a_coroutine_function_is_refused_at_construction(method):
    async def question(self, conn, exc=None):
        return False

    strategy = type("Asynchronous", (FakeStrategy,), {method: question})()
    with pytest.raises(TypeError, match=rf"Asynchronous\.{method} must be a plain function that returns a bool"):
        build(strategy=strategy)


class Awaitables(FakeStrategy):
    """Answers questions with what has to be awaited, but hides that until it is asked."""

    def __init__(self, make, *, question):
        super().__init__()
        self.make = make
        self.question = question
        self.made: list = []

    def answer(self, question):
        if self.question != question or self.made:
            return question == "reusable"
        self.made.append(self.make())
        return self.made[-1]

    def connection_is_closed(self, conn):
        return conn.closed or self.answer("closed")

    def connection_is_reusable(self, conn, exc):
        return self.answer("reusable")


async def no():
    return False


def future():
    return asyncio.get_running_loop().create_future()


class Awaitable:
    def __await__(self):
        yield


makes = pytest.mark.parametrize("make", [no, future, Awaitable], ids=["coroutine", "future", "object"])


@makes
async def test_an_awaitable_for_an_answer_about_an_idle_connection_is_a_typeerror(make):
    strategy = Awaitables(make, question=None)
    pool = build(strategy=strategy)
    await idle(pool, 1)
    strategy.question = "closed"
    with pytest.raises(TypeError, match="connection_is_closed must be a plain function"):
        await use(pool)
    await settle()
    assert not strategy.open
    await use(pool)
    check_settled(pool)


@makes
async def test_an_awaitable_for_an_answer_about_a_new_connection_is_a_typeerror(make):
    strategy = Awaitables(make, question="closed")
    pool = build(strategy=strategy)
    with pytest.raises(TypeError, match="connection_is_closed must be a plain function"):
        await use(pool)
    await settle()
    assert not strategy.open
    await use(pool)
    check_settled(pool)


@makes
async def test_an_awaitable_for_an_answer_at_a_hand_over_is_a_typeerror(make):
    strategy = Awaitables(make, question=None)
    pool = build(strategy=strategy)
    holder, waiter = await callers(pool, 2)
    strategy.question = "closed"
    with pytest.raises(TypeError, match="connection_is_closed must be a plain function"):
        await holder.leave()
    await settle()
    assert waiter.entered
    assert strategy.open == [waiter.conn]
    await waiter.leave()
    check_settled(pool)


@makes
async def test_an_awaitable_for_an_answer_about_reuse_is_a_typeerror(make):
    strategy = Awaitables(make, question="reusable")
    pool = build(strategy=strategy)
    with pytest.raises(TypeError, match="connection_is_reusable must be a plain function"):
        await use(pool)
    await settle()
    assert not strategy.open
    await use(pool)
    check_settled(pool)


@makes
async def test_an_awaitable_for_an_answer_about_reuse_does_not_hide_what_the_block_raised(make, caplog):
    strategy = Awaitables(make, question="reusable")
    pool = build(strategy=strategy)
    with pytest.raises(ValueError, match="mine"):
        async with pool.get_connection():
            raise ValueError("mine")
    await settle()
    assert "connection_is_reusable" in caplog.text
    assert not strategy.open
    check_settled(pool)


async def test_a_create_connection_that_is_no_coroutine_function_is_a_typeerror():
    class Strategy(FakeStrategy):
        def create_connection(self):
            return conn

    conn = await FakeStrategy().create_connection()
    pool = build(strategy=Strategy())
    with pytest.raises(TypeError, match="create_connection must be a coroutine function"):
        await use(pool)
    await settle()
    assert conn.closed
    check_settled(pool)


# Using it wrongly.


async def test_get_connection_of_a_closed_pool_raises_when_it_is_entered():
    pool = build(name="things")
    await pool.close()
    lease = pool.get_connection()
    with pytest.raises(PoolClosedError, match="pool 'things' is closed"):
        await lease.__aenter__()


@pytest.mark.parametrize("thing", [None, 5, "conn", object()])
async def test_what_is_no_connection_cannot_be_discarded(thing):
    pool = build(name="things")
    with pytest.raises(ValueError, match="'things' has no such connection in use") as error:
        pool.discard(thing)
    assert repr(thing) in str(error.value)
    async with pool.get_connection():
        with pytest.raises(ValueError, match="discard"):
            pool.discard(thing)
    check_settled(pool)
    assert pool.stats().idle == 1


async def test_an_idle_connection_cannot_be_discarded():
    pool = build()
    conn = await use(pool)
    with pytest.raises(ValueError, match="has not ended"):
        pool.discard(conn)
    assert await use(pool) is conn
    check_settled(pool)


async def test_a_block_cannot_be_left_twice():
    pool = build()
    lease = pool.get_connection()
    conn = await lease.__aenter__()
    await lease.__aexit__(None, None, None)
    with pytest.raises(RuntimeError, match="left already"):
        await lease.__aexit__(None, None, None)
    check_settled(pool)
    assert pool.stats().released == 1
    assert await use(pool) is conn


async def test_leaving_twice_takes_nothing_from_who_has_the_connection_now():
    pool = build()
    lease = pool.get_connection()
    await lease.__aenter__()
    await lease.__aexit__(None, None, None)
    (holder,) = await hold(pool)
    with pytest.raises(RuntimeError):
        await lease.__aexit__(None, None, None)
    assert pool.stats().in_use == 1
    await holder.leave()
    check_settled(pool)


async def test_a_block_that_was_never_entered_cannot_be_left():
    pool = build()
    with pytest.raises(RuntimeError, match="not entered"):
        await pool.get_connection().__aexit__(None, None, None)
    check_settled(pool)


async def test_a_block_cannot_be_entered_twice():
    pool = build(max_size=2)
    lease = pool.get_connection()
    await lease.__aenter__()
    with pytest.raises(RuntimeError, match="entered already"):
        await lease.__aenter__()
    assert pool.stats().in_use == 1
    await lease.__aexit__(None, None, None)
    check_settled(pool)


async def test_a_block_cannot_be_entered_twice_at_the_same_time():
    pool = build(max_size=2)
    lease = pool.get_connection()
    results = await asyncio.gather(lease.__aenter__(), lease.__aenter__(), return_exceptions=True)
    assert sum(isinstance(result, RuntimeError) for result in results) == 1
    check(pool)
    assert pool.stats().in_use == 1
    await lease.__aexit__(None, None, None)
    await settle()
    check_settled(pool)


async def test_a_block_that_failed_to_enter_can_be_entered_again():
    pool = build(strategy=FakeStrategy(create=[OSError("refused")]))
    lease = pool.get_connection()
    with pytest.raises(OSError, match="refused"):
        await lease.__aenter__()
    with pytest.raises(RuntimeError, match="not entered"):
        await lease.__aexit__(None, None, None)
    await lease.__aenter__()
    await lease.__aexit__(None, None, None)
    check_settled(pool)


async def test_optional_methods_that_are_not_overridden_are_never_called(monkeypatch):
    def refuse(*args):
        raise AssertionError("not overridden")

    for method in ("connection_is_reusable", "reset_connection", "validate_connection", "abort_connection"):
        monkeypatch.setattr(ConnectionStrategy, method, refuse)
    pool = build(max_size=1, burst_limit=2, close_timeout=100)
    await leave_all(await callers(pool, 4))
    await use(pool)
    (holder,) = await hold(pool)
    await pool.close(timeout=0)
    await holder.leave()
    await settle()
    check_settled(pool)


# An event loop that refuses tasks, as one whose task factory fails.


class NoTasksError(Exception):
    pass


@contextmanager
def no_tasks():
    def refuse(loop, coro, **options):
        coro.close()
        raise NoTasksError

    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(refuse)
    try:
        yield
    finally:
        loop.set_task_factory(before)


@pytest.mark.parametrize("options", [{}, {"connect_timeout": 100}])
async def test_an_open_that_cannot_start_is_told_to_its_caller(options):
    pool = build(**options)
    lease = pool.get_connection()
    with no_tasks(), pytest.raises(NoTasksError):
        await lease.__aenter__()
    check_settled(pool)
    await use(pool)


async def test_a_close_that_cannot_start_frees_its_slot_and_raises_at_the_exit():
    pool = build(max_size=0, burst_limit=1)
    lease = pool.get_connection()
    await lease.__aenter__()
    with no_tasks(), pytest.raises(NoTasksError):
        await lease.__aexit__(None, None, None)
    check_settled(pool)
    await use(pool)


async def test_a_reset_that_cannot_start_frees_its_slot_and_raises_at_the_exit():
    pool = build(strategy=FullFakeStrategy())
    lease = pool.get_connection()
    await lease.__aenter__()
    with no_tasks(), pytest.raises(NoTasksError):
        await lease.__aexit__(None, None, None)
    check_settled(pool)
    await use(pool)
    await settle()


# Odd connections.


class Hostile:
    """Falsy if it were asked, and it does not want to be asked anything."""

    def __bool__(self):
        raise Halt("truth value")

    def __eq__(self, other):
        raise Halt("comparison")

    __hash__ = None
    __ne__ = __lt__ = __len__ = __iter__ = __contains__ = __await__ = __eq__


class Same(Hostile):
    """Equal to everything."""

    def __eq__(self, other):
        return True

    __hash__ = None


class Objects(ConnectionStrategy):
    """Opens whatever it is told to, and keeps a record by identity."""

    def __init__(self, make):
        self.make = make
        self.closed: list[int] = []

    async def create_connection(self):
        return self.make()

    def connection_is_closed(self, conn):
        return False

    async def close_connection(self, conn):
        self.closed.append(id(conn))


class Optional(Objects):
    def connection_is_reusable(self, conn, exc):
        return True

    async def reset_connection(self, conn):
        pass

    def abort_connection(self, conn):
        pass


ODD = {
    "None": lambda: None,
    "zero": lambda: 0,
    "an empty string": lambda: "",
    "an unhashable": list,
    "NotImplemented": lambda: NotImplemented,
    "hostile": Hostile,
    "equal to all": Same,
    "one object for all": lambda one=object(): one,  # noqa: B008
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
@pytest.mark.parametrize("kind", [Objects, Optional])
async def test_a_connection_may_be_any_object(make, kind):
    """Falsy, unhashable, hostile, None, equal or identical to another: it takes every way through a pool."""
    strategy = kind(make)
    pool = build(strategy=strategy, max_size=1, burst_limit=3)
    people = await callers(pool, 6)
    for caller in people[:2]:
        pool.discard(caller.conn)
    await leave_all(people[:3])
    people[3].leave(TimeoutError())
    await settle()
    await leave_all(people[4:])
    assert isinstance(people[3].error, TimeoutError)
    assert all(caller.entered for caller in people)
    check_settled(pool)
    assert pool.stats().idle == 1
    await use(pool)
    await settle()
    await pool.close()
    assert len(strategy.closed) == pool.stats().created
    check_settled(pool)


async def test_discard_finds_a_connection_by_identity():
    strategy = Objects(Same)
    pool = build(strategy=strategy, max_size=2)
    first, second = await hold(pool, 2)
    pool.discard(second.conn)
    await leave_all([first, second])
    assert strategy.closed == [id(second.conn)]


async def test_where_one_object_is_the_connection_of_several_blocks_each_discard_is_for_one():
    one = object()
    strategy = Objects(lambda: one)
    pool = build(strategy=strategy, max_size=3)
    holders = await hold(pool, 3)
    pool.discard(one)
    pool.discard(one)
    await leave_all(holders)
    assert len(strategy.closed) == 2
    assert pool.stats().idle == 1
    check_settled(pool)


async def test_a_connection_that_is_none_is_entered_without_a_step():
    pool = build(strategy=Objects(lambda: None))
    await use(pool)
    assert step(pool.get_connection().__aenter__()) is None
