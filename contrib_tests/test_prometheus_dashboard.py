"""Each metric that the Grafana dashboard names is one that a pool under load emits, and the other way round."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path

import pytest

import pool_load
from asyncio_connection_pool.contrib.prometheus import PrometheusMetrics
from asyncio_connection_pool.testing import run
from prometheus_eyes import PREFIX, serve

DASHBOARD = json.loads((Path(__file__).parents[1] / "docs/dashboards/grafana.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
QUERIES += [variable["definition"] for variable in VARIABLES.values() if variable["type"] == "query"]

SERIES = re.compile(rf"({PREFIX}\w*)(?:\{{(.*?)\}})?")
MATCHER = re.compile(r'(\w+)(=~|=)"(.*?)"')
GROUPED = re.compile(rf"by \((\w+)\) \((?:\w+\()?({PREFIX}\w*)")
FROM_PROMETHEUS = {"instance"}  # a label that Prometheus itself adds


@pytest.fixture(scope="module")
def emitted():
    """The labels of each series that was above 0 at some moment of a load, by the name of the metric."""
    seen = set()

    def look():
        seen.update(scraper.scrape().nonzero())

    async def main():
        async with pool_load.build([PrometheusMetrics(registry=scraper.registry)]) as pool:
            await pool_load.load(pool, look, every=0.1)

    with serve() as scraper:
        run(main())
    labels = {}
    for name, pairs in seen:
        labels.setdefault(name, []).append(dict(pairs))
    return labels


@pytest.mark.parametrize("query", QUERIES)
def test_what_a_query_asks_for_is_emitted_under_load(emitted, query):
    asked = SERIES.findall(query)
    assert asked
    for name, selector in asked:
        assert name in emitted
        for label, operator, value in MATCHER.findall(selector):
            if operator == "=~":
                assert value == f"${label}"
                assert label in VARIABLES
            assert label in FROM_PROMETHEUS or any(label in labels for labels in emitted[name])
            assert operator == "=~" or any(labels.get(label) == value for labels in emitted[name])


def test_what_a_query_groups_by_is_a_label_of_it(emitted):
    grouped = [pair for query in QUERIES for pair in GROUPED.findall(query)]
    assert len(grouped) == sum(query.count("by (") for query in QUERIES)
    for label, name in grouped:
        assert all(label in labels for labels in emitted[name])


def test_nothing_that_is_emitted_is_left_out(emitted):
    assert set(emitted) == {name for query in QUERIES for name, _ in SERIES.findall(query)}


def test_each_panel_says_what_it_shows_and_has_a_place_of_its_own():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["legendFormat"] for target in panel["targets"])
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
