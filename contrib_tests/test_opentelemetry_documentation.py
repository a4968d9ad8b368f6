"""The page on OpenTelemetry: its code runs, against a real receiver, and it names every metric."""

from __future__ import annotations

from pathlib import Path

import pytest

import documentation
from otel_eyes import CONVENTION, OURS
from servers import otlp

PAGE = Path(__file__).parents[1] / "docs" / "opentelemetry.md"


def test_the_code_of_the_page_sends_metrics_and_spans_to_a_receiver():
    with otlp.start() as receiver:
        documentation.run(PAGE, servers={"opentelemetry"}, addresses={"http://localhost:4318": receiver.url})
        receiver.wait_for(*[f"db.client.connection.{name}" for name in ("count", "wait_time", "wait", "create")])


@pytest.mark.parametrize("name", CONVENTION | OURS)
def test_the_page_names_each_metric_with_its_instrument_and_unit(name):
    (kind, monotonic), unit = (CONVENTION | OURS)[name]
    instrument = "histogram" if monotonic is None else "counter" if monotonic else "up-down counter"
    assert f"\n| `{name}` | {instrument} | `{unit}` |" in PAGE.read_text(encoding="utf-8"), kind
