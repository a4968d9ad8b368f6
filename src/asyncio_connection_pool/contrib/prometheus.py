"""Metrics of pools for Prometheus, read when it scrapes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from math import inf
from typing import Any

from asyncio_connection_pool import ConnectionPool, PoolObserver, events

try:
    from prometheus_client import REGISTRY, CollectorRegistry

    from asyncio_connection_pool.contrib._prometheus_collector import find_collector
except ImportError as _error:
    raise ImportError(
        f"{__name__} needs prometheus-client 0.20 or later: pip install asyncio-connection-pool[prometheus]"
    ) from _error

__all__ = ("PrometheusCounts", "PrometheusMetrics")


class PrometheusCounts(PoolObserver):
    """Tell Prometheus how many connections, callers, timeouts and failures there are: not how long things take.

    An acquisition that succeeds costs nothing more than without it: the numbers are read from `stats()` at each
    scrape. An observer may serve any number of pools, and so may any number of observers. Pools are told apart by
    the label `pool`, so give them names; one that is closed or collected is told of no more.

    Args:
        registry: What is scraped.
        prefix: What the names of metrics begin with.
        buckets: Upper bounds of the histograms that `PrometheusMetrics` adds, in seconds; None: those of the other
            observers with this registry and prefix, or else 16 from 0.0001 to 30.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: No name of Prometheus can begin with `prefix`; the buckets are not above 0 and ascending, or not
            those of another observer with this registry and prefix; or something else has these names.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry = REGISTRY,
        prefix: str = "asyncio_connection_pool",
        buckets: Iterable[float] | None = None,
    ) -> None:
        bounds = None if buckets is None else _checked_buckets(buckets)
        self._records = find_collector(_checked_registry(registry), _checked_prefix(prefix), bounds).records

    def on_attach(self, pool: ConnectionPool[Any]) -> None:
        """Begin to read a pool."""
        self._records.attach(pool)

    def on_detach(self, pool: ConnectionPool[Any]) -> None:
        """Read a pool no more."""
        self._records.detach(pool)

    def on_burst(self, event: events.Bursting) -> None:
        """Count a burst, by how far it has come."""
        self._records.of(event.pool).bursts[event.phase] += 1


class PrometheusMetrics(PrometheusCounts):
    """Tell Prometheus what `PrometheusCounts` tells, and how long callers wait, hold and open connections.

    The arguments are the same.
    """

    def on_attach(self, pool: ConnectionPool[Any]) -> None:
        """Begin to read a pool."""
        self._records.attach(pool).timed = True

    def on_acquire(self, event: events.Acquired) -> None:
        """Count how long a caller has waited."""
        self._records.of(event.pool).wait.observe(event.waited)

    def on_release(self, event: events.Released) -> None:
        """Count how long a connection was held."""
        self._records.of(event.pool).use.observe(event.held)

    def on_create(self, event: events.Created) -> None:
        """Count how long it took to open a connection."""
        self._records.of(event.pool).create.observe(event.seconds)


def _checked_registry(registry: Any) -> CollectorRegistry:
    if not isinstance(registry, CollectorRegistry):
        raise TypeError(f"registry must be a CollectorRegistry, not {registry!r}")
    return registry


def _checked_prefix(prefix: Any) -> str:
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, not {prefix!r}")
    if not re.fullmatch(r"[A-Za-z_:][\w:]*", prefix, re.ASCII):
        raise ValueError(f"prefix must be letters, digits, _ and :, and begin with no digit; not {prefix!r}")
    return prefix


def _checked_buckets(buckets: Any) -> tuple[float, ...]:
    try:
        bounds = tuple(map(float, buckets))
    except (TypeError, ValueError):
        raise TypeError(f"buckets must be an iterable of seconds, not {buckets!r}") from None
    if not bounds or not all(low < high < inf for low, high in pairwise((0.0, *bounds))):
        raise ValueError(f"buckets must be seconds above 0, finite and ascending, not {bounds}; infinity is added")
    return bounds
