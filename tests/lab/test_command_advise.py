"""`advise FILE` says what other sizes would have done, and which is the smallest that would do."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from itertools import takewhile
from xml.etree import ElementTree as ET

import pytest

from asyncio_connection_pool.lab import Caller, Recording
from asyncio_connection_pool.lab._advisor import Advisor
from asyncio_connection_pool.lab._cli import main

THREE_AT_ONCE = tuple(Caller(10.0 * n, 1.0) for n in range(100) for _ in range(3))
"""Of every three that come at once, one waits if there are but two connections."""


@pytest.fixture
def file(tmp_path):
    """A recording of a pool of two, in which every third caller waited."""
    path = tmp_path / "shop.jsonl"
    header = {"recording": 1, "began": 0, "pool": "shop", "max_size": 2, "burst_limit": None}
    lines = [{"at": caller.at, "held": caller.held, "waited": n % 3 // 2} for n, caller in enumerate(THREE_AT_ONCE)]
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)))
    return path


def table(out):
    """Read the table that was printed: a row for each size."""
    lines = out.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("----"))
    rows = [re.split(r" {2,}", line.strip()) for line in takewhile(bool, lines[first + 1 :])]
    return {(row[0], row[1]): row[2:] for row in rows}


def test_it_describes_the_recording_and_advises(file, capsys):
    assert main(["advise", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"{file}, pool 'shop': max_size=2, burst_limit=None" in out
    assert "300 in 992.00 s, 0.3 a second; each held one for 1.00 s on average, so 0.30 were in use" in out
    assert "waited      p50 0 µs, p99 1.00 s; none got no connection" in out
    assert "opens       none was recorded, so they take no time (see --connect-seconds)" in out
    assert "resets      none was recorded, so they take no time (see --reset-seconds)" in out
    assert "The smallest that keeps the p99 within 10.0 ms: max_size=3: p99 0 µs" in out
    assert table(out)["2", "–"] == ["0 µs", "1.00 s", "1.00 s", "0", "2.00", "2", "2"]


def test_a_target_that_a_smaller_one_meets(file, capsys):
    assert main(["advise", str(file), "--target-p99", "1.5s"]) == 0
    assert "within 1.50 s: max_size=2: p99 1.00 s" in capsys.readouterr().out


def test_it_finds_a_pool_that_bursts_if_that_keeps_fewer_open(file, capsys):
    assert main(["advise", str(file), "--shrink-delay", "0"]) == 0
    assert "With fewer at rest: max_size=1, burst_limit=3: p99 0 µs, 1.20 open" in capsys.readouterr().out
    assert main(["advise", str(file), "--shrink-delay", "1000s"]) == 0
    assert "With fewer" not in capsys.readouterr().out


def test_sizes_and_limits_that_are_asked_for_are_tried(file, capsys):
    assert main(["advise", str(file), "--max-size", "1, 2", "--burst-limit", "2,6"]) == 0
    assert {("1", "–"), ("2", "–"), ("1", "2"), ("1", "6"), ("2", "6")} <= table(capsys.readouterr().out).keys()


def test_those_who_give_up_are_shown(file, capsys):
    assert main(["advise", str(file), "--acquire-timeout", "0.5"]) == 0
    row = table(capsys.readouterr().out)["1", "–"]
    assert row[:4] == ["refused", "refused", "refused", "200"]


def test_where_no_size_does_it_says_why(file, capsys):
    assert main(["advise", str(file), "--connect-seconds", "9", "--busiest", "15s"]) == 0
    assert (
        "No size keeps the p99 within 10.0 ms: what remains is the time that an open takes" in capsys.readouterr().out
    )


def test_a_reset_takes_as_long_as_was_recorded_or_is_said(file, capsys):
    with file.open("a") as lines:
        lines.write('{"at": 1, "reset": 1}\n{"at": 2, "reset": 1.0}\n')
    assert main(["advise", str(file)]) == 0
    out = capsys.readouterr().out
    assert "resets      2, which took 1.00 s on average" in out
    assert table(out)["1", "–"][2] == "4.00 s", "two holds and two resets"
    assert main(["advise", str(file), "--reset-seconds", "2s"]) == 0
    assert table(capsys.readouterr().out)["1", "–"][2] == "6.00 s"
    assert main(["advise", str(file), "--reset-seconds", "0"]) == 0
    assert table(capsys.readouterr().out)["1", "–"][2] == "2.00 s"


def test_the_busiest_stretch_can_be_looked_at_alone(file, capsys):
    assert main(["advise", str(file), "--busiest", "15s"]) == 0
    assert "busiest     6 in 12.00 s" in capsys.readouterr().out


@pytest.mark.usefixtures("drawn_by_hand")
def test_a_plot_is_an_svg(file, tmp_path, capsys):
    plot = tmp_path / "waits.svg"
    assert main(["advise", str(file), "--plot", str(plot)]) == 0
    assert f"drawn: {plot}" in capsys.readouterr().out
    picture = ET.parse(plot).getroot()
    lines = picture.findall("{*}polyline")
    assert len(lines) == 3
    texts = [text.text for text in picture.findall("{*}text")]
    assert {"Waits by size: shop.jsonl", "max_size", "ms", "— p50", "— p99", "— target"} <= set(texts)


def test_where_one_connection_does_it_says_one():
    advice = Advisor(Recording((Caller(0, 1), Caller(5, 1))), 0.01).advise()
    assert [outcome.max_size for outcome in advice.tried] == [1]
    assert (advice.smallest, advice.bursting) == (advice.tried[0], None)


def test_each_size_is_replayed_once_and_told():
    told = []
    advice = Advisor(Recording(THREE_AT_ONCE), 0.01, tell=told.append).advise([3, 2, 1], [3])
    assert sorted(told[1:], key=str) == sorted(advice.tried, key=str)


def test_as_a_command_it_needs_nothing_but_python(file):
    command = [sys.executable, "-I", "-m", "asyncio_connection_pool", "advise", str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    assert "max_size=3" in done.stdout
    assert done.stderr == ""


# Errors for people.


def complaint(capsys, *arguments):
    """Give the one line that is written to stderr."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_a_file_that_cannot_be_read(tmp_path, capsys):
    assert "nowhere can't be read: No such file" in complaint(capsys, "advise", tmp_path / "nowhere")
    assert "can't be read: Is a directory" in complaint(capsys, "advise", tmp_path)


def test_a_file_that_is_no_recording(capsys):
    assert "test_command_advise.py is no recording: its line 1 is no JSON" in complaint(capsys, "advise", __file__)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["dance"], "invalid choice: 'dance'"),
        (["advise"], "the following arguments are required: file"),
        (["advise", "f", "--max-size", "5,0"], "argument --max-size: '0' is no whole number of at least 1"),
        (["advise", "f", "--max-size", "a"], "'a' is no whole number"),
        (["advise", "f", "--target-p99", "soon"], "'soon' is no time: write 10ms, 1.5s or 0.01 (seconds)"),
        (["advise", "f", "--busiest", "0"], "argument --busiest: it has to be more than 0"),
        (["advise", "f", "--plot", "waits.gif"], "'waits.gif': the name of a plot ends in .svg, .png, .pdf"),
        (
            ["advise", "f", "--plot", "waits.png"],
            "waits.png needs matplotlib, without which a plot is a .svg: pip install",
        ),
        (["advise", "f", "--plot", "/nowhere/waits.svg"], "/nowhere/waits.svg can't be written: No such file"),
        (["advise", "f", "--max-waiting", "-1"], "'-1' is no whole number"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("drawn_by_hand")
def test_arguments_that_make_no_sense(arguments, message, capsys):
    assert message in complaint(capsys, *arguments)


def test_without_a_command_it_says_which_there_are(capsys):
    assert main([]) == 0
    assert "advise" in capsys.readouterr().out


def test_what_is_printed_may_go_anywhere():
    with redirect_stdout(io.StringIO()) as out:
        assert main([]) == 0
    assert "advise" in out.getvalue()
