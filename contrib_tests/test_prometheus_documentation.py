"""The page on Prometheus: its code runs, and it names every metric."""

from __future__ import annotations

from pathlib import Path

import pytest

import documentation
from prometheus_eyes import METRICS, PREFIX
from servers.process import free_port

PAGE = Path(__file__).parents[1] / "docs" / "prometheus.md"


def test_the_code_of_the_page_is_scraped():
    names = documentation.run(PAGE, servers={"prometheus"}, addresses={"9000": str(free_port()), "9100": "0"})
    server, thread = names["serve_pools"](0)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", METRICS)
def test_the_page_names_each_metric_with_its_type_and_labels(name):
    kind, labels = METRICS[name]
    own = "".join(f"`{label}` " for label in labels - {"le"})
    name += "_total" if kind == "counter" else ""
    assert f"\n| `{PREFIX}_{name}` | {kind} | {own}|" in PAGE.read_text(encoding="utf-8")
