"""The observer that tells Datadog of a pool."""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any

from asyncio_connection_pool import PoolObserver
from asyncio_connection_pool.contrib._datadog_meter import Meter

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from contextlib import AbstractContextManager

    from asyncio_connection_pool import ConnectionPool
    from asyncio_connection_pool.events import Bursting, Closed, Created, CreateFailed, Released

tracer: Any = import_module("ddtrace.trace").tracer  # which has no types


class DatadogObserver(PoolObserver):
    """Tells Datadog of one pool: gauges, a counter and events by DogStatsD, spans by ddtrace.

    It is for pools that another class or function builds, and that take `observers`; `ConnectionPool` of this
    module brings its own. Gauges that have changed are sent within `flush_interval`, and all of them every
    60 seconds while the pool is open. They go to ``datadog.statsd``, as it is configured. An acquisition that
    belongs to no trace begins one only if it has to wait.

    Args:
        service_name: Prefix of the names of all metrics and spans, and the service of the spans.
        extra_tags: Sent with all metrics and events; none by default.
        flush_interval: Seconds for which what is to be sent is gathered; 1 by default.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `service_name` is empty, or has one of ``:|`` or a line break in it; a tag is empty; or
            `flush_interval` is not above 0, or not finite.
    """

    def __init__(
        self, service_name: str, *, extra_tags: Iterable[str] | None = None, flush_interval: float = 1
    ) -> None:
        self._service = _checked_service(service_name)
        self._tags = _checked_tags(extra_tags)
        self._interval = _checked_interval(flush_interval)
        self._meter: Meter | None = None
        self._acquire = f"{service_name}.pool.acquire_connection"
        self._wait = f"{service_name}.pool._wait_for_connection"
        self._create = f"{service_name}.pool._create_new_connection"

    def on_attach(self, pool: ConnectionPool[Any]) -> None:
        """Begin to tell of a pool."""
        if self._meter is not None:
            raise ValueError(f"a {type(self).__name__} is for one pool: build another one for {pool.name!r}")
        own = () if pool.name == self._service else (f"pool:{pool.name}",)
        self._meter = Meter(pool, self._service, self._tags + own, self._interval)
        self._meter.wake()

    def on_detach(self, pool: ConnectionPool[Any]) -> None:
        """Send what is left to send, and nothing after that."""
        if self._meter is not None:
            self._meter.end(pool.stats())

    def on_burst(self, event: Bursting) -> None:
        """Have an event sent."""
        if self._meter is not None:
            self._meter.note(event)

    def on_release(self, event: Released) -> None:  # noqa: ARG002 - that it was, is enough
        """Have the gauges looked at."""
        self._changed()

    def on_create(self, event: Created) -> None:  # noqa: ARG002
        """Have the gauges looked at."""
        self._changed()

    def on_create_failure(self, event: CreateFailed) -> None:  # noqa: ARG002
        """Have the gauges looked at."""
        self._changed()

    def on_close(self, event: Closed) -> None:  # noqa: ARG002
        """Have the gauges looked at."""
        self._changed()

    def _changed(self) -> None:
        if self._meter is not None:
            self._meter.wake()

    # Spans. Each is in the trace of the caller, whatever task it is made in.

    def acquiring_span(self, pool: str) -> AbstractContextManager[object] | None:  # noqa: ARG002 - it is one pool
        """Make the span of an acquisition; where there is no trace, only if it comes to wait."""
        self._changed()
        return _span(self._acquire, self._service) if _is_traced() else None

    def waiting_span(self, pool: str) -> AbstractContextManager[object]:  # noqa: ARG002 - it is one pool
        """Make the span of a wait: beside that of an open, not around it, since it may end before."""
        return self._waiting()

    def opening_span(self, pool: str) -> AbstractContextManager[object]:  # noqa: ARG002 - it is one pool
        """Make the span of a `create_connection`."""
        return _span(self._create, self._service)

    @contextmanager
    def _waiting(self) -> Generator[None]:
        acquiring = nullcontext() if _is_traced() else _span(self._acquire, self._service)
        with acquiring, tracer.start_span(self._wait, child_of=tracer.current_span(), service=self._service):
            try:
                yield
            finally:
                self._changed()


def _is_traced() -> bool:
    """Say whether there is a trace to be part of, of this process or of another."""
    return tracer.current_span() is not None or tracer.current_trace_context() is not None


def _span(name: str, service: str) -> AbstractContextManager[object]:
    span: AbstractContextManager[object] = tracer.trace(name, service=service)
    return span


def _checked_service(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"service_name must be a str, the prefix of all metrics, not {_shown(value)}")
    if not value.strip() or any(character in value for character in ":|\r\n"):
        raise ValueError(f"service_name must be neither empty nor have a ':', '|' or line break in it: {value!r}")
    return value


def _checked_tags(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise TypeError(f"extra_tags must be a list of tags such as ['env:prod'], or None, not {_shown(value)}")
    tags: tuple[Any, ...] = tuple(value)
    for tag in tags:
        if not isinstance(tag, str):
            raise TypeError(f"each of extra_tags must be a str such as 'env:prod', not {_shown(tag)}")
        if not tag:
            raise ValueError("each of extra_tags must have something in it, such as 'env:prod', not ''")
    return tags


def _checked_interval(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"flush_interval must be a number of seconds, not {_shown(value)}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"flush_interval must be finite and above 0, in seconds, not {value!r}")
    return value


def _shown(value: object) -> str:
    return f"{value!r} of type {type(value).__qualname__}"
