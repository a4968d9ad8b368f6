"""With the extra `lab` the lab is prettier on a terminal, and plots are matplotlib's; what is piped stays as it is."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from xml.etree import ElementTree as ET

import pytest

import lab_runs
from asyncio_connection_pool.lab import _screen
from asyncio_connection_pool.lab._plot import Line, draw
from asyncio_connection_pool.lab._progress import Progress

ESCAPE = "\x1b["
COLOURS = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "25", "PYTHONIOENCODING": "utf-8"}
"""What a terminal of today says of itself."""
FORGOTTEN = "NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What is printed goes to a terminal that knows colours, whoever runs this."""
    for name in FORGOTTEN:
        monkeypatch.delenv(name, raising=False)
    for name, value in COLOURS.items():
        monkeypatch.setenv(name, value)


@contextmanager
def terminal():
    """Give a terminal, to which goes what is printed within the block."""
    with redirect_stdout(Terminal()) as found, redirect_stderr(found):
        yield found


def shown(show, *arguments):
    """Return what a terminal is sent."""
    with terminal() as found:
        show(*arguments)
    return found.getvalue()


def plain(text):
    """Leave the colours out."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_a_table_has_the_chosen_row_in_green_and_bad_news_in_red():
    rows = [["5", "refused", "3"], ["10", "10 ms", "0"]]
    sent = shown(_screen.table, ["size", "p99", "errors"], rows, rows[1])
    bad, good = [line for line in sent.splitlines() if line.strip()][-2:]
    assert re.findall(r"\[31m *(\w+)", bad) == ["refused", "3"]
    assert "[1;32m" in good
    assert "[31m" not in good
    head, rule, *body = [line.split() for line in plain(sent).splitlines() if line.strip()]
    assert head == ["size", "p99", "errors"]
    assert set("".join(rule)) == {"─"}
    assert body == [["5", "refused", "3"], ["10", "10", "ms", "0"]]


def test_a_table_that_is_wider_than_the_terminal_keeps_its_figures():
    figures = [f"{number}.00 ms" for number in range(10, 40)]
    sent = plain(shown(_screen.table, [f"size {figure}" for figure in figures], [figures]))
    assert all(figure in sent.splitlines()[-2] for figure in figures)


def test_brackets_are_no_markup():
    assert "[red]" in plain(shown(_screen.table, ["size"], [["[red]"]]))


def test_cells_have_colours_and_stay_on_their_line():
    line = "  1.0 s  9 callers  ████▓▓░░··  6 in use, [2] idle" + " " * 60 + "waiting"
    sent = shown(_screen.cells, line)
    assert plain(sent) == line + "\n"
    for code, drawn in [("32", "████"), ("33", "▓▓"), ("36", "░░"), ("2", "··")]:
        assert f"{ESCAPE}{code}m{drawn}" in sent


def test_progress_is_a_bar_that_is_wiped_away():
    with terminal() as found:
        with _screen.progress() as progress:
            progress.show("[2] replayed")
            progress.show("half", 0.5)
            half = plain(found.getvalue())
            progress.show("all", 1)
    assert "[2] replayed" in half
    assert half.rpartition("━ ")[2].startswith("half")
    assert found.getvalue().endswith(f"{ESCAPE}2K"), "the line is erased"


@pytest.mark.parametrize("name, value", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_gets_none(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert shown(_screen.table, ["size"], [["5"]], ["5"]) == "size\n----\n   5\n"
    assert shown(_screen.cells, "██░░") == "██░░\n"
    with terminal():
        assert type(_screen.progress()) is Progress


def test_no_color_that_is_empty_says_nothing(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    assert ESCAPE in shown(_screen.cells, "██░░")


# Whole commands.


@pytest.fixture
def file(tmp_path):
    """A recording of two callers that came at once."""
    header = {"recording": 1, "pool": "shop", "max_size": 2, "burst_limit": None}
    lines = [header, *[{"at": 0, "held": 1, "waited": 0}] * 2]
    path = tmp_path / "shop.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def on_a_terminal(*arguments, **environment):
    """Run a command whose stdout and stderr are a real terminal; return what that was sent."""
    ours, theirs = os.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in FORGOTTEN} | COLOURS | environment
    with subprocess.Popen([*lab_runs.COMMAND, *map(str, arguments)], stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        sent = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    return sent.decode()


def read(terminal):
    """Read a part; nothing where the last one who could write has gone."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def test_on_a_terminal_it_is_in_colours_and_says_the_same_as_in_a_pipe(file):
    piped = lab_runs.run("advise", file)
    assert ESCAPE not in piped
    assert "----" in piped
    sent = on_a_terminal("advise", file)
    assert "[1;32m" in sent
    said = [line for line in plain(sent).splitlines() if line.startswith(("recorded", "The smallest"))]
    assert said == [line for line in piped.splitlines() if line.startswith(("recorded", "The smallest"))]


def test_on_a_terminal_with_no_color_it_is_as_in_a_pipe_but_for_the_progress(file):
    sent = on_a_terminal("advise", file, NO_COLOR="1")
    assert ESCAPE not in sent
    assert sent.replace("\r\n", "\n").endswith(lab_runs.run("advise", file).partition("\n\n")[2])


def test_a_demo_is_in_colours():
    sent = on_a_terminal("demo", "--seconds", "300ms")
    assert f"{ESCAPE}32m█" in sent
    assert "the server   saw" in sent


@pytest.mark.parametrize(
    "ending, begins", [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")], ids=["svg", "png", "pdf"]
)
def test_a_plot_is_what_its_name_ends_in(file, tmp_path, ending, begins):
    plot = tmp_path / f"waits.{ending}"
    assert f"drawn: {plot}" in lab_runs.run("advise", file, "--plot", plot)
    assert plot.read_bytes().startswith(begins)


def test_a_plot_leaves_out_what_is_not_finite_and_reads_no_formulas(tmp_path):
    plot = tmp_path / "waits.svg"
    draw(plot, "SELECT $1 + $", "max_size", "ms", [Line("p99", [(1, 1), (2, float("inf")), (3, 4)]), Line("none", [])])
    names = {group.get("id") for group in ET.parse(plot).iter("{http://www.w3.org/2000/svg}g")}
    assert {"figure_1", "axes_1", "legend_1"} <= names
