"""Spans, as ddtrace would send them: names, service, parents, errors."""

from __future__ import annotations

import asyncio

import pytest

import datadog_eyes
from asyncio_connection_pool import PoolOverloadedError, PoolTimeoutError
from asyncio_connection_pool.contrib.datadog import ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy
from datadog_eyes import tracer
from scenarios import Caller, hold, leave_all, outcome, settle, use, virtual

ACQUIRE = "shop.pool.acquire_connection"
WAIT = "shop.pool._wait_for_connection"
CREATE = "shop.pool._create_new_connection"


@pytest.fixture(autouse=True)
def dogstatsd():
    with datadog_eyes.dogstatsd() as receiver:
        yield receiver


@pytest.fixture
def spans():
    with datadog_eyes.spans() as collected:
        yield collected


def pool_for(strategy=None, **options):
    return ConnectionPool("shop", **({"strategy": strategy or FakeStrategy(), "max_size": 1} | options))


@virtual
async def test_an_acquisition_that_opens_has_all_three_spans(spans):
    pool = pool_for()
    with tracer.trace("request") as request:
        await use(pool)
    acquire = spans.one(ACQUIRE)
    assert acquire.parent_id == request.span_id
    assert spans.one(WAIT).parent_id == acquire.span_id
    assert spans.one(CREATE).parent_id == acquire.span_id
    assert {span.service for span in spans.ended if span is not request} == {"shop"}
    assert not any(span.error for span in spans.ended)
    assert len({span.trace_id for span in spans.ended}) == 1


@virtual
async def test_an_acquisition_that_finds_one_idle_has_one_span(spans):
    pool = pool_for()
    await use(pool)
    spans.ended.clear()
    with tracer.trace("request") as request:
        await use(pool)
    assert {span.name for span in spans.ended} == {"request", ACQUIRE}
    assert spans.one(ACQUIRE).parent_id == request.span_id


@virtual
async def test_an_acquisition_outside_of_a_trace_begins_one_if_it_waits(spans):
    pool = pool_for()
    await use(pool)
    acquire = spans.one(ACQUIRE)
    assert acquire.parent_id is None
    assert {spans.one(name).parent_id for name in (WAIT, CREATE)} == {acquire.span_id}
    spans.ended.clear()
    await use(pool)
    assert spans.ended == []


@virtual
async def test_a_trace_that_began_elsewhere_goes_on(spans):
    pool = pool_for()
    await use(pool)
    spans.ended.clear()
    tracer.context_provider.activate(datadog_eyes.Context(trace_id=7, span_id=8))
    await use(pool)
    assert (spans.one(ACQUIRE).trace_id, spans.one(ACQUIRE).parent_id) == (7, 8)


@virtual
async def test_each_task_of_a_gather_has_its_own_spans(spans):
    pool = pool_for(FakeStrategy(create=[1, 1, 1]), max_size=2)

    async def work(number):
        with tracer.trace(f"task {number}"):
            async with pool.get_connection():
                await asyncio.sleep(1)

    with tracer.trace("request") as request:
        await asyncio.gather(*map(work, range(4)))
    tasks = [spans.one(f"task {number}") for number in range(4)]
    assert {task.parent_id for task in tasks} == {request.span_id}
    acquires = {span.parent_id: span for span in spans.named(ACQUIRE)}
    waits = {span.parent_id: span for span in spans.named(WAIT)}
    creates = {span.parent_id: span for span in spans.named(CREATE)}
    assert set(acquires) == {task.span_id for task in tasks}
    assert set(waits) == {acquires[task.span_id].span_id for task in tasks}
    assert set(creates) == {acquires[task.span_id].span_id for task in tasks[:2]}  # the others got what came back


@virtual
async def test_a_task_that_outlives_its_request_stays_in_its_trace(spans):
    pool = pool_for()
    (holder,) = await hold(pool)
    spans.ended.clear()
    with tracer.trace("request") as request:
        waiter = asyncio.create_task(use(pool))
        await settle()
    holder.leave()
    await waiter
    assert spans.one(ACQUIRE).trace_id == request.trace_id
    assert spans.one(ACQUIRE).parent_id == request.span_id
    assert spans.one(WAIT).parent_id == spans.one(ACQUIRE).span_id


@virtual
async def test_what_runs_in_the_block_belongs_to_the_request(spans):
    pool = pool_for()
    with tracer.trace("request") as request:
        for _ in range(2):
            async with pool.get_connection():
                assert tracer.current_span() is request
                with tracer.trace("query"):
                    pass
            assert tracer.current_span() is request
    assert {span.parent_id for span in spans.named("query")} == {request.span_id}


@virtual
async def test_what_opens_a_connection_sees_its_own_span(spans):
    seen = []

    async def dial():
        seen.append(tracer.current_span())
        with tracer.trace("dial"):
            await asyncio.sleep(1)

    pool = pool_for(FakeStrategy(create=[dial]))
    with tracer.trace("request"):
        await use(pool)
    assert seen == spans.named(CREATE)
    assert spans.one("dial").parent_id == spans.one(CREATE).span_id


@virtual
async def test_an_open_that_outlives_its_caller_stays_in_the_trace(spans):
    pool = pool_for(FakeStrategy(create=[0, 50]), max_size=2)
    (holder,) = await hold(pool)
    with tracer.trace("request") as request:
        waiter = asyncio.create_task(use(pool))
        await settle()
        holder.leave()
        await waiter
    assert spans.named(CREATE)[1:] == []
    await asyncio.sleep(51)
    late = spans.named(CREATE)[-1]
    assert (late.trace_id, late.parent_id) == (request.trace_id, spans.named(ACQUIRE)[-1].span_id)


@virtual
async def test_an_open_for_nobody_is_a_trace_of_its_own(spans):
    async with pool_for(min_size=1):
        assert {span.name for span in spans.ended} == {CREATE}
        assert spans.one(CREATE).parent_id is None


# Errors.


def error_of(span):
    return (span.error, span.get_tag("error.type"))


@virtual
async def test_an_open_that_fails_is_an_error_of_all_three_spans(spans):
    pool = pool_for(FakeStrategy(create=[OSError("no route")]))
    with tracer.trace("request") as request:
        await outcome(use(pool))
    assert {error_of(spans.one(name)) for name in (ACQUIRE, WAIT, CREATE)} == {(1, "builtins.OSError")}
    assert spans.one(CREATE).get_tag("error.message") == "no route"
    assert not request.error


@virtual
async def test_a_timeout_is_an_error_of_the_wait(spans):
    pool = pool_for()
    _people = await hold(pool)
    spans.ended.clear()
    assert isinstance(await outcome(use(pool, timeout=5)), PoolTimeoutError)
    kind = f"{PoolTimeoutError.__module__}.PoolTimeoutError"
    assert {error_of(spans.one(name)) for name in (ACQUIRE, WAIT)} == {(1, kind)}


@virtual
async def test_a_cancellation_is_an_error_of_the_wait_and_not_of_the_open(spans):
    pool = pool_for(FakeStrategy(create=[50]))
    waiter = Caller(pool)
    await asyncio.sleep(10)
    waiter.cancel()
    await asyncio.sleep(50)
    assert {span.error for span in (spans.one(ACQUIRE), spans.one(WAIT))} == {1}
    assert not spans.one(CREATE).error


@virtual
async def test_a_refusal_is_an_error_of_the_acquisition(spans):
    pool = pool_for(max_waiting=0)
    _people = await hold(pool)
    spans.ended.clear()
    assert isinstance(await outcome(use(pool)), PoolOverloadedError)
    assert spans.one(ACQUIRE).error


@virtual
async def test_an_error_in_the_block_is_none_of_the_pool(spans):
    pool = pool_for()
    (holder,) = await hold(pool)
    holder.leave(ValueError())
    await settle()
    assert not any(span.error for span in spans.ended)


@virtual
async def test_spans_go_on_after_a_close(spans):
    """Nothing is sent by DogStatsD then; what ends after it has a span all the same."""
    pool = pool_for()
    (holder,) = await hold(pool)
    waiter = Caller(pool)
    await settle()
    spans.ended.clear()
    closing = asyncio.create_task(pool.close())
    await settle()
    assert error_of(spans.one(WAIT)) == (1, "asyncio_connection_pool._errors.PoolClosedError")
    await leave_all([holder])
    await closing
    assert waiter.task.done()
