"""The spans that OpenTelemetry is told of waits and opens, and whose children they are."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from asyncio_connection_pool import ConnectionPool, PoolObserver, PoolTimeoutError
from asyncio_connection_pool.contrib.opentelemetry import OpenTelemetrySpans
from asyncio_connection_pool.testing import NEVER, FakeStrategy, run
from otel_eyes import Spans

WAIT, CREATE = "db.client.connection.wait", "db.client.connection.create"


@pytest.fixture
def spans():
    return Spans()


def build(spans, *, create=(), **options):
    observers = [OpenTelemetrySpans(tracer_provider=spans.provider)]
    options = {"max_size": 1, "name": "p"} | options
    return ConnectionPool(strategy=FakeStrategy(create=create), observers=observers, **options)


async def use(spans, pool, request, seconds=1.0):
    """Hold a connection inside a span of the application."""
    with spans.tracer.start_as_current_span(request):
        async with pool.get_connection():
            await asyncio.sleep(seconds)


def check(spans, name, parents):
    """See that the spans of a name have these parents, and say nothing else but the pool's name."""
    assert sorted(spans.parents(name)) == sorted(parents)
    for span in spans.named(name):
        assert dict(span.attributes) == {"db.client.connection.pool.name": "p"}
        assert span.status.status_code is StatusCode.UNSET


def test_each_wait_is_a_child_of_its_caller_across_gather(spans):
    async def main():
        async with build(spans) as pool:
            await asyncio.gather(*[use(spans, pool, f"request {number}") for number in range(4)])

    run(main())
    check(spans, WAIT, [f"request {number}" for number in range(4)])
    check(spans, CREATE, ["request 0"])


def test_each_wait_is_a_child_of_what_was_current_where_its_task_was_created(spans):
    async def borrow(pool):
        async with pool.get_connection():
            await asyncio.sleep(1)

    async def main():
        tasks = []
        async with build(spans, max_size=2) as pool:
            for number in range(4):
                with spans.tracer.start_as_current_span(f"request {number}"):
                    tasks.append(asyncio.create_task(borrow(pool)))
            await asyncio.gather(*tasks)

    run(main())
    check(spans, WAIT, [f"request {number}" for number in range(4)])
    check(spans, CREATE, ["request 0", "request 1"])


def test_a_wait_lasts_until_the_connection_is_there(spans):
    async def main():
        async with build(spans, create=[0.25]) as pool:
            await asyncio.gather(use(spans, pool, "first"), use(spans, pool, "second"))

    run(main())
    names = [span.name for kind in (WAIT, CREATE, "first", "second") for span in spans.named(kind)]
    assert names == [WAIT, WAIT, CREATE, "first", "second"]
    first, second = spans.named(WAIT)
    (created,) = spans.named(CREATE)
    assert created.end_time <= first.end_time <= second.end_time
    assert first.end_time <= spans.named("first")[0].end_time


def test_an_acquisition_that_does_not_wait_has_no_span(spans):
    async def main():
        async with build(spans, min_size=1) as pool:
            await use(spans, pool, "request")

    run(main())
    assert spans.named(WAIT) == []


def test_the_span_of_an_open_is_current_inside_create_connection_and_nowhere_else(spans):
    current = {}

    async def connect():
        with spans.tracer.start_as_current_span("connect"):
            await asyncio.sleep(1)

    async def main():
        async with build(spans, create=[connect]) as pool:
            with spans.tracer.start_as_current_span("request") as request:
                async with pool.get_connection():
                    current["inside"] = trace.get_current_span() is request
                current["after"] = trace.get_current_span() is request

    run(main())
    assert spans.parents("connect") == [CREATE]
    assert spans.parents(CREATE) == ["request"]
    assert current == {"inside": True, "after": True}


def test_a_connection_that_is_opened_for_one_and_goes_to_another_keeps_its_parent(spans):
    async def main():
        async with build(spans, create=[0.5]) as pool:
            impatient = asyncio.create_task(use(spans, pool, "impatient"))
            patient = asyncio.create_task(use(spans, pool, "patient"))
            await asyncio.sleep(0.1)
            impatient.cancel()
            await asyncio.wait([impatient, patient])

    run(main())
    check(spans, CREATE, ["impatient"])
    cancelled, served = spans.named(WAIT)
    assert spans.parents(WAIT) == ["impatient", "patient"]
    assert cancelled.attributes["error.type"] == "CancelledError"
    assert cancelled.status.status_code is StatusCode.UNSET  # whoever cancels has their reasons
    assert "error.type" not in served.attributes


def test_what_fails_is_an_error_with_the_exception(spans):
    async def main():
        async with build(spans, create=[ConnectionRefusedError("full"), 60]) as pool:
            with pytest.raises(ConnectionRefusedError):
                await use(spans, pool, "refused")
            with pytest.raises(PoolTimeoutError):
                async with pool.get_connection(timeout=3):
                    pass

    run(main())
    for name, error in (
        (CREATE, "ConnectionRefusedError"),
        (WAIT, "ConnectionRefusedError"),
        (WAIT, "PoolTimeoutError"),
    ):
        span = next(span for span in spans.named(name) if span.attributes.get("error.type") == error)
        assert span.status.status_code is StatusCode.ERROR
        assert error in span.status.description
        (event,) = span.events
        assert event.name == "exception"


def test_an_open_that_close_cancels_ends_its_span(spans):
    async def main():
        pool = build(spans, create=[NEVER])
        waiting = asyncio.create_task(use(spans, pool, "request"))
        await asyncio.sleep(1)
        await pool.close()
        await asyncio.wait([waiting])
        waiting.exception()

    run(main())
    (span,) = spans.named(CREATE)
    assert span.attributes["error.type"] == "CancelledError"
    assert spans.named(WAIT)[0].attributes["error.type"] == "PoolClosedError"


def test_prefix_and_attributes_are_the_users(spans):
    observer = OpenTelemetrySpans(
        tracer_provider=spans.provider, prefix="browser.pool", attributes={"server.address": "farm"}
    )

    async def main():
        async with ConnectionPool(strategy=FakeStrategy(), max_size=1, name="p", observers=[observer]) as pool:
            async with pool.get_connection():
                pass

    run(main())
    for name in ("browser.pool.wait", "browser.pool.create"):
        (span,) = spans.named(name)
        assert dict(span.attributes) == {"browser.pool.pool.name": "p", "server.address": "farm"}


def test_only_waits_and_opens_are_watched():
    own = {name for name in vars(OpenTelemetrySpans) if not name.startswith("_")}
    assert own & set(vars(PoolObserver)) == {"waiting_span", "opening_span"}


def test_without_an_sdk_nothing_happens():
    async def main():
        pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=[OpenTelemetrySpans()])
        async with pool, pool.get_connection():
            pass

    run(main())


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"prefix": None}, TypeError, "prefix must be a string"),
        ({"prefix": "é"}, ValueError, "prefix must be a letter"),
        ({"tracer_provider": 1}, TypeError, "tracer_provider must be a TracerProvider or None, not 1"),
        ({"attributes": 1}, TypeError, "attributes must be a mapping"),
    ],
    ids=str,
)
def test_bad_arguments_of_spans_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        OpenTelemetrySpans(**arguments)
