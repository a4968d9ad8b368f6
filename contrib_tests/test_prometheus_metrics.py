"""The metrics that Prometheus reads, by real scrapes over HTTP."""

from __future__ import annotations

import asyncio
import gc
import math
import subprocess
import sys
import weakref

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

import pool_load
from asyncio_connection_pool import ConnectionPool, PoolObserver
from asyncio_connection_pool.contrib.prometheus import PrometheusCounts, PrometheusMetrics
from asyncio_connection_pool.testing import FakeStrategy, run
from prometheus_eyes import METRICS, PREFIX, Scraper, serve

FORMATS = ["text/plain", "application/openmetrics-text"]


@pytest.fixture(scope="module")
def server():
    with serve() as scraper:
        yield scraper


@pytest.fixture
def scraper(server):
    """The server, with a registry that has no pools left."""
    gc.collect()
    return server


@pytest.fixture(scope="module")
def loaded(server):
    """What was scraped of a pool under load in each format, and its own figures at that time."""

    async def main():
        async with pool_load.build([PrometheusMetrics(registry=server.registry)]) as pool:
            stats = await pool_load.load(pool)
            return {kind: server.scrape(accept=kind) for kind in FORMATS}, stats

    return run(main())


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", METRICS)
def test_each_metric_has_its_type_and_labels(loaded, kind, name):
    family = loaded[0][kind].families[f"{PREFIX}_{name}"]
    assert family.type == METRICS[name][0]
    assert family.documentation
    assert family.samples
    for sample in family.samples:
        assert sample.labels["pool"] == "load"
        assert set(sample.labels) - {"pool"} <= METRICS[name][1]
    if family.type == "counter":
        assert {sample.name for sample in family.samples} == {f"{PREFIX}_{name}_total"}


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_else_is_there(loaded, kind):
    assert set(loaded[0][kind].families) == {f"{PREFIX}_{name}" for name in METRICS}


def test_the_numbers_are_those_of_the_pool(loaded):
    value, stats = loaded[0]["text/plain"].value, loaded[1]
    for state in ("idle", "in_use", "opening", "validating", "resetting", "closing"):
        assert value("connections", pool="load", state=state) == getattr(stats, state)
    for name in ("waiting", "max_size", "min_size", "limit"):
        assert value(name, pool="load") == getattr(stats, name)
    for how in ("at_once", "after_waiting", "after_opening"):
        assert value("acquisitions_total", pool="load", how=how) == getattr(stats, f"acquired_{how}") > 0
    for name in ("timeouts", "rejections", "would_be_rejections", "create_failures"):
        assert value(f"{name}_total", pool="load") == getattr(stats, name) > 0
    assert value("opened_total", pool="load") == stats.created
    assert value("waited_seconds_total", pool="load") == pytest.approx(stats.wait_seconds_total)
    for reason, number in stats.closed.items():
        assert value("closed_total", pool="load", reason=reason) == number
    for phase in ("began", "limit_reached", "ended"):
        assert value("bursts_total", pool="load", phase=phase) == 2


def test_the_histograms_hold_each_acquisition_release_and_open(loaded):
    value, stats = loaded[0]["text/plain"].value, loaded[1]
    assert value("wait_seconds_count", pool="load") == stats.acquired
    assert value("wait_seconds_sum", pool="load") == pytest.approx(stats.wait_seconds_total)
    assert value("use_seconds_count", pool="load") == stats.released
    assert value("create_seconds_count", pool="load") == stats.created
    assert value("create_seconds_sum", pool="load") == pytest.approx(stats.created * pool_load.OPEN)
    assert value("create_seconds_bucket", pool="load", le="0.025") == 0
    assert value("create_seconds_bucket", pool="load", le="0.05") == stats.created


def build(name, *observers, **options):
    return ConnectionPool(strategy=FakeStrategy(), **{"max_size": 3, "name": name, "observers": observers} | options)


async def hold(pool, seconds=0.0):
    async with pool.get_connection():
        await asyncio.sleep(seconds)


def test_a_bucket_holds_all_that_is_not_above_its_bound():
    with serve() as scraper:
        observer = PrometheusMetrics(registry=scraper.registry, buckets=[0.25, 1, 4])

        async def main():
            async with build("p", observer, max_size=1) as pool:
                for seconds in (0.25, 0.5, 1.0, 4.0, 5.0):  # exact in binary, and under virtual time
                    await hold(pool, seconds)
                return scraper.scrape()

        page = run(main())
    counts = {le: page.value("use_seconds_bucket", pool="p", le=le) for le in ("0.25", "1.0", "4.0", "+Inf")}
    assert counts == {"0.25": 1, "1.0": 3, "4.0": 4, "+Inf": 5}
    assert page.value("use_seconds_count", pool="p") == 5
    assert page.value("use_seconds_sum", pool="p") == 10.75


def test_pools_are_told_apart_by_name_with_one_observer_or_with_several(scraper):
    async def main():
        shared = PrometheusMetrics(registry=scraper.registry)
        pools = [build("a", shared), build("b", shared), build("c", PrometheusMetrics(registry=scraper.registry))]
        for number, pool in enumerate(pools, 1):
            pool.max_size = number
            for _ in range(number):
                await hold(pool)
        page = scraper.scrape()
        assert page.pools() == {"a", "b", "c"}
        for number, pool in enumerate(pools, 1):
            assert page.value("max_size", pool=pool.name) == number
            assert page.value("wait_seconds_count", pool=pool.name) == number
            await pool.close()

    run(main())


def test_pools_of_one_name_are_told_of_as_one(scraper):
    async def main():
        observer = PrometheusMetrics(registry=scraper.registry)
        pools = [build("same", observer, max_size=size) for size in (1, 2)]
        pools.append(build("same", PrometheusMetrics(registry=scraper.registry), max_size=4))
        for pool in pools:
            await hold(pool)
        page = scraper.scrape()
        assert page.value("max_size", pool="same") == 7
        assert page.value("connections", pool="same", state="idle") == 3
        assert page.value("use_seconds_count", pool="same") == 3
        await pools[0].close()
        assert scraper.scrape().value("max_size", pool="same") == 6
        await hold(pools[1])
        assert scraper.scrape().value("use_seconds_count", pool="same") == 4
        for pool in pools:
            await pool.close()
        assert scraper.scrape().pools() == set()

    run(main())


def test_a_closed_pool_vanishes_and_another_of_its_name_begins_at_zero(scraper):
    observer = PrometheusMetrics(registry=scraper.registry)

    async def main():
        for _ in range(2):
            async with build("short", observer) as pool:
                await hold(pool)
                assert scraper.scrape().value("wait_seconds_count", pool="short") == 1
            assert scraper.scrape().pools() == set()

    run(main())


def test_c13_a_pool_that_nobody_references_is_collected_and_vanishes(scraper):
    observer = PrometheusMetrics(registry=scraper.registry)

    async def main():
        pool = build("forgotten", observer)
        await hold(pool)
        assert scraper.scrape().pools() == {"forgotten"}
        return weakref.ref(pool)

    known = run(main())
    gc.collect()
    assert known() is None
    assert scraper.scrape().pools() == set()


def test_counts_alone_do_not_watch_the_callers_and_tell_all_but_the_histograms(scraper):
    for hook in ("on_acquire", "on_release", "on_create", "acquiring_span", "waiting_span", "opening_span"):
        assert getattr(PrometheusCounts, hook) is getattr(PoolObserver, hook)

    async def main():
        async with pool_load.build([PrometheusCounts(registry=scraper.registry)]) as pool:
            await pool_load.load(pool)
            return scraper.scrape()

    told = {family.name for family in run(main()).families.values() if family.samples}
    assert told == {f"{PREFIX}_{name}" for name, (kind, _) in METRICS.items() if kind != "histogram"}


def test_the_prefix_is_the_users():
    with serve() as scraper:
        observer = PrometheusMetrics(registry=scraper.registry, prefix="browsers")

        async def main():
            async with build("p", observer):
                return scraper.scrape()

        assert set(run(main()).families) == {f"browsers_{name}" for name in METRICS}


def test_the_default_registry_is_that_of_prometheus_client():
    """In a process of its own, since it is everybody's."""
    code = f"""
from prometheus_client import generate_latest
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib.prometheus import PrometheusMetrics
from asyncio_connection_pool.testing import FakeStrategy
pool = ConnectionPool(strategy=FakeStrategy(), max_size=3, name="p", observers=[PrometheusMetrics()])
assert b'{PREFIX}_limit{{pool="p"}} 3.0' in generate_latest()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_names_that_something_else_has_are_refused_at_once():
    registry = CollectorRegistry()
    Gauge("asyncio_connection_pool_limit", "Somebody else's.", registry=registry)
    with pytest.raises(ValueError, match="asyncio_connection_pool_limit"):
        PrometheusMetrics(registry=registry)
    registry = CollectorRegistry()
    PrometheusMetrics(registry=registry)
    with pytest.raises(ValueError, match="asyncio_connection_pool_timeouts"):
        Counter("asyncio_connection_pool_timeouts", "Somebody else's.", registry=registry)


def test_other_buckets_in_one_registry_are_refused():
    registry = CollectorRegistry()
    PrometheusMetrics(registry=registry, buckets=[1, 2])
    PrometheusMetrics(registry=registry, buckets=(1.0, 2.0))
    PrometheusCounts(registry=registry)  # has no opinion on them
    PrometheusMetrics(registry=registry, buckets=[3], prefix="others")
    with pytest.raises(ValueError, match=r"other buckets: \(1\.0, 2\.0\), not \(3\.0,\)"):
        PrometheusMetrics(registry=registry, buckets=[3])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"registry": None}, TypeError, "registry must be a CollectorRegistry, not None"),
        ({"prefix": 3}, TypeError, "prefix must be a string, not 3"),
        ({"prefix": "a.b"}, ValueError, "prefix must be letters, digits, _ and :"),
        ({"prefix": "1a"}, ValueError, "begin with no digit; not '1a'"),
        ({"buckets": []}, ValueError, r"buckets must be seconds above 0, finite and ascending, not \(\)"),
        ({"buckets": [0, 1]}, ValueError, "above 0"),
        ({"buckets": [2, 1]}, ValueError, "ascending"),
        ({"buckets": [1, 1]}, ValueError, "ascending"),
        ({"buckets": [1, math.inf]}, ValueError, "infinity is added"),
        ({"buckets": [1, math.nan]}, ValueError, "finite"),
        ({"buckets": 5}, TypeError, "buckets must be an iterable of seconds, not 5"),
        ({"buckets": ["a"]}, TypeError, r"buckets must be an iterable of seconds, not \['a'\]"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        PrometheusMetrics(**{"registry": CollectorRegistry()} | arguments)


def test_scraping_while_pools_come_and_go(scraper):
    observer = PrometheusMetrics(registry=scraper.registry)
    pages = pool_load.read_while_pools_come_and_go(observer, scraper.scrape, 20)
    assert all(page.pools() <= pool_load.NAMES for page in pages)
    assert scraper.scrape().pools() == set()


WORKER = """
import os, sys
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib.prometheus import PrometheusMetrics
from asyncio_connection_pool.testing import FakeStrategy

registry = CollectorRegistry()
observer = PrometheusMetrics(registry=registry)
pool = ConnectionPool(strategy=FakeStrategy(), max_size=int(sys.argv[1]), name="p", observers=[observer])

shared = CollectorRegistry()
MultiProcessCollector(shared)
assert b"asyncio_connection_pool" not in generate_latest(shared)

server, thread = start_http_server(0, "127.0.0.1", registry)
print(server.server_port, flush=True)
sys.stdin.read()
server.shutdown()
server.server_close()
"""


def test_in_multiprocess_mode_each_worker_is_scraped_on_a_port_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    command = [sys.executable, "-W", "error", "-c", WORKER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "1"], **pipes) as first, subprocess.Popen([*command, "2"], **pipes) as second:
        for size, worker in enumerate((first, second), 1):
            page = Scraper(int(worker.stdout.readline())).scrape()
            assert page.value("limit", pool="p") == size
        for worker in (first, second):
            worker.communicate()
            assert worker.returncode == 0
