"""From a pool under load through the SDK and its exporters to a receiver in another process."""

from __future__ import annotations

import asyncio

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import pool_load
from asyncio_connection_pool.contrib.opentelemetry import OpenTelemetryMetrics, OpenTelemetrySpans
from asyncio_connection_pool.testing import run
from otel_eyes import CONVENTION, OURS, P
from servers import otlp


def attributes(message):
    return {item["key"]: next(iter(item["value"].values())) for item in message["attributes"]}


def test_a_receiver_gets_all_metrics_and_spans():
    with otlp.start() as receiver:
        stats = send(receiver.url)
        told = receiver.wait_for(*CONVENTION, *OURS, f"{P}.wait", f"{P}.create", "request")
    counts = {attributes(point)[f"{P}.state"]: point["asInt"] for point in told[f"{P}.count"]["sum"]["dataPoints"]}
    assert counts == {"idle": stats.idle, "used": 0, "opening": 0, "validating": 0, "resetting": 0, "closing": 0}
    (timeouts,) = told[f"{P}.timeouts"]["sum"]["dataPoints"]
    assert timeouts["asInt"] == stats.timeouts
    assert told[f"{P}.timeouts"]["sum"]["isMonotonic"]
    assert not told[f"{P}.count"]["sum"]["isMonotonic"]
    (waits,) = told[f"{P}.wait_time"]["histogram"]["dataPoints"]
    assert int(waits["count"]) == stats.acquired
    assert told[f"{P}.wait_time"]["unit"] == "s"
    for name in ("wait", "create"):
        assert told[f"{P}.{name}"]["traceId"] == told["request"]["traceId"]
        assert told[f"{P}.{name}"]["parentSpanId"] == told["request"]["spanId"]


def send(url):
    """Load a pool, and export what is told of it; return its figures."""
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"), export_interval_millis=1e9)
    meters, tracers = MeterProvider([reader]), TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    observers = [OpenTelemetryMetrics(meter_provider=meters), OpenTelemetrySpans(tracer_provider=tracers)]

    async def main():
        pool = pool_load.build(observers, min_size=0)
        with tracers.get_tracer("the application").start_as_current_span("request"):
            stats = await asyncio.create_task(pool_load.load(pool))
        assert meters.force_flush(30_000)
        await pool.close()
        return stats

    stats = run(main())
    meters.shutdown()
    tracers.shutdown()
    return stats
