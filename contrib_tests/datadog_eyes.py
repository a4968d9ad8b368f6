"""What Datadog gets to see: the datagrams of DogStatsD, and the spans of ddtrace.

Import this before anything that imports ddtrace or datadog: both read the environment then. The spans of a test process
go to `spans` and to no agent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

for _name in [name for name in os.environ if name.startswith(("DD_", "DATADOG_"))]:
    del os.environ[_name]
QUIET = {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
}
"""ddtrace talks to nobody but the agent, and of nothing but spans."""
os.environ |= QUIET

from datadog import statsd  # noqa: E402 - see above
from ddtrace.trace import Context, Span, TraceFilter, tracer  # noqa: E402

from servers.dogstatsd import Receiver  # noqa: E402

__all__ = ("QUIET", "Context", "Spans", "dogstatsd", "spans", "statsd", "tracer")


@contextmanager
def dogstatsd() -> Iterator[Receiver]:
    """Have the client of this process send to a receiver."""
    with Receiver() as receiver:
        statsd.close_socket()
        statsd.disable_telemetry()
        statsd.host, statsd.port = receiver.host, receiver.port
        yield receiver
        statsd.close_socket()


class Spans(TraceFilter):
    """Keeps the spans of each trace that has ended, and lets none of them out of the process."""

    def __init__(self) -> None:
        self.ended: list[Span] = []

    def process_trace(self, trace: list[Span]) -> None:
        self.ended += trace

    def named(self, name: str) -> list[Span]:
        """Those of one name, in the order of their beginning."""
        return sorted((span for span in self.ended if span.name == name), key=lambda span: span.start_ns)

    def one(self, name: str) -> Span:
        (span,) = self.named(name)
        return span


_spans = Spans()
tracer.configure(trace_processors=[_spans])


@contextmanager
def spans() -> Iterator[Spans]:
    """Collect the spans of the traces that end meanwhile."""
    _spans.ended.clear()
    yield _spans
    _spans.ended.clear()
