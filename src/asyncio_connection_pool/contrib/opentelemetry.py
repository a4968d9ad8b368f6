"""Metrics and spans of pools for OpenTelemetry, by its semantic conventions for connection pools (1.44)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, cast

from asyncio_connection_pool import ConnectionPool, PoolObserver, events

try:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider, get_tracer

    from asyncio_connection_pool.contrib._opentelemetry_instruments import (
        SCOPE,
        Attributes,
        PoolAttributes,
        find_instruments,
    )
    from asyncio_connection_pool.contrib._opentelemetry_spans import EnteredSpan
    from asyncio_connection_pool.contrib._watched_pools import Records
except ImportError as _error:
    raise ImportError(
        f"{__name__} needs opentelemetry-api 1.30 or later: pip install asyncio-connection-pool[opentelemetry]"
    ) from _error

__all__ = ("OpenTelemetryCounts", "OpenTelemetryMetrics", "OpenTelemetrySpans")

PREFIX: Final = "db.client.connection"
"""What the conventions call the connections of a database's client."""


class OpenTelemetryCounts(PoolObserver):
    """Tell OpenTelemetry how many connections, callers, timeouts and failures there are: not how long things take.

    An acquisition that succeeds costs nothing more than without it. Counts by state are read from `stats()` when
    they are collected. An observer may serve any number of pools, and so may any number of observers; a pool that
    is closed or collected is told of no more.

    Args:
        prefix: What the names of metrics and attributes begin with; another one for pools that are not of databases.
        meter_provider: Whom to tell; None: the global one, which may be set later.
        attributes: To be added to everything that is told.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: No name of OpenTelemetry can begin with `prefix`.
    """

    def __init__(
        self,
        *,
        prefix: str = PREFIX,
        meter_provider: MeterProvider | None = None,
        attributes: Attributes | None = None,
    ) -> None:
        make = partial(PoolAttributes, _checked_prefix(prefix), _checked_attributes(attributes))
        _check_provider("meter_provider", meter_provider, MeterProvider)
        self._instruments = find_instruments(meter_provider, prefix)
        self._records = Records(self._instruments.pools, make)

    def on_attach(self, pool: ConnectionPool[Any]) -> None:
        """Begin to observe a pool."""
        told = self._records.attach(pool)
        self._instruments.timeouts.add(0, told.base)  # a first timeout is then seen as an increase

    def on_detach(self, pool: ConnectionPool[Any]) -> None:
        """Observe a pool no more."""
        self._records.detach(pool)

    def on_timeout(self, event: events.TimedOut) -> None:
        """Count a timeout."""
        self._instruments.timeouts.add(1, self._records.of(event.pool).base)

    def on_reject(self, event: events.Rejected) -> None:
        """Count a rejection, by what refused it."""
        self._instruments.rejections.add(1, self._records.of(event.pool).with_("rejected_by", event.by))

    def on_create_failure(self, event: events.CreateFailed) -> None:
        """Count a failure, by the type of the error."""
        base = self._records.of(event.pool).base
        self._instruments.create_failures.add(1, {**base, "error.type": type(event.error).__qualname__})

    def on_close(self, event: events.Closed) -> None:
        """Count a connection that leaves the pool, by the reason."""
        self._instruments.closed.add(1, self._records.of(event.pool).with_("close_reason", event.reason))

    def on_burst(self, event: events.Bursting) -> None:
        """Count a burst, by how far it has come."""
        self._instruments.bursts.add(1, self._records.of(event.pool).with_("burst_phase", event.phase))


class OpenTelemetryMetrics(OpenTelemetryCounts):
    """Tell OpenTelemetry what `OpenTelemetryCounts` tells, and how long callers wait, hold and open connections.

    The arguments are the same.
    """

    def on_acquire(self, event: events.Acquired) -> None:
        """Record how long a caller has waited."""
        self._instruments.wait_time.record(event.waited, self._records.of(event.pool).base)

    def on_release(self, event: events.Released) -> None:
        """Record how long a connection was held."""
        self._instruments.use_time.record(event.held, self._records.of(event.pool).base)

    def on_create(self, event: events.Created) -> None:
        """Record how long it took to open a connection."""
        self._instruments.create_time.record(event.seconds, self._records.of(event.pool).base)


class OpenTelemetrySpans(PoolObserver):
    """Put spans of OpenTelemetry around waits and opens.

    `<prefix>.wait` is a child of what is current where a caller waits; an acquisition that does not wait has none.
    `<prefix>.create` is a child of what is current for the caller on whose behalf a connection is opened, and itself
    current inside `create_connection`.

    Args:
        prefix: What the names of spans and attributes begin with; another one for pools that are not of databases.
        tracer_provider: Whom to tell; None: the global one, which may be set later.
        attributes: To be added to each span.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: No name of OpenTelemetry can begin with `prefix`.
    """

    def __init__(
        self,
        *,
        prefix: str = PREFIX,
        tracer_provider: TracerProvider | None = None,
        attributes: Attributes | None = None,
    ) -> None:
        self._prefix = _checked_prefix(prefix)
        self._attributes = _checked_attributes(attributes)
        _check_provider("tracer_provider", tracer_provider, TracerProvider)
        self._tracer = get_tracer(SCOPE, tracer_provider=tracer_provider)

    def waiting_span(self, pool: str) -> AbstractContextManager[object]:
        """Start the span of a wait."""
        return self._start("wait", pool, current=False)

    def opening_span(self, pool: str) -> AbstractContextManager[object]:
        """Start the span of an open."""
        return self._start("create", pool, current=True)

    def _start(self, name: str, pool: str, *, current: bool) -> EnteredSpan:
        attributes = {**self._attributes, f"{self._prefix}.pool.name": pool}
        return EnteredSpan(self._tracer.start_span(f"{self._prefix}.{name}", attributes=attributes), current=current)


def _checked_prefix(prefix: Any) -> str:
    """Return what names can begin with."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string such as {PREFIX!r}, not {prefix!r}")
    if not re.fullmatch(r"[A-Za-z][\w.\-/]{0,199}", prefix, re.ASCII):
        raise ValueError(
            f"prefix must be a letter and up to 199 letters, digits, _, ., - and /, such as {PREFIX!r}; not {prefix!r}"
        )
    return prefix


def _checked_attributes(attributes: Any) -> Attributes:
    """Return a copy of what is to be added."""
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        raise TypeError(f"attributes must be a mapping from names to values, or None, not {attributes!r}")
    return dict(cast("Attributes", attributes))


def _check_provider(name: str, provider: Any, kind: type[Any]) -> None:
    if provider is not None and not isinstance(provider, kind):
        raise TypeError(f"{name} must be a {kind.__name__} or None, not {provider!r}")
