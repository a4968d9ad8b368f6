"""The page on Datadog and its dashboard: the code runs, and every name in them is emitted by a pool under load."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

import datadog_eyes
import documentation
from asyncio_connection_pool.contrib.datadog import ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy
from datadog_eyes import tracer
from scenarios import run_virtual, use

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "datadog.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((DOCS / "dashboards" / "datadog.json").read_text(encoding="utf-8"))

METRICS = {
    "shop.pool.total_connections": "g",
    "shop.pool.available_connections": "g",
    "shop.pool.waiting": "g",
    "shop.pool.connections_used": "g",
    "shop.pool.connections_acquiring": "g",
    "shop.pool.getting_connection": "c",
}
EVENTS = {"shop pool using burst capacity", "shop pool reached burst limit", "shop pool no longer bursting"}
SPANS = {"shop.pool.acquire_connection", "shop.pool._wait_for_connection", "shop.pool._create_new_connection"}


@pytest.fixture(scope="module")
def under_load():
    """What a pool under load has sent, and its spans."""

    async def load():
        async with ConnectionPool("shop", strategy=FakeStrategy(), max_size=2, burst_limit=4) as pool:

            async def work():
                with tracer.trace("request"):
                    await use(pool)
                    async with pool.get_connection():
                        await asyncio.sleep(3)

            await asyncio.gather(*[work() for _ in range(12)])
            await asyncio.sleep(2)
            await use(pool)

    with datadog_eyes.dogstatsd() as dogstatsd, datadog_eyes.spans() as spans:
        run_virtual(load())
        yield dogstatsd.take(), list(spans.ended)


def test_a_pool_under_load_sends_these_names_and_no_others(under_load):
    arrived, spans = under_load
    assert {metric.name: metric.kind for metric in arrived.metrics} == METRICS
    assert {event.title for event in arrived.events} == EVENTS
    assert {span.name for span in spans} - {"request"} == SPANS


def test_every_metric_has_been_above_zero_under_load(under_load):
    arrived, _ = under_load
    assert all(max(arrived.values(name)) > 0 for name in METRICS)


# The dashboard.


def queries():
    """Yield all queries of metrics on the dashboard."""
    for widget in DASHBOARD["widgets"]:
        for request in widget["definition"].get("requests", []):
            yield from (query["query"] for query in request["queries"])


def measured():
    """Name what they ask for, as `<aggregation>:<metric>{<scope>}`."""
    return {re.match(r"\w+:([\w.]+)\{", query)[1] for query in queries()}


def test_each_metric_on_the_dashboard_is_sent_by_a_pool_under_load(under_load):
    arrived, _ = under_load
    asked = {name for name in measured() if not name.startswith("trace.")}
    assert asked == {metric.name for metric in arrived.metrics}  # and none is left out


def test_each_span_on_the_dashboard_is_made_by_a_pool_under_load(under_load):
    """Datadog makes `trace.<name>`, `trace.<name>.hits` and `trace.<name>.errors` of spans."""
    _, spans = under_load
    asked = {name.removeprefix("trace.") for name in measured() if name.startswith("trace.")}
    assert {re.sub(r"\.(hits|errors)$", "", name) for name in asked} == {span.name for span in spans} - {"request"}


def test_each_tag_on_the_dashboard_is_sent_or_is_a_variable(under_load):
    arrived, spans = under_load
    variables = {f"${variable['name']}" for variable in DASHBOARD["template_variables"]}
    tags = {tag for metric in arrived.metrics for tag in metric.tags} | {f"service:{span.service}" for span in spans}
    for query in queries():
        assert set(re.search(r"\{(.*?)\}", query)[1].split(",")) <= variables | tags


def test_each_event_is_found_by_the_search_on_the_dashboard():
    (search,) = {w["definition"]["query"] for w in DASHBOARD["widgets"] if w["definition"]["type"] == "event_stream"}
    assert all(search.strip('"') in title for title in EVENTS)


def test_each_formula_on_the_dashboard_uses_queries_that_there_are():
    for widget in DASHBOARD["widgets"]:
        for request in widget["definition"].get("requests", []):
            names = {query["name"] for query in request["queries"]}
            used = {word for f in request["formulas"] for word in re.findall(r"[a-z]\w*", f["formula"])}
            assert used - {"default_zero"} == names


# The page.


def test_the_code_of_the_page_sends_metrics_and_spans():
    with datadog_eyes.dogstatsd() as dogstatsd, datadog_eyes.spans() as spans:
        documentation.run(DOCS / "datadog.md", servers={"datadog"})
        arrived = dogstatsd.take()
        assert len(spans.named("shop.pool.acquire_connection")) == 20 + 1
    assert arrived.count("shop.pool.getting_connection", "method:wait") > 0
    assert all("env:prod" in metric.tags for metric in arrived.metrics)


@pytest.mark.parametrize("name", sorted(set(METRICS) | SPANS | EVENTS))
def test_the_page_has_every_name(name):
    assert f"| `{name.removeprefix('shop.')}` |" in PAGE


def test_the_page_names_each_method():
    assert all(f"`method:{way}`" in PAGE for way in ("available", "new", "wait"))
