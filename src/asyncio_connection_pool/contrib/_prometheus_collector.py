"""A collector for Prometheus: asks pools for their numbers at each scrape."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import Final
from weakref import WeakKeyDictionary

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from asyncio_connection_pool import PoolStats
from asyncio_connection_pool.contrib._prometheus_readings import READINGS
from asyncio_connection_pool.contrib._watched_pools import Records, WatchedPools


class Durations:
    """A histogram that is written in the event loop, and read in any thread."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Begin with nothing; `bounds` are the upper ones, in seconds, and infinity follows."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Give each bound with the count of all that is not above it."""
        bounds = [*map(str, self.bounds), "+Inf"]
        return list(zip(bounds, accumulate(self.counts.copy()), strict=True))


class PoolRecord:
    """What is counted as it happens in the pools of one name, since their `stats()` don't say it."""

    __slots__ = ("__weakref__", "bursts", "create", "pool", "timed", "use", "wait")

    def __init__(self, bounds: tuple[float, ...], pool: str) -> None:
        """Begin with nothing."""
        self.pool = pool
        self.bursts = {"began": 0, "limit_reached": 0, "ended": 0}
        self.timed = False
        """Whether anybody writes the histograms."""
        self.wait = Durations(bounds)
        self.use = Durations(bounds)
        self.create = Durations(bounds)


BOUNDS: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Of buckets, in seconds, unless the user has others."""

HISTOGRAMS: Final = (
    ("wait", "Seconds that served acquisitions have waited for a connection."),
    ("use", "Seconds from getting a connection to giving it back."),
    ("create", "Seconds that it took to open a connection."),
)


class PoolCollector(Collector):
    """Collects all metrics under one prefix of the pools that are open."""

    def __init__(self, prefix: str, bounds: tuple[float, ...]) -> None:
        """Begin with no pool."""
        self.prefix = prefix
        self.bounds = bounds
        self._pools: WatchedPools[PoolRecord] = WatchedPools()
        self.records = Records(self._pools, partial(PoolRecord, bounds))

    def describe(self) -> Iterable[Metric]:
        """Name the metrics, so that a registry finds out if others have the same names."""
        return self._collect([], [])

    def collect(self) -> Iterable[Metric]:
        """Ask each pool; called in a thread of the server that is scraped."""
        seen = self._pools.snapshots()
        return self._collect([stats for stats, _ in seen], list({id(record): record for _, record in seen}.values()))

    def _collect(self, pools: list[PoolStats], records: list[PoolRecord]) -> Iterator[Metric]:
        for reading in READINGS:
            yield reading.collect(self.prefix, pools)
        yield self._bursts(records)
        for name, help_ in HISTOGRAMS:
            yield self._histogram(name, help_, records)

    def _bursts(self, records: list[PoolRecord]) -> CounterMetricFamily:
        help_ = "Bursts that began, reached the limit and ended."
        metric = CounterMetricFamily(f"{self.prefix}_bursts", help_, labels=["pool", "phase"])
        for record in records:
            for phase, number in record.bursts.items():
                metric.add_metric([record.pool, phase], number)
        return metric

    def _histogram(self, name: str, help_: str, records: list[PoolRecord]) -> HistogramMetricFamily:
        metric = HistogramMetricFamily(f"{self.prefix}_{name}_seconds", help_, labels=["pool"])
        for record in records:
            if record.timed:
                durations: Durations = getattr(record, name)
                metric.add_metric([record.pool], durations.buckets(), durations.sum)
        return metric


_known: Final[WeakKeyDictionary[CollectorRegistry, dict[str, PoolCollector]]] = WeakKeyDictionary()


def find_collector(registry: CollectorRegistry, prefix: str, bounds: tuple[float, ...] | None) -> PoolCollector:
    """Find the one of a registry that has this prefix, or register it.

    Raises:
        ValueError: It has other bounds than these, or something else in the registry has its names.
    """
    collectors = _known.setdefault(registry, {})
    if prefix not in collectors:
        collector = PoolCollector(prefix, bounds or BOUNDS)
        registry.register(collector)
        collectors[prefix] = collector
    known = collectors[prefix].bounds
    if bounds not in {None, known}:
        raise ValueError(
            f"the registry has metrics named {prefix}_… already, with other buckets: {known}, not {bounds}; "
            "give all observers of a registry the same buckets, or different prefixes"
        )
    return collectors[prefix]
