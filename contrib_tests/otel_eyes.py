"""What OpenTelemetry's SDK has been told, as plain numbers; and what it should be told."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

P = "db.client.connection"

# The table of the semantic conventions 1.44: the instrument as what it makes of a point, the unit.
UP_DOWN, COUNTER, HISTOGRAM = (Sum, False), (Sum, True), (Histogram, None)
CONVENTION = {
    f"{P}.count": (UP_DOWN, "{connection}"),
    f"{P}.idle.max": (UP_DOWN, "{connection}"),
    f"{P}.idle.min": (UP_DOWN, "{connection}"),
    f"{P}.max": (UP_DOWN, "{connection}"),
    f"{P}.pending_requests": (UP_DOWN, "{request}"),
    f"{P}.timeouts": (COUNTER, "{timeout}"),
    f"{P}.create_time": (HISTOGRAM, "s"),
    f"{P}.wait_time": (HISTOGRAM, "s"),
    f"{P}.use_time": (HISTOGRAM, "s"),
}
OURS = {
    f"{P}.rejections": (COUNTER, "{rejection}"),
    f"{P}.would_be_rejections": (COUNTER, "{rejection}"),
    f"{P}.create_failures": (COUNTER, "{failure}"),
    f"{P}.closed": (COUNTER, "{connection}"),
    f"{P}.bursts": (COUNTER, "{burst}"),
}


class Metrics:
    """A provider of meters, and what it was told."""

    def __init__(self, **options):
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], **options)

    def collect(self):
        """Collect: metrics by name."""
        data = self._reader.get_metrics_data()
        scopes = [] if data is None else [scope for told in data.resource_metrics for scope in told.scope_metrics]
        metrics = [metric for scope in scopes for metric in scope.metrics]
        names = [metric.name for metric in metrics]
        assert len(set(names)) == len(names), "an instrument exists twice"
        return {metric.name: metric for metric in metrics}

    def points(self, name):
        """Collect: the points of a metric by their attributes, whose common prefix is left out."""
        metric = self.collect().get(name)
        points = [] if metric is None else metric.data.data_points
        return {frozenset(_short(point.attributes).items()): point for point in points}

    def value(self, metric, /, **attributes):
        """Collect: the value of one point of a sum."""
        return self.points(metric)[frozenset(attributes.items())].value

    def histogram(self, metric, /, **attributes):
        """Collect: one point of a histogram."""
        return self.points(metric)[frozenset(attributes.items())]

    def pools(self):
        """Collect: the names of all pools of which the counts are told."""
        return {dict(key)["name"] for key in self.points("db.client.connection.max")}


def _short(attributes):
    return {name.rpartition(".")[2]: value for name, value in attributes.items()}


class Spans:
    """A provider of tracers, and the spans that have ended."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("the application")

    def named(self, name):
        """List those of a name, in the order in which they ended."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def parents(self, name):
        """List the names of the parents of those of a name."""
        names = {span.context.span_id: span.name for span in self._exporter.get_finished_spans()}
        return [names[span.parent.span_id] if span.parent else None for span in self.named(name)]
