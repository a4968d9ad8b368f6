"""Observers: what each integration adds to the cycle of `uncontended`, against the Datadog subclass of 1.1.1.

DogStatsD goes to a UDP socket of this machine that nobody reads; ddtrace is as it comes, and has no agent. "In a
request", both make a span of each acquisition, and three quarters of what ours adds is that span. Without a trace the
published begins one for each acquisition, ours only for one that has to wait, which here none has. Packets are counted
in virtual time, at 100 checkouts a second, and exactly.

`python -m benchmarks observers` needs `ddtrace` and `datadog`; OpenTelemetry and Prometheus take part if they are
installed. ddtrace delays the end by some seconds, since it looks for its agent.
"""

import asyncio
import importlib.util
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from asyncio_connection_pool import ConnectionPool, PoolObserver, testing

from . import published
from .contenders import Pool, close, strategy
from .figures import Budget, Figure, counted
from .measure import Rounds, Spread, Timer, interleave, now

ROUNDS = 31
CYCLES = 300
CHECKOUTS = 1_000
CONNECTIONS = 10
SERVICE = "shop"
TAGS = ("env:benchmark",)

A_FIFTH = Budget("at most", 0.2)

Build = Callable[[], Pool]


def run() -> Sequence[Figure]:
    """Measure all that are installed in one event loop, and count the packets of both for Datadog."""
    with _statsd_to(_socket()):
        return [*asyncio.run(_timed()), *_packets()]


# Who takes part.


def _builders() -> Mapping[str, Build]:
    return {
        "plain": _observed,
        "Datadog": _datadog,
        **{name: build for name, build in _OTHERS.items() if _is_installed(build)},
        "published Datadog": _published_datadog,
    }


def _observed(*observers: PoolObserver) -> Pool:
    return ConnectionPool(strategy=strategy(), max_size=CONNECTIONS, observers=observers)


def _datadog() -> Pool:
    from asyncio_connection_pool.contrib import datadog

    return datadog.ConnectionPool(SERVICE, extra_tags=TAGS, strategy=strategy(), max_size=CONNECTIONS)


def _opentelemetry(kind: str) -> Pool:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from asyncio_connection_pool.contrib import opentelemetry

    provider = MeterProvider(metric_readers=[InMemoryMetricReader()])
    return _observed(getattr(opentelemetry, kind)(meter_provider=provider))


def _prometheus(kind: str) -> Pool:
    from prometheus_client import CollectorRegistry

    from asyncio_connection_pool.contrib import prometheus

    return _observed(getattr(prometheus, kind)(registry=CollectorRegistry()))


_OTHERS: Mapping[str, Build] = {
    "OpenTelemetry, counts": partial(_opentelemetry, "OpenTelemetryCounts"),
    "OpenTelemetry, metrics": partial(_opentelemetry, "OpenTelemetryMetrics"),
    "Prometheus, counts": partial(_prometheus, "PrometheusCounts"),
    "Prometheus, metrics": partial(_prometheus, "PrometheusMetrics"),
}


def _is_installed(build: Build) -> bool:
    try:
        build()
    except ImportError:
        return False
    return True


def _published_datadog() -> Pool:
    """Load the published subclass upon the published pool, which is installed under no name of its own."""
    core = published.load()
    path = published.folder() / "asyncio_connection_pool" / "contrib" / "datadog.py"
    spec = importlib.util.spec_from_file_location(f"{published.MODULE}_datadog", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    ours, sys.modules["asyncio_connection_pool"] = sys.modules["asyncio_connection_pool"], core
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules["asyncio_connection_pool"] = ours
    same = strategy()
    same.make_connection = same.create_connection  # as it was called
    pool: Pool = module.ConnectionPool(SERVICE, extra_tags=[*TAGS], strategy=same, max_size=CONNECTIONS)
    return pool


# Time.


async def _timed() -> Sequence[Figure]:
    figures: list[Figure] = []
    for where, trace in (("", nullcontext), (", in a request", _trace)):
        timers = {name: _timer(build(), trace) for name, build in _builders().items()}
        taken = await interleave(timers, ROUNDS)
        figures += _figures(where, taken)
    return figures


def _figures(where: str, taken: Rounds) -> Iterator[Figure]:
    for name, values in taken.items():
        yield Figure(f"{name}{where}", "ns", Spread.of(values))
    reference = taken["published Datadog"]
    for name, values in taken.items():
        if name not in {"plain", "published Datadog"}:
            yield Figure(f"{name} / published Datadog{where}", "×", Spread.of_ratio(values, reference), A_FIFTH)


def _trace() -> AbstractContextManager[object]:
    from ddtrace.trace import tracer

    span: AbstractContextManager[object] = tracer.trace("request", service=SERVICE)
    return span


def _timer(pool: Pool, trace: Callable[[], AbstractContextManager[object]]) -> Timer:
    async def cycle() -> float:
        began = now()
        with trace():
            for _ in range(CYCLES):
                async with pool.get_connection() as _conn:
                    pass
        return (now() - began) / CYCLES

    return cycle


# Packets.


def _packets() -> Iterator[Figure]:
    for name, build in {"Datadog": _datadog, "published Datadog": _published_datadog}.items():
        case = f"packets of {CHECKOUTS:,} checkouts, 100 a second"
        yield counted(case, name, "packets", testing.run(_count_packets(build)))


async def _count_packets(build: Build) -> int:
    """Count the datagrams that arrive; they are read as they come, for a socket holds only so many."""
    with _socket() as receiver, _statsd_to(receiver):
        pool, packets = build(), 0
        for _ in range(CHECKOUTS):
            async with pool.get_connection() as _conn:
                pass
            packets += _arrived(receiver)
            await asyncio.sleep(0.01)
        await close(pool)
        return packets + _arrived(receiver)


def _arrived(receiver: socket.socket) -> int:
    packets = 0
    while True:
        try:
            receiver.recv(65_536)
        except BlockingIOError:
            return packets
        packets += 1


def _socket() -> socket.socket:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.setblocking(False)
    return receiver


@contextmanager
def _statsd_to(receiver: socket.socket) -> Iterator[None]:
    """Have the client that both use send to a socket, and nothing of its own."""
    statsd: Any = importlib.import_module("datadog").statsd
    before = statsd.host, statsd.port
    statsd.close_socket()
    statsd.disable_telemetry()
    statsd.host, statsd.port = receiver.getsockname()
    try:
        yield
    finally:
        statsd.close_socket()
        statsd.host, statsd.port = before
