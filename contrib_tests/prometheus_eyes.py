"""What Prometheus sees when it scrapes; and what it should see."""

from __future__ import annotations

from contextlib import contextmanager
from urllib.request import Request, urlopen

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

PREFIX = "asyncio_connection_pool"

# Name, type and labels besides the pool's name.
METRICS = {
    "connections": ("gauge", {"state"}),
    "waiting": ("gauge", set()),
    "max_size": ("gauge", set()),
    "min_size": ("gauge", set()),
    "limit": ("gauge", set()),
    "acquisitions": ("counter", {"how"}),
    "waited_seconds": ("counter", set()),
    "timeouts": ("counter", set()),
    "rejections": ("counter", set()),
    "would_be_rejections": ("counter", set()),
    "opened": ("counter", set()),
    "create_failures": ("counter", set()),
    "closed": ("counter", {"reason"}),
    "bursts": ("counter", {"phase"}),
    "wait_seconds": ("histogram", {"le"}),
    "use_seconds": ("histogram", {"le"}),
    "create_seconds": ("histogram", {"le"}),
}


class Page:
    """One scrape: the families by name, and the samples by name and labels."""

    def __init__(self, families):
        self.families = {family.name: family for family in families}
        self.samples = {}
        for family in self.families.values():
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, "a series is told twice"
                self.samples[key] = sample.value

    def value(self, name, **labels):
        """Return the value of one series; the prefix of its name is left out."""
        return self.samples[f"{PREFIX}_{name}", frozenset(labels.items())]

    def pools(self):
        """Return the names of all pools."""
        return {dict(labels)["pool"] for _, labels in self.samples}

    def nonzero(self):
        """Return the series with a value above 0."""
        return {key for key, value in self.samples.items() if value}


class Scraper:
    """A registry, and the server that Prometheus would scrape."""

    def __init__(self, port, registry=None):
        self.registry = registry
        self._url = f"http://127.0.0.1:{port}/metrics"

    def scrape(self, *, accept="text/plain"):
        """Scrape it."""
        with urlopen(Request(self._url, headers={"Accept": accept}), timeout=30) as answer:
            text = answer.read().decode()
            kind = answer.headers["Content-Type"].partition(";")[0]
        assert kind == accept
        parse = parse_openmetrics if kind == "application/openmetrics-text" else parse_text
        return Page(parse(text))


@contextmanager
def serve():
    """Serve a new registry over HTTP."""
    registry = CollectorRegistry()
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield Scraper(server.server_port, registry)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
