"""`ConnectionStrategy.from_context_manager`: each connection is a context, which lives in a task of its own."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pytest

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from scenarios import Halt, hold, idle, outcome, run_virtual, settle, use, virtual, virtual_loop

CALLER = ContextVar("CALLER", default="nobody")


class Room:
    """What a context gives."""

    def __init__(self):
        self.task = asyncio.current_task()
        self.caller = CALLER.get()
        self.left_with = "not left"
        self.closed = False


class Rooms:
    """A service whose connections are contexts."""

    def __init__(self, *, opening=0, closing=0, failure=None):
        self.opening = opening
        self.closing = closing
        self.failure = failure
        self.half_open = 0
        self.rooms = []

    @asynccontextmanager
    async def __call__(self):
        self.half_open += 1
        try:
            await asyncio.sleep(self.opening)
            room = Room()
        finally:
            self.half_open -= 1
        self.rooms.append(room)
        try:
            yield room
        except BaseException as error:
            room.left_with = error
            raise
        else:
            room.left_with = None
        finally:
            assert asyncio.current_task() is room.task
            await asyncio.sleep(self.closing)
            if self.failure is not None:
                raise self.failure

    def pool(self, **options):
        functions = {name: options.pop(name) for name in ("is_closed", "reset", "abort") if name in options}
        strategy = ConnectionStrategy.from_context_manager(self, **functions)
        return ConnectionPool(strategy=strategy, **{"max_size": 1, **options})


@virtual
async def test_a_connection_is_entered_and_left_in_one_task_of_its_own():
    rooms = Rooms(opening=1, closing=1)
    async with rooms.pool(max_size=2) as pool:
        first, second = await idle(pool, 2)
        assert len({first.task, second.task, asyncio.current_task()}) == 3
        assert (first.left_with, second.left_with) == ("not left", "not left")
    assert (first.left_with, second.left_with) == (None, None)


@virtual
async def test_the_task_ends_with_the_connection():
    """C13."""
    rooms = Rooms(closing=1)
    async with rooms.pool() as pool:
        before = asyncio.all_tasks()
        room = await use(pool)
        assert asyncio.all_tasks() - before == {room.task}
    assert asyncio.all_tasks() == before
    assert room.task.done()


@virtual
async def test_what_entering_raises_reaches_the_caller_as_it_is():
    """C6."""

    @asynccontextmanager
    async def refuse():
        raise error
        yield

    for error in (OSError("refused"), asyncio.CancelledError("mine"), Halt()):
        pool = ConnectionPool(strategy=ConnectionStrategy.from_context_manager(refuse), max_size=1)
        with pytest.raises(type(error)) as raised:
            await use(pool)
        assert raised.value.args == error.args
        assert pool.stats().size == 0


@virtual
async def test_what_leaving_raises_reaches_who_closes():
    """C8."""
    rooms = Rooms(failure=OSError("goodbye"))
    pool = rooms.pool(max_size=0, burst_limit=1)
    assert await outcome(use(pool)) is rooms.failure
    strategy = ConnectionStrategy.from_context_manager(rooms)
    room = await strategy.create_connection()
    assert await outcome(strategy.close_connection(room)) is rooms.failure
    await strategy.close_connection(room)


@virtual
async def test_the_callers_context_variables_are_visible():
    """C5."""
    CALLER.set("me")
    assert (await use(Rooms().pool())).caller == "me"


@virtual
async def test_a_connection_whose_context_ends_by_itself_is_closed():
    """C7: and what it ended with is raised when it is closed, which the pool does."""
    rooms = Rooms(closing=1)
    async with rooms.pool() as pool:
        first = await use(pool)
        first.task.cancel()
        await settle()
        assert pool.strategy.connection_is_closed(first), "though it is still being left"
        assert await use(pool) is not first
    assert isinstance(first.left_with, asyncio.CancelledError)


@virtual
async def test_what_a_context_ended_with_by_itself_reaches_who_closes_it():
    class LostError(Exception):
        pass

    @asynccontextmanager
    async def losing():
        async with asyncio.TaskGroup() as group:
            group.create_task(lose())
            yield "conn"

    async def lose():
        await asyncio.sleep(1)
        raise LostError

    strategy = ConnectionStrategy.from_context_manager(losing)
    conn = await strategy.create_connection()
    assert not strategy.connection_is_closed(conn)
    await asyncio.sleep(2)
    assert strategy.connection_is_closed(conn)
    error = await outcome(strategy.close_connection(conn))
    assert isinstance(error, ExceptionGroup)
    assert isinstance(error.exceptions[0], LostError)


@virtual
async def test_a_cancelled_opening_is_waited_for_and_leaves_nothing():
    """C10: at whatever stage, the very tick in which the context is there included."""
    for ticks in range(12):
        rooms = Rooms(closing=1)
        strategy = ConnectionStrategy.from_context_manager(rooms)
        task = asyncio.create_task(strategy.create_connection())
        await settle(ticks)
        if task.done():
            await strategy.close_connection(task.result())
            break
        task.cancel()
        assert isinstance(await outcome(task), asyncio.CancelledError)
        assert task.cancelled()
        assert rooms.half_open == 0
        assert all(room.task.done() for room in rooms.rooms)
    else:
        pytest.fail("never opened")
    assert ticks >= 3


@virtual
async def test_a_second_cancellation_reaches_a_context_that_is_slow_to_leave():
    @asynccontextmanager
    async def slow():
        yield asyncio.current_task()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(3600)

    strategy = ConnectionStrategy.from_context_manager(slow)
    task = await strategy.create_connection()
    closing = asyncio.create_task(strategy.close_connection(task))
    for _ in range(2):
        await settle()
        assert not closing.done()
        closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert task.cancelled()
    assert asyncio.get_running_loop().time() == 0


@virtual
async def test_a_context_that_does_not_let_itself_be_cancelled_hides_no_cancellation():
    """C10."""

    @asynccontextmanager
    async def stubborn():
        yield "conn"
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    strategy = ConnectionStrategy.from_context_manager(stubborn)
    closing = asyncio.create_task(strategy.close_connection(await strategy.create_connection()))
    await settle()
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert asyncio.get_running_loop().time() == 1


@virtual
async def test_a_context_that_is_entered_though_it_was_cancelled_is_left_at_once():
    """C10."""

    @asynccontextmanager
    async def stubborn():
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        yield "conn"
        left.append("conn")

    left = []
    strategy = ConnectionStrategy.from_context_manager(stubborn)
    opening = asyncio.create_task(strategy.create_connection())
    await settle()
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert left == ["conn"]


@virtual
async def test_aborting_cancels_the_task_and_waits_for_nothing():
    rooms = Rooms()
    strategy = ConnectionStrategy.from_context_manager(rooms)
    room = await strategy.create_connection()
    strategy.abort_connection(room)
    strategy.abort_connection(room)
    assert strategy.connection_is_closed(room)
    await strategy.close_connection(room)
    assert room.task.done()
    assert room.task.cancelling() == 1
    strategy.abort_connection(room)


@virtual
async def test_a_close_that_takes_too_long_is_aborted():
    rooms = Rooms(closing=3600)
    async with rooms.pool(close_timeout=5) as pool:
        room = await use(pool)
    assert asyncio.get_running_loop().time() < 3600 + 10
    await asyncio.wait([room.task])


@virtual
async def test_what_leaving_raises_after_an_abort_is_nobodys_business():
    """Asyncio would complain of an exception that nobody retrieves."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    rooms = Rooms(failure=OSError("goodbye"))
    strategy = ConnectionStrategy.from_context_manager(rooms)
    room = await strategy.create_connection()
    strategy.abort_connection(room)
    await settle()
    assert room.task.done()
    del room, rooms.rooms[:]
    await settle()
    assert not complaints


@virtual
async def test_a_pool_closed_in_a_hurry_cancels_what_is_in_use():
    """C12."""
    rooms = Rooms()
    pool = rooms.pool()
    (holder,) = await hold(pool)
    await pool.close(timeout=5)
    await settle()
    assert holder.conn.task.done()
    await holder.leave()


@virtual
async def test_connections_may_be_one_and_the_same_object_or_unhashable():
    for shared in (None, [], {}):
        seen = []

        @asynccontextmanager
        async def context(shared=shared, seen=seen):
            seen.append("enter")
            yield shared
            await asyncio.sleep(1)
            seen.append("leave")

        pool = ConnectionPool(strategy=ConnectionStrategy.from_context_manager(context), max_size=3)
        await idle(pool, 3)
        assert seen == ["enter"] * 3
        async with pool.get_connection() as conn:
            pool.discard(conn)
        await asyncio.sleep(0.5)
        assert pool.stats().size == 3
        assert not pool.strategy.connection_is_closed(conn), "those that nobody closes are not"
        await asyncio.sleep(1)
        assert (seen.count("leave"), pool.stats().size) == (1, 2)
        await pool.close()
        assert seen.count("leave") == 3


@virtual
async def test_the_functions_that_may_be_given_are_asked_besides():
    done = []

    async def reset(room):
        done.append("reset")

    rooms = Rooms()
    pool = rooms.pool(is_closed=lambda room: room.closed, reset=reset, abort=lambda room: done.append("abort"))
    first = await use(pool)
    first.closed = True
    second = await use(pool)
    assert second is not first
    await settle()
    assert done == ["reset", "reset"]
    pool.strategy.abort_connection(second)
    assert done == ["reset", "reset", "abort"]
    await pool.close()


def test_at_the_end_of_its_loop_each_context_is_left():
    """C11: `asyncio.run` cancels every task, and then the pool starts anew in the next loop."""
    rooms = Rooms(closing=1)
    pool = rooms.pool()
    first = run_virtual(use(pool))
    assert isinstance(first.left_with, asyncio.CancelledError)
    second = run_virtual(use(pool))
    assert second is not first


def test_a_loop_that_is_closed_without_that_strands_nothing_in_the_next_one():
    """C11: Python complains of the task that was left, and rightly so."""

    @asynccontextmanager
    async def context():
        yield object()

    complaints, aborted = [], []
    strategy = ConnectionStrategy.from_context_manager(context, abort=aborted.append)
    pool = ConnectionPool(strategy=strategy, max_size=1)
    loop = virtual_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(context["message"]))
    first = loop.run_until_complete(use(pool))
    loop.close()
    second = run_virtual(use(pool))
    assert second is not first
    assert aborted == [first]
    assert strategy.connection_is_closed(first)
    gc.collect()
    assert complaints == ["Task was destroyed but it is pending!"]


@pytest.mark.parametrize("factory", [None, 5, "room", object()])
def test_what_is_no_factory_is_refused_at_once(factory):
    with pytest.raises(TypeError, match=r"^factory must be a function, not "):
        ConnectionStrategy.from_context_manager(factory)


def test_a_context_in_the_place_of_a_factory_is_refused_at_once():
    with pytest.raises(TypeError, match=r"^factory is called with no argument, which .* does not accept"):
        ConnectionStrategy.from_context_manager(Rooms()())


@pytest.mark.parametrize("name", ["is_closed", "is_reusable", "is_fatal", "reset", "validate", "abort"])
def test_an_option_that_is_no_function_is_refused_at_once(name):
    with pytest.raises(TypeError, match=rf"^{name} must be a function, not 5 of type int"):
        ConnectionStrategy.from_context_manager(Rooms(), **{name: 5})


@pytest.mark.parametrize(
    "factory, words",
    [
        (dict, "factory must return an asynchronous context manager, not {}"),
        (lambda: asyncio.sleep(1), "take from_functions(create=...) for what is awaited"),
    ],
    ids=["dict", "coroutine"],
)
@virtual
async def test_what_the_factory_makes_has_to_be_an_async_context_manager(factory, words):
    pool = ConnectionPool(strategy=ConnectionStrategy.from_context_manager(factory), max_size=1)
    error = await outcome(use(pool))
    assert isinstance(error, TypeError)
    assert str(error).endswith(words)
