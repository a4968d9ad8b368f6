"""The instruments that tell OpenTelemetry of pools: one set for each provider and prefix, whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation

from asyncio_connection_pool import PoolStats
from asyncio_connection_pool.contrib._watched_pools import WatchedPools

Attributes = Mapping[str, str | bool | int | float]

SCOPE: Final = "asyncio_connection_pool"
"""The name of the instrumentation scope."""

BUCKETS: Final = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Boundaries in seconds that are advised for histograms; the SDK's own are made for milliseconds."""


def read_states(stats: PoolStats) -> dict[str, int]:
    """Count the connections in each state; `idle` and `used` are the convention's, the others ours."""
    return {
        "idle": stats.idle,
        "used": stats.in_use,
        "opening": stats.opening,
        "validating": stats.validating,
        "resetting": stats.resetting,
        "closing": stats.closing,
    }


class PoolAttributes:
    """The attributes of all that is told of one pool, built once."""

    def __init__(self, prefix: str, others: Attributes, pool: str) -> None:
        """Begin with the pool's name and what the user wants added."""
        self.prefix = prefix
        self.base: dict[str, Any] = {**others, f"{prefix}.pool.name": pool}

    def with_(self, name: str, value: str) -> dict[str, Any]:
        """Add one of ours, under the prefix."""
        return {**self.base, f"{self.prefix}.{name}": value}


Reader = Callable[[PoolStats, PoolAttributes], Iterable[Observation]]


class Instruments:
    """All instruments under one prefix, and the pools that they are asked about."""

    def __init__(self, meter: Meter, prefix: str) -> None:
        """Create them; this may be done once only for a meter."""
        self.pools: WatchedPools[PoolAttributes] = WatchedPools()
        self._meter = meter
        self._prefix = prefix
        self._observe_the_convention()
        self._observe_more()
        histogram, counter = self._histogram, self._counter
        self.create_time = histogram("create_time", "The time it took to create a new connection.")
        self.wait_time = histogram("wait_time", "The time it took to obtain an open connection from the pool.")
        self.use_time = histogram("use_time", "The time between borrowing a connection and returning it to the pool.")
        self.timeouts = counter(
            "timeouts",
            "{timeout}",
            "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
        )
        self.rejections = counter("rejections", "{rejection}", "The number of requests that were refused.")
        self.create_failures = counter("create_failures", "{failure}", "The number of connections that failed to open.")
        self.closed = counter("closed", "{connection}", "The number of connections that left the pool, by reason.")
        self.bursts = counter("bursts", "{burst}", "The number of bursts that began, reached the limit and ended.")

    def _observe_the_convention(self) -> None:
        states = "The number of connections that are currently in state described by the `state` attribute."
        self._watch("count", "{connection}", states, _observe_states)
        for name, unit, description, field in (
            ("idle.max", "{connection}", "The maximum number of idle open connections allowed.", "max_size"),
            ("idle.min", "{connection}", "The minimum number of idle open connections allowed.", "min_size"),
            ("max", "{connection}", "The maximum number of open connections allowed.", "limit"),
            (
                "pending_requests",
                "{request}",
                "The number of current pending requests for an open connection.",
                "waiting",
            ),
        ):
            self._watch(name, unit, description, partial(_observe_field, field))

    def _observe_more(self) -> None:
        self._meter.create_observable_counter(
            f"{self._prefix}.would_be_rejections",
            [partial(self._observe, partial(_observe_field, "would_be_rejections"))],
            "{rejection}",
            "The number of requests that a queue policy which only observes would have refused.",
        )

    def _watch(self, name: str, unit: str, description: str, read: Reader) -> None:
        callback = partial(self._observe, read)
        self._meter.create_observable_up_down_counter(f"{self._prefix}.{name}", [callback], unit, description)

    def _observe(self, read: Reader, _: CallbackOptions) -> list[Observation]:
        return [seen for stats, attributes in self.pools.snapshots() for seen in read(stats, attributes)]

    def _counter(self, name: str, unit: str, description: str) -> metrics.Counter:
        return self._meter.create_counter(f"{self._prefix}.{name}", unit, description)

    def _histogram(self, name: str, description: str) -> Histogram:
        return self._meter.create_histogram(
            f"{self._prefix}.{name}", "s", description, explicit_bucket_boundaries_advisory=BUCKETS
        )


def _observe_states(stats: PoolStats, attributes: PoolAttributes) -> list[Observation]:
    return [Observation(number, attributes.with_("state", state)) for state, number in read_states(stats).items()]


def _observe_field(field: str, stats: PoolStats, attributes: PoolAttributes) -> list[Observation]:
    return [Observation(getattr(stats, field), attributes.base)]


_known: Final[WeakKeyDictionary[MeterProvider, dict[str, Instruments]]] = WeakKeyDictionary()
_first_global: Final[list[MeterProvider]] = []
"""What the global provider was when it was first asked for: a stand-in, if none was set yet."""


def find_instruments(provider: MeterProvider | None, prefix: str) -> Instruments:
    """Find those of a provider, or create them; None: the global one.

    A second set under the same names would make the SDK warn, and tell everything twice.
    """
    if provider is None or provider is metrics.get_meter_provider():
        provider = _find_global()
    sets = _known.setdefault(provider, {})
    if prefix not in sets:
        sets[prefix] = Instruments(provider.get_meter(SCOPE), prefix)
    return sets[prefix]


def _find_global() -> MeterProvider:
    """Find the global provider, as it was when first asked for; its stand-in passes all on to what is set later."""
    if not _first_global:
        _first_global.append(metrics.get_meter_provider())
    return _first_global[0]
