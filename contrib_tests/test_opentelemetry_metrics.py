"""The metrics that OpenTelemetry is told, looked at through the SDK's own reader."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, ExponentialHistogram
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

import pool_load
from asyncio_connection_pool import ConnectionPool, PoolObserver
from asyncio_connection_pool.contrib.opentelemetry import OpenTelemetryCounts, OpenTelemetryMetrics
from asyncio_connection_pool.testing import FakeStrategy, run
from otel_eyes import CONVENTION, HISTOGRAM, OURS, Metrics, P, Spans


def kind(metric):
    return type(metric.data), getattr(metric.data, "is_monotonic", None)


@pytest.fixture(scope="module")
def loaded():
    """What was told of a pool under load, before it was closed, and its own figures at that time."""
    metrics = Metrics()

    async def main():
        pool = pool_load.build([OpenTelemetryMetrics(meter_provider=metrics.provider)])
        async with pool:
            stats = await pool_load.load(pool)
            return {name: (metrics.collect()[name], metrics.points(name)) for name in metrics.collect()}, stats

    return run(main())


@pytest.mark.parametrize("name", CONVENTION)
def test_each_metric_of_the_convention_has_its_instrument_unit_and_attributes(loaded, name):
    metric, _ = loaded[0][name]
    assert (kind(metric), metric.unit) == CONVENTION[name]
    assert metric.description
    required = {f"{P}.pool.name", f"{P}.state"} if name == f"{P}.count" else {f"{P}.pool.name"}
    for point in metric.data.data_points:
        assert set(point.attributes) == required
        assert point.attributes[f"{P}.pool.name"] == "load"
    assert metric.data.aggregation_temporality is AggregationTemporality.CUMULATIVE


@pytest.mark.parametrize("name", OURS)
def test_each_metric_of_our_own_has_its_instrument_and_unit(loaded, name):
    metric, _ = loaded[0][name]
    assert (kind(metric), metric.unit) == OURS[name]
    assert metric.description


def test_nothing_else_is_told(loaded):
    assert set(loaded[0]) == {*CONVENTION, *OURS}


def test_the_numbers_are_those_of_the_pool(loaded):
    told, stats = loaded

    def value(name, **attributes):
        return told[f"{P}.{name}"][1][frozenset({"name": "load", **attributes}.items())].value

    assert value("count", state="idle") == stats.idle
    assert value("idle.max") == stats.max_size
    assert value("idle.min") == stats.min_size == 1
    assert value("max") == stats.limit == 5
    assert value("timeouts") == stats.timeouts > 0
    assert value("rejections", rejected_by="max_waiting") == stats.rejections > 0
    assert value("would_be_rejections") == stats.would_be_rejections > 0
    assert value("create_failures", type="ConnectionRefusedError") == stats.create_failures > 0
    for reason in ("surplus", "reset_failed", "validation_failed"):
        assert value("closed", close_reason=reason) == stats.closed[reason] > 0
    assert value("bursts", burst_phase="began") == value("bursts", burst_phase="ended") == 2
    assert value("bursts", burst_phase="limit_reached") == 2


def test_each_acquisition_release_and_open_is_timed(loaded):
    told, stats = loaded

    def histogram(name):
        return told[f"{P}.{name}"][1][frozenset({("name", "load")})]

    assert histogram("wait_time").count == stats.acquired
    assert histogram("wait_time").sum == pytest.approx(stats.wait_seconds_total)
    assert histogram("use_time").count == stats.released
    assert histogram("create_time").count == stats.created
    assert histogram("create_time").sum == pytest.approx(stats.created * pool_load.OPEN)


def test_the_advised_buckets_are_of_seconds(loaded):
    for name in ("wait_time", "use_time", "create_time"):
        bounds = next(iter(loaded[0][f"{P}.{name}"][1].values())).explicit_bounds
        assert bounds[0] < 0.001
        assert bounds[-1] == 30


def test_a_view_of_the_users_has_precedence_over_the_advice():
    view = View(instrument_name=f"{P}.*_time", aggregation=ExponentialBucketHistogramAggregation())
    metrics = Metrics(views=[view])

    async def main():
        async with build("p", OpenTelemetryMetrics(meter_provider=metrics.provider)) as pool:
            await borrow(pool)
            return metrics.collect()

    assert {metric.name for metric in run(main()).values() if isinstance(metric.data, ExponentialHistogram)} == {
        name for name, (kind, _) in CONVENTION.items() if kind is HISTOGRAM
    }


def test_the_histograms_have_the_span_of_the_caller_as_an_exemplar():
    metrics, tracer = Metrics(), Spans().tracer

    async def main():
        async with build("p", OpenTelemetryMetrics(meter_provider=metrics.provider)) as pool:
            with tracer.start_as_current_span("request") as request:
                await borrow(pool)
            return request.get_span_context().span_id, metrics.collect()

    request, told = run(main())
    for name in ("wait_time", "use_time"):
        ((exemplar,),) = [point.exemplars for point in told[f"{P}.{name}"].data.data_points]
        assert exemplar.span_id == request


def test_each_state_is_told_while_a_connection_is_in_it():
    metrics = Metrics()
    most: dict[str, int] = {}

    def look():
        told = metrics.collect()
        now = {point.attributes[f"{P}.state"]: point.value for point in told[f"{P}.count"].data.data_points}
        now["pending"] = told[f"{P}.pending_requests"].data.data_points[0].value
        most.update({state: max(most.get(state, 0), number) for state, number in now.items()})

    async def main():
        async with pool_load.build([OpenTelemetryCounts(meter_provider=metrics.provider)]) as pool:
            await pool_load.load(pool, look)

    run(main())
    assert set(most) == {"idle", "used", "opening", "validating", "resetting", "closing", "pending"}
    assert all(most.values()), most
    assert most["used"] == 5
    assert most["pending"] == 20 + 4  # `max_waiting`, and those for whom one is opened


def test_the_prefix_can_be_another_for_pools_that_are_not_of_databases():
    metrics = Metrics()

    async def main():
        async with pool_load.build([OpenTelemetryMetrics(prefix="browser.pool", meter_provider=metrics.provider)]) as p:
            await pool_load.load(p)
            return metrics.collect()

    told = run(main())
    assert {name.replace("browser.pool", P) for name in told} == {*CONVENTION, *OURS}
    (point,) = told["browser.pool.max"].data.data_points
    assert dict(point.attributes) == {"browser.pool.pool.name": "load"}
    assert {key for point in told["browser.pool.count"].data.data_points for key in point.attributes} == {
        "browser.pool.pool.name",
        "browser.pool.state",
    }


def test_attributes_are_added_to_everything():
    metrics = Metrics()

    async def main():
        observer = OpenTelemetryMetrics(meter_provider=metrics.provider, attributes={"server.address": "db1"})
        async with pool_load.build([observer]) as pool:
            await pool_load.load(pool)
            return metrics.collect()

    for metric in run(main()).values():
        for point in metric.data.data_points:
            assert point.attributes["server.address"] == "db1", metric.name


def build(name, *observers, **options):
    return ConnectionPool(strategy=FakeStrategy(), **{"max_size": 3, "name": name, "observers": observers} | options)


async def borrow(pool):
    async with pool.get_connection():
        pass


def test_pools_are_told_apart_by_name_with_one_observer_or_with_several():
    metrics = Metrics()

    async def main():
        shared = OpenTelemetryMetrics(meter_provider=metrics.provider)
        pools = [
            build("a", shared, max_size=1),
            build("b", shared, max_size=2),
            build("c", OpenTelemetryMetrics(meter_provider=metrics.provider)),
        ]
        for number, pool in enumerate(pools, 1):
            for _ in range(number):
                await borrow(pool)
        for number, pool in enumerate(pools, 1):
            assert metrics.value(f"{P}.max", name=pool.name) == number
            assert metrics.histogram(f"{P}.wait_time", name=pool.name).count == number
            await pool.close()

    run(main())


def test_pools_of_one_name_are_told_of_as_one():
    metrics = Metrics()

    async def main():
        observer = OpenTelemetryMetrics(meter_provider=metrics.provider)
        pools = [build("same", observer, max_size=size) for size in (1, 2)]
        pools.append(build("same", OpenTelemetryMetrics(meter_provider=metrics.provider), max_size=4))
        for pool in pools:
            await borrow(pool)
        assert metrics.value(f"{P}.max", name="same") == 7
        assert metrics.value(f"{P}.count", name="same", state="idle") == 3
        assert metrics.histogram(f"{P}.use_time", name="same").count == 3
        await pools[0].close()
        await borrow(pools[1])
        assert metrics.value(f"{P}.max", name="same") == 6
        for pool in pools:
            await pool.close()
        assert metrics.pools() == set()

    run(main())


def test_a_pool_may_have_two_observers_that_differ():
    metrics = Metrics()

    async def main():
        observers = [OpenTelemetryMetrics(meter_provider=metrics.provider, attributes={"seen.by": by}) for by in "ab"]
        async with build("one", *observers) as pool:
            await borrow(pool)
            for by in "ab":
                assert metrics.value(f"{P}.max", name="one", by=by) == 3
                assert metrics.histogram(f"{P}.wait_time", name="one", by=by).count == 1
        assert metrics.points(f"{P}.max") == {}

    run(main())


def test_a_closed_pool_vanishes():
    metrics = Metrics()

    async def main():
        async with build("short", OpenTelemetryMetrics(meter_provider=metrics.provider)):
            assert metrics.pools() == {"short"}
        assert metrics.pools() == set()

    run(main())


def test_what_was_counted_is_not_lost_when_a_pool_is_closed_before_it_is_collected():
    metrics = Metrics()

    async def main():
        async with pool_load.build([OpenTelemetryMetrics(meter_provider=metrics.provider)]) as pool:
            stats = await pool_load.load(pool)
        assert metrics.value(f"{P}.timeouts", name="load") == stats.timeouts
        assert metrics.histogram(f"{P}.wait_time", name="load").count == stats.acquired
        assert metrics.value(f"{P}.closed", name="load", close_reason="pool_closed") == stats.size

    run(main())


def test_c13_a_pool_that_nobody_references_is_collected_and_vanishes():
    metrics = Metrics()
    observer = OpenTelemetryMetrics(meter_provider=metrics.provider)

    async def main():
        pool = build("forgotten", observer)
        await borrow(pool)
        assert metrics.pools() == {"forgotten"}
        return weakref.ref(pool)

    known = run(main())
    gc.collect()
    assert known() is None
    assert metrics.pools() == set()


def test_instruments_are_shared_so_that_the_sdk_has_nothing_to_warn_of(caplog):
    metrics = Metrics()

    async def main():
        pools = [build(name, OpenTelemetryMetrics(meter_provider=metrics.provider)) for name in "ab"]
        assert metrics.pools() == {"a", "b"}  # `collect` sees to it that no name is told twice
        for pool in pools:
            await pool.close()

    run(main())
    assert caplog.messages == []


def test_a_timeout_that_never_happened_is_told_as_zero_so_that_the_first_is_an_increase():
    metrics = Metrics()
    pool = build("new", OpenTelemetryMetrics(meter_provider=metrics.provider))
    assert metrics.value(f"{P}.timeouts", name=pool.name) == 0


def test_counts_alone_do_not_watch_the_callers_and_tell_all_but_the_histograms():
    for hook in ("on_acquire", "on_release", "on_create", "acquiring_span", "waiting_span", "opening_span"):
        assert getattr(OpenTelemetryCounts, hook) is getattr(PoolObserver, hook)
    metrics = Metrics()

    async def main():
        async with pool_load.build([OpenTelemetryCounts(meter_provider=metrics.provider)]) as pool:
            await pool_load.load(pool)
            return metrics.collect()

    assert set(run(main())) == {name for name, (kind, _) in (CONVENTION | OURS).items() if kind is not HISTOGRAM}


def test_a_provider_without_a_reader_and_no_provider_at_all_do_no_harm():
    async def main():
        for provider in (MeterProvider(), None):
            async with pool_load.build([OpenTelemetryMetrics(meter_provider=provider)]) as pool:
                await pool_load.load(pool)

    run(main())


GLOBAL = """
import asyncio, logging, sys
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib.opentelemetry import OpenTelemetryMetrics
from asyncio_connection_pool.testing import FakeStrategy

logging.basicConfig(stream=sys.stdout)  # a warning would be read as a result
pools = []
def build(name, **options):
    observer = OpenTelemetryMetrics(**options)
    pools.append(ConnectionPool(strategy=FakeStrategy(), max_size=1, name=name, observers=[observer]))

build("before")
reader = InMemoryMetricReader()
provider = MeterProvider([reader])
metrics.set_meter_provider(provider)
build("after")
build("named", meter_provider=provider)

async def borrow():
    for pool in pools:
        async with pool.get_connection():
            pass
asyncio.run(borrow())
for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics:
    if metric.name.endswith((".max", ".wait_time")) and "idle" not in metric.name:
        pools = [point.attributes["db.client.connection.pool.name"] for point in metric.data.data_points]
        print(metric.name, *sorted(pools))
"""


def test_the_global_provider_may_be_set_before_or_after_a_pool_is_built():
    """In a process of its own, since it may be set once only."""
    out = subprocess.run([sys.executable, "-W", "error", "-c", GLOBAL], capture_output=True, text=True, check=True)
    assert sorted(out.stdout.splitlines()) == [
        "db.client.connection.max after before named",
        "db.client.connection.wait_time after before named",
    ], out


def test_collecting_in_another_thread_while_pools_come_and_go():
    metrics = Metrics()
    observer = OpenTelemetryMetrics(meter_provider=metrics.provider)
    seen = pool_load.read_while_pools_come_and_go(observer, metrics.pools, 50)
    assert all(names <= pool_load.NAMES for names in seen)
    assert metrics.pools() == set()


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"prefix": 3}, TypeError, "prefix must be a string such as 'db.client.connection', not 3"),
        ({"prefix": ""}, ValueError, "prefix must be a letter"),
        ({"prefix": "1st"}, ValueError, "prefix must be a letter"),
        ({"prefix": "a b"}, ValueError, "not 'a b'"),
        ({"prefix": "a" * 201}, ValueError, "up to 199"),
        ({"meter_provider": "global"}, TypeError, "meter_provider must be a MeterProvider or None, not 'global'"),
        ({"attributes": ["a"]}, TypeError, r"attributes must be a mapping .* not \['a'\]"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        OpenTelemetryMetrics(**arguments)
