"""A pool that tells Datadog what it does: metrics and events by DogStatsD (datadog), spans by ddtrace.

All names are those of releases 1.x, so dashboards and monitors go on. What is sent is gathered first: a gauge makes at
most one packet in an interval, however many connections were acquired.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asyncio_connection_pool import ConnectionPool as _ConnectionPool

try:
    from asyncio_connection_pool.contrib._datadog_observer import DatadogObserver
except ImportError as _error:
    raise ImportError(
        f"{__name__} needs ddtrace 2.21 or later, and datadog: pip install asyncio-connection-pool[datadog]"
    ) from _error

if TYPE_CHECKING:
    from asyncio_connection_pool import ConnectionStrategy, PoolObserver

__all__ = ("ConnectionPool", "DatadogObserver")

Conn = TypeVar("Conn")


class ConnectionPool(_ConnectionPool[Conn]):
    """A pool that tells Datadog what it does.

    Args:
        service_name: Prefix of the names of all metrics and spans, and the service of the spans.
        extra_tags: Sent with all metrics and events; none by default.
        flush_interval: Seconds for which what is to be sent is gathered; 1 by default.
        strategy: As for any pool.
        max_size: As for any pool.
        name: As for any pool; that of the service by default. Any other name is a tag of all metrics and events,
            ``pool:<name>``, so that pools of one service can be told apart.
        observers: As for any pool; they are told besides.
        pool_arguments: Whatever else a pool takes.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range; see `DatadogObserver`.
    """

    def __init__(
        self,
        service_name: str,
        *,
        extra_tags: Iterable[str] | None = None,
        flush_interval: float = 1,
        strategy: ConnectionStrategy[Conn],
        max_size: int,
        name: str | None = None,
        observers: Iterable[PoolObserver] = (),
        **pool_arguments: Any,
    ) -> None:
        datadog = DatadogObserver(service_name, extra_tags=extra_tags, flush_interval=flush_interval)
        super().__init__(
            strategy=strategy,
            max_size=max_size,
            name=service_name if name is None else name,
            observers=_with(datadog, observers),
            **pool_arguments,
        )

    @property
    def _connections_acquiring(self) -> int:
        """Callers that have asked for a connection and have none yet, as releases 1.x counted them."""
        return self.stats().waiting


def _with(datadog: PoolObserver, others: Any) -> Iterable[PoolObserver]:
    """Add one to the observers; what is none of them is left for the pool to refuse."""
    return (*cast("Iterable[PoolObserver]", others), datadog) if isinstance(others, Iterable) else others
