"""Spans: entered and left in the context of the caller, or of the task that opens on its behalf."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from ageing import Server
from asyncio_connection_pool import ConnectionPool, PoolObserver
from diary import Diary
from scenarios import callers, hold, leave_all, outcome, settle, use, virtual

parent: ContextVar[str] = ContextVar("parent", default="nobody")


class Tracer(PoolObserver):
    """Keeps the parent of the current span in a context variable, as tracers do."""

    def __init__(self):
        self.parents = []

    @contextmanager
    def span(self, name):
        self.parents.append((name, parent.get()))
        token = parent.set(name)
        try:
            yield
        finally:
            parent.reset(token)

    def acquiring_span(self, pool):
        return self.span("acquiring")

    def waiting_span(self, pool):
        return self.span("waiting")

    def opening_span(self, pool):
        return self.span("opening")


@virtual
async def test_spans_have_the_parents_that_one_expects():
    tracer = Tracer()
    pool = ConnectionPool(strategy=Server(create=[1]), max_size=1, observers=[tracer])

    async def request(name):
        parent.set(name)
        async with pool.get_connection():
            assert parent.get() == name, "the spans of the pool have ended"
            await asyncio.sleep(1)

    await asyncio.gather(request("a"), request("b"))
    await asyncio.create_task(request("c"))
    assert Counter(tracer.parents) == {
        ("acquiring", "a"): 1,
        ("acquiring", "b"): 1,
        ("acquiring", "c"): 1,
        ("waiting", "acquiring"): 2,
        ("opening", "waiting"): 1,
    }


@virtual
async def test_an_idle_connection_is_acquired_without_a_wait():
    diary = Diary()
    pool = ConnectionPool(strategy=Server(), max_size=1, observers=[diary])
    await use(pool)
    diary.spans.clear()
    await use(pool)
    assert diary.spans == [("acquiring", "begins"), ("acquiring", "ends")]


@virtual
async def test_a_wait_ends_before_its_acquisition():
    diary = Diary()
    pool = ConnectionPool(strategy=Server(create=[1]), max_size=1, observers=[diary])
    await use(pool)
    order = [(name, how) for name, how in diary.spans if name != "opening"]
    assert order == [("acquiring", "begins"), ("waiting", "begins"), ("waiting", "ends"), ("acquiring", "ends")]
    assert ("opening", "ends") in diary.spans


@virtual
async def test_a_span_knows_what_went_wrong():
    diary = Diary()
    pool = ConnectionPool(strategy=Server(create=[OSError()]), max_size=1, observers=[diary])
    await outcome(use(pool))
    for name in ("acquiring", "waiting", "opening"):
        assert (name, "OSError") in diary.spans


@virtual
async def test_a_caller_that_is_refused_or_cancelled_leaves_no_span_open():
    diary = Diary()
    pool = ConnectionPool(strategy=Server(), max_size=1, observers=[diary])
    (holder,) = await hold(pool)
    await outcome(use(pool, timeout=0))
    await outcome(use(pool, timeout=1))
    (caller,) = await callers(pool, 1)
    caller.cancel()
    await settle()
    await leave_all([holder])
    begun = sum(how == "begins" for _, how in diary.spans)
    assert begun == len(diary.spans) - begun
    assert [how for name, how in diary.spans if name == "acquiring" and how.endswith("Error")] == [
        "PoolTimeoutError",
        "PoolTimeoutError",
        "CancelledError",
    ]


@virtual
async def test_a_span_cannot_swallow_what_is_raised():
    class Greedy(PoolObserver):
        @contextmanager
        def acquiring_span(self, pool):
            with suppress(OSError):
                yield

    error = OSError()
    pool = ConnectionPool(strategy=Server(create=[error]), max_size=1, observers=[Greedy()])
    assert await outcome(use(pool)) is error


@virtual
async def test_no_span_is_as_good_as_none():
    class Shy(PoolObserver):
        def acquiring_span(self, pool):
            return None

        waiting_span = opening_span = acquiring_span

    pool = ConnectionPool(strategy=Server(), max_size=1, observers=[Shy()])
    await use(pool)
    await use(pool)
    assert pool.stats().acquired == 2
