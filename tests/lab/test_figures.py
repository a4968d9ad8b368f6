"""Figures as people write and read them: times, quantiles, tables, charts, and a line of progress."""

from __future__ import annotations

import io
import math
from xml.etree import ElementTree as ET

import pytest

from asyncio_connection_pool.lab import _figures
from asyncio_connection_pool.lab._plot import Line, draw
from asyncio_connection_pool.lab._progress import Progress


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0 µs"),
        (1.4e-06, "1 µs"),
        (0.00099, "990 µs"),
        (0.0009996, "1.0 ms"),
        (0.01234, "12.3 ms"),
        (0.99994, "999.9 ms"),
        (0.99996, "1.00 s"),
        (75.5, "75.50 s"),
        (math.inf, "refused"),
    ],
)
def test_a_time_is_written_in_the_unit_that_fits(value, text):
    assert _figures.seconds(value) == text


@pytest.mark.parametrize(
    "text, value",
    [("10ms", 0.01), ("10 ms", 0.01), ("5us", 5e-6), ("5µs", 5e-6), ("1.5s", 1.5), (" .5 ", 0.5), ("2", 2)],
)
def test_a_time_is_read_in_the_unit_that_it_has(text, value):
    assert _figures.parse_seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ms", "-1", "1h", "1.2.3", "nan", "inf"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="is no time"):
        _figures.parse_seconds(text)


def test_a_quantile_is_what_that_share_of_the_values_is_not_above():
    values = list(range(1, 101))
    assert [_figures.quantile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert _figures.quantile([7], 0.99) == 7
    assert _figures.quantile([], 0.99) == 0


def test_a_table_is_flush_right():
    assert _figures.table(["size", "p99"], [["5", "10 ms"], ["10", "–"]]) == (
        "size    p99\n----  -----\n   5  10 ms\n  10      –"
    )


def polylines(path):
    return [line.get("points").split() for line in ET.parse(path).getroot().findall("{*}polyline")]


@pytest.mark.usefixtures("drawn_by_hand")
def test_a_chart_leaves_out_what_is_not_finite(tmp_path):
    path = tmp_path / "chart.svg"
    draw(path, "a < b", "x", "y", [Line("&", [(1, 1), (2, math.inf), (3, 4)]), Line("none", [])])
    assert list(map(len, polylines(path))) == [2, 0]
    assert "a &lt; b" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "points",
    [[], [(1, 0)], [(1, 1), (1, 2)], [(0, 0.003)], [(n, n) for n in range(500)]],
    ids=["none", "flat", "upright", "low", "many"],
)
@pytest.mark.usefixtures("drawn_by_hand")
def test_a_chart_stays_within_its_frame(tmp_path, points):
    path = tmp_path / "chart.svg"
    draw(path, "title", "x", "y", [Line("line", points)])
    for point in polylines(path)[0]:
        x, y = map(float, point.split(","))
        assert 0 < x < 720
        assert 0 < y < 400


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_in_place_and_wiped_away():
    terminal = Terminal()
    with Progress(terminal) as progress:
        progress.show("half", 0.5)
        progress.show("all", 1)
    assert terminal.getvalue() == (f"\r[{'#' * 12}{'.' * 12}] half\r[{'#' * 24}] all{' '}\r{' ' * 30}\r")


def test_progress_is_not_written_to_a_file():
    file = io.StringIO()
    with Progress(file) as progress:
        progress.show("half", 0.5)
    assert file.getvalue() == ""
