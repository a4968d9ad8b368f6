"""`ConnectionStrategy.from_blocking_functions`: a thread for each connection, for libraries that block; SQLite for one.

No test sleeps: what blocks a thread is an event that the test sets.
"""

from __future__ import annotations

import ast
import asyncio
import copy
import gc
import pickle
import sqlite3
import subprocess
import sys
import threading
import warnings
from contextvars import ContextVar

import pytest

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from forking import forks, in_child
from scenarios import outcome, use

CALLER = ContextVar("CALLER", default="nobody")
PATIENCE = 60
"""Seconds that pass only if something is wrong."""
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT begun() UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


class Blocking:
    """A connection of a library that blocks, which knows by which threads it was used."""

    def __init__(self):
        self.threads = []
        self.did("create")

    def did(self, what):
        self.threads.append((what, threading.get_ident()))


class Library:
    """What opens such connections, and blocks in `work` until it is told to go on."""

    def __init__(self):
        self.connections = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.running = 0
        self.most = 0
        self.broken = False

    def create(self):
        self.connections.append(Blocking())
        return self.connections[-1]

    def create_slowly(self):
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return self.create()

    def close(self, conn):
        conn.did("close")

    def work(self, conn, result=None):
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        self.running -= 1
        conn.did("work")
        return result

    def strategy(self, **options):
        return ConnectionStrategy.from_blocking_functions(**{"create": self.create, "close": self.close, **options})

    def pool(self, *, max_size=1, **options):
        return ConnectionPool(strategy=self.strategy(**options), max_size=max_size)


async def begun(event):
    """Wait until a thread has got so far."""
    assert await asyncio.to_thread(event.wait, PATIENCE)


async def abandon_call(pool, library):
    """Have a caller cancelled that waits for a call, which runs on."""
    caller = asyncio.create_task(call(pool, library.work))
    await begun(library.begun)
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()


async def call(pool, function, *args):
    async with pool.get_connection() as conn:
        return await conn.call(function, *args)


async def test_everything_is_done_in_the_connections_own_thread():
    library = Library()
    library.go_on.set()
    reset = []
    async with library.pool(max_size=2, reset=lambda conn: (reset.append(conn), conn.did("reset"))) as pool:
        async with pool.get_connection() as first, pool.get_connection() as second:
            assert await first.call(library.work, "result") == "result"
            assert await second.call(library.work, result=2) == 2
        async with pool.get_connection(), pool.get_connection():
            pass  # both have been reset
    one, other = library.connections
    assert [what for what, _ in one.threads[:3]] == ["create", "work", "reset"]
    assert one.threads[-1][0] == "close"
    threads = [{thread for _, thread in conn.threads} for conn in (one, other)]
    assert all(len(own) == 1 for own in threads)
    assert len(set.union(*threads) | {threading.get_ident()}) == 3


async def test_the_callers_context_variables_are_visible_in_the_thread():
    """C5."""
    seen = []
    library = Library()
    CALLER.set("me")
    async with library.pool(create=lambda: seen.append(CALLER.get()) or Blocking()) as pool:
        assert await call(pool, lambda conn: CALLER.get()) == "me"
    assert seen == ["me"]


@pytest.mark.parametrize("error", [ValueError("mine"), asyncio.CancelledError("mine"), BaseException("mine")], ids=repr)
async def test_what_a_call_raises_is_raised_where_it_is_awaited(error):
    def fail(conn):
        raise error

    async with Library().pool() as pool:
        with pytest.raises(type(error), match="mine"):
            await call(pool, fail)


async def test_who_uses_a_connection_as_if_it_were_the_librarys_own_is_told_how_to():
    conn = await Library().strategy().create_connection()
    assert not hasattr(conn, "execute")
    with pytest.raises(AttributeError) as error:
        conn.threads  # noqa: B018
    assert error.value.name == "threads"
    assert str(error.value) == (
        "ThreadConnection has no attribute 'threads': what the connection has is reached in its thread, "
        "by `await conn.call(lambda raw: raw.threads)`"
    )
    await conn.close(PATIENCE)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda function: function.__name__)
async def test_a_connection_has_no_double_which_would_close_it_when_it_is_forgotten(duplicate):
    conn = await Library().strategy().create_connection()
    with pytest.raises(TypeError, match=r"^ThreadConnection can be neither copied nor pickled: it has a thread$"):
        duplicate(conn)
    gc.collect()
    assert not conn.closed
    await conn.close(PATIENCE)


@pytest.mark.parametrize("function", [None, 5, "execute", outcome])
async def test_what_is_no_plain_function_cannot_be_called(function):
    conn = await Library().strategy().create_connection()
    with pytest.raises(TypeError, match=r"^call\(\) takes a plain function, which is given the connection, not "):
        await conn.call(function)
    assert not conn.busy
    await conn.close(PATIENCE)


async def test_a_call_that_raises_stop_iteration_strands_nobody():
    async with Library().pool() as pool:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await call(pool, lambda conn: next(iter(())))


async def test_what_create_raises_reaches_the_caller_and_its_thread_ends():
    """C6."""

    def refuse():
        threads.append(threading.current_thread())
        raise error

    threads = []
    error = OSError("refused")
    async with Library().pool(create=refuse) as pool:
        with pytest.raises(OSError, match="refused"):
            await use(pool)
        assert pool.stats().size == 0
    await asyncio.to_thread(threads[0].join, PATIENCE)
    assert not threads[0].is_alive()


async def test_a_connection_whose_abandoned_call_still_runs_is_not_handed_out():
    """C9: it is closed when the call has ended, its slot is taken until then (C1), and the next caller gets another."""
    library = Library()
    async with library.pool() as pool:
        await abandon_call(pool, library)
        stats = pool.stats()
        assert (stats.closing, stats.idle, stats.size) == (1, 0, 1)
        following = asyncio.create_task(use(pool))
        await asyncio.sleep(0)
        assert not following.done()
        library.go_on.set()
        conn = await following
        old, new = library.connections
        assert conn.raw is new
        assert [what for what, _ in old.threads] == ["create", "work", "close"]
    assert library.most == 1


async def test_one_call_at_a_time_runs_in_a_connection():
    library = Library()
    async with library.pool() as pool, pool.get_connection() as conn:
        calls = [asyncio.create_task(conn.call(library.work, n)) for n in range(5)]
        await begun(library.begun)
        assert conn.busy
        library.go_on.set()
        assert await asyncio.gather(*calls) == list(range(5))
        assert not conn.busy
    assert library.most == 1


async def test_a_call_that_has_not_begun_is_dropped_when_its_caller_is_cancelled():
    library = Library()
    done = []
    async with library.pool() as pool, pool.get_connection() as conn:
        first = asyncio.create_task(conn.call(library.work, "first"))
        second = asyncio.create_task(conn.call(done.append))
        await begun(library.begun)
        second.cancel()
        await asyncio.wait([second])
        assert second.cancelled()
        library.go_on.set()
        assert await first == "first"
        assert await conn.call(lambda conn: "third") == "third"
    assert not done


async def test_a_connection_whose_abandoned_call_has_ended_may_be_used_again():
    """C9: if its holder caught the cancellation, and stayed."""
    library = Library()
    async with library.pool() as pool:
        async with pool.get_connection() as first:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await first.call(library.work)
            library.go_on.set()
            await first.call(library.work)
        assert await use(pool) is first


async def test_is_reusable_is_asked_where_no_call_runs():
    """C9."""
    asked = []
    library = Library()
    library.go_on.set()
    async with library.pool(is_reusable=lambda conn, exc: asked.append((conn, exc))) as pool:
        await call(pool, library.work)
        library.go_on.clear()
        library.begun.clear()
        await abandon_call(pool, library)
        library.go_on.set()
    assert asked == [(library.connections[0], None)]


async def test_a_cancelled_open_is_waited_for_and_closed():
    """C1, C10: the server sees it until then."""
    library = Library()
    strategy = library.strategy(create=library.create_slowly)
    creation = asyncio.create_task(strategy.create_connection())
    await begun(library.begun)
    creation.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not creation.done()
    library.go_on.set()
    await asyncio.wait([creation])
    assert creation.cancelled()
    (conn,) = library.connections
    assert [what for what, _ in conn.threads] == ["create", "close"]


async def test_closing_has_a_bound():
    """C12."""
    library = Library()
    pool = library.pool(patience=0.01)
    await abandon_call(pool, library)
    await pool.close()
    assert pool.stats().size == 0
    library.go_on.set()


async def test_who_closes_is_told_of_a_thread_that_is_left_to_itself():
    library = Library()
    strategy = library.strategy(patience=0)
    conn = await strategy.create_connection()
    working = asyncio.create_task(conn.call(library.work))
    await begun(library.begun)
    with pytest.raises(TimeoutError, match=r"was not closed after 0 s; its thread is left to itself"):
        await strategy.close_connection(conn)
    with pytest.raises(ConnectionAbortedError, match="was closed while the call ran"):
        await working
    library.go_on.set()
    await conn.close(PATIENCE)
    assert library.connections[0].threads[-1][0] == "close"


async def test_an_open_that_cannot_be_closed_in_time_is_left_to_its_thread(caplog):
    library = Library()
    strategy = library.strategy(create=library.create_slowly, patience=0)
    creation = asyncio.create_task(strategy.create_connection())
    await begun(library.begun)
    creation.cancel()
    await asyncio.wait([creation])
    assert creation.cancelled()
    assert "could not be closed" in caplog.text
    library.go_on.set()


async def test_what_closing_raises_reaches_who_closes():
    def close(conn):
        raise OSError("goodbye")

    strategy = Library().strategy(close=close)
    conn = await strategy.create_connection()
    for _ in range(2):
        with pytest.raises(OSError, match="goodbye"):
            await strategy.close_connection(conn)


async def test_aborting_waits_for_nothing_and_frees_who_waits_for_a_call():
    library = Library()
    strategy = library.strategy()
    conn = await strategy.create_connection()
    *calls, cancelled = [asyncio.create_task(conn.call(library.work)) for _ in range(3)]
    await begun(library.begun)
    cancelled.cancel()
    strategy.abort_connection(conn)
    assert strategy.connection_is_closed(conn)
    for task in calls:
        with pytest.raises(ConnectionAbortedError):
            await task
    await asyncio.wait([cancelled])
    assert cancelled.cancelled()
    with pytest.raises(ConnectionAbortedError, match="can't be used any more"):
        await conn.call(library.work)
    library.go_on.set()
    await strategy.close_connection(conn)
    assert [what for what, _ in library.connections[0].threads] == ["create", "work", "close"]


async def test_interrupt_breaks_off_what_runs_in_a_connection_that_is_closed_and_nothing_else():
    library = Library()
    interrupted = []

    def interrupt(conn):
        interrupted.append(conn)
        library.go_on.set()

    async with library.pool(interrupt=interrupt) as pool:
        await abandon_call(pool, library)
        assert interrupted == library.connections
        await use(pool)
    assert len(interrupted) == 1


async def test_an_interrupt_that_fails_is_logged_and_the_call_waited_for(caplog):
    def interrupt(conn):
        library.go_on.set()
        raise OSError("no")

    library = Library()
    async with library.pool(interrupt=interrupt) as pool:
        await abandon_call(pool, library)
    assert "interrupting" in caplog.text


async def test_is_closed_looks_at_the_connection_itself():
    """C7."""
    library = Library()
    async with library.pool(is_closed=lambda conn: conn is library.broken) as pool:
        first = await use(pool)
        library.broken = first.raw
        assert await use(pool) is not first


async def test_a_connection_is_validated_in_its_thread():
    library = Library()
    strategy = library.strategy(validate=lambda conn: conn.did("validate"), is_fatal=lambda exc: True)
    conn = await strategy.create_connection()
    await strategy.validate_connection(conn)
    assert strategy.failure_is_fatal(OSError())
    await strategy.close_connection(conn)
    assert [what for what, _ in conn.raw.threads] == ["create", "validate", "close"]


async def test_the_threads_end_with_the_pool():
    """C13."""
    async with Library().pool(max_size=2) as pool, pool.get_connection() as first, pool.get_connection() as second:
        threads = [await conn.call(lambda raw: threading.current_thread()) for conn in (first, second)]
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()


async def test_the_thread_of_a_connection_that_is_forgotten_ends():
    library = Library()
    conn = await library.strategy().create_connection()
    thread = await conn.call(lambda raw: threading.current_thread())
    with pytest.warns(ResourceWarning, match="was not closed"):
        del conn  # the last reference to it
    await asyncio.to_thread(thread.join, PATIENCE)
    assert not thread.is_alive()
    assert library.connections[0].threads[-1][0] == "close"


def test_a_connection_of_a_loop_that_is_gone_is_closed_by_its_thread():
    """C11."""
    library = Library()
    library.go_on.set()
    pool = library.pool()
    threads = [asyncio.run(call(pool, lambda conn: threading.current_thread())) for _ in range(2)]
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()
    first, second = library.connections
    assert [what for what, _ in first.threads] == ["create", "close"]
    asyncio.run(pool.close())
    threads[1].join(PATIENCE)
    assert [what for what, _ in second.threads] == ["create", "close"]


async def test_a_connection_says_what_it_is_and_does():
    library = Library()
    strategy = library.strategy()
    conn = await strategy.create_connection()
    assert repr(conn).startswith("<ThreadConnection of <")
    assert repr(conn).endswith("Blocking object at " + repr(conn.raw).split(" at ")[1] + ", idle>")
    await strategy.close_connection(conn)
    assert repr(conn).endswith("closed, idle>")


@forks
async def test_c11_a_connection_of_the_parent_is_neither_used_nor_closed_in_a_forked_child():
    def child():
        nonlocal conn
        error = asyncio.run(outcome(conn.call(print)))
        with warnings.catch_warnings(record=True) as warned:
            conn = None  # the last reference to it
        return repr(error), done, warned

    done = []
    library = Library()
    conn = await library.strategy(interrupt=lambda raw: done.append("interrupt")).create_connection()
    caller = asyncio.create_task(conn.call(library.work))
    await begun(library.begun)
    caller.cancel()
    await asyncio.wait([caller])
    error, told, warned = ast.literal_eval(in_child(child))
    assert error.startswith("ConnectionAbortedError('<ThreadConnection of ")
    assert "belongs to the process that forked this one" in error
    assert (told, warned) == ([], [])
    library.go_on.set()
    await conn.close(PATIENCE)


async def test_where_no_thread_can_be_started_that_is_all_one_hears_of_it(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        error = await outcome(Library().strategy().create_connection())
    assert str(error) == "can't start new thread"
    del error
    gc.collect()  # warnings are errors


EXIT = """
import asyncio, threading, time
from asyncio_connection_pool import ConnectionPool, ConnectionStrategy

begun = threading.Event()

def work(conn):
    begun.set()
    time.sleep(3600)

async def main():
    strategy = ConnectionStrategy.from_blocking_functions(create=object, close=lambda conn: None, patience=0)
    async with ConnectionPool(strategy=strategy, max_size=1) as pool:
        async with pool.get_connection() as conn:
            call = asyncio.create_task(conn.call(work))
            await asyncio.to_thread(begun.wait)
            call.cancel()

asyncio.run(main())
print("end")
"""


def test_a_call_that_never_ends_does_not_keep_the_interpreter_from_its_exit():
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == "end\n"


@pytest.mark.parametrize(
    "name", ["create", "close", "is_closed", "is_reusable", "is_fatal", "reset", "validate", "interrupt"]
)
def test_what_is_no_plain_function_is_refused_at_once(name):
    async def coroutine_function(*args):
        pass

    with pytest.raises(TypeError, match=rf"^{name} must be a function, not 5 of type int"):
        Library().strategy(**{name: 5})
    with pytest.raises(TypeError, match=rf"^{name} must be a plain function, .* not the coroutine function"):
        Library().strategy(**{name: coroutine_function})


@pytest.mark.parametrize("patience, error", [("5", TypeError), (None, TypeError), (-1, ValueError), (True, TypeError)])
def test_a_bad_patience_is_refused_at_once(patience, error):
    with pytest.raises(error, match="patience must be"):
        Library().strategy(patience=patience)


# SQLite, which refuses to be used by a thread that did not open it.


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "shop.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE visits (name)")
    db.commit()
    db.close()
    return path


def sqlite_pool(path, **options):
    strategy = ConnectionStrategy.from_blocking_functions(
        create=lambda: sqlite3.connect(path, timeout=PATIENCE),
        close=sqlite3.Connection.close,
        reset=sqlite3.Connection.rollback,
        interrupt=sqlite3.Connection.interrupt,
    )
    return ConnectionPool(strategy=strategy, **options)


def visit(db, name):
    with db:
        db.execute("INSERT INTO visits VALUES (?)", (name,))
    return db.execute("SELECT count(*) FROM visits").fetchone()[0]


async def test_many_callers_share_few_sqlite_connections(database):
    async with sqlite_pool(database, max_size=3) as pool:
        counts = await asyncio.gather(*(call(pool, visit, f"caller {n}") for n in range(30)))
        assert pool.stats().created <= 3
    assert max(counts) == 30


async def test_a_transaction_that_is_left_open_is_rolled_back(database):
    async with sqlite_pool(database, max_size=1) as pool:
        await call(pool, lambda db: db.execute("INSERT INTO visits VALUES ('lost')"))
        assert await call(pool, visit, "kept") == 1
        assert pool.stats().created == 1


async def test_a_query_that_is_given_up_is_interrupted_and_its_connection_closed(database):
    """C9."""

    def never_end(db):
        db.create_function("begun", 0, lambda: running.set() or 1)
        db.execute(ENDLESS).fetchone()

    running = threading.Event()
    async with sqlite_pool(database, max_size=1) as pool:
        caller = asyncio.create_task(call(pool, never_end))
        await begun(running)
        caller.cancel()
        assert await call(pool, visit, "next") == 1
        stats = pool.stats()
        assert (stats.created, stats.closed["dirty"]) == (2, 1)
