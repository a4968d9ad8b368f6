"""The transcripts in docs/lab.md have the lines, the columns and the labels that the commands print now."""

from __future__ import annotations

import json
import random
import re
import shlex
from itertools import groupby
from pathlib import Path

import pytest

from asyncio_connection_pool.lab import _targets
from asyncio_connection_pool.lab._cli import main
from asyncio_connection_pool.lab._targets import Target

PAGE = Path(__file__).parents[2] / "docs" / "lab.md"
BLOCK = re.compile(r"^```console\n\$ python -m asyncio_connection_pool (.*?)^```$", re.MULTILINE | re.DOTALL)


def transcripts():
    """Find the commands of the page, each with what it printed."""
    blocks = [block.replace("\\\n", " ") for block in BLOCK.findall(PAGE.read_text(encoding="utf-8"))]
    return {command: out for command, _, out in (block.partition("\n") for block in blocks)}


def shape(out):
    """Leave out what differs from run to run: figures, cells, and how often a line comes again."""
    out = re.sub(r"[█▓░·]{16}", "cells", out)
    out = re.sub(r"-{2,}", "--", out)
    out = re.sub(r"\b\d[\d,.]*\d( (µs|ms|s)\b)?|\b\d( (µs|ms|s)\b)?", "#", out)
    lines = [" ".join(line.split()).replace(" – ", " # ") for line in out.splitlines()]
    return [line for line, _ in groupby(lines)]


def commands(name):
    """The commands of that name on the page."""
    return [command for command in transcripts() if shlex.split(command)[0] == name]


def printed(command, capsys, *more):
    """Run a command of the page; return what it prints."""
    assert main([*shlex.split(command), *more]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    """Files of the commands are written to, and read from, a folder of their own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_command_has_a_transcript():
    assert {shlex.split(command)[0] for command in transcripts()} == {"demo", "load", "advise"}
    assert [("--sweep" in command) for command in commands("load")] == [False, True]
    assert all(transcripts().values())


@pytest.mark.parametrize("command", commands("demo"))
def test_the_transcript_of_demo_is_what_it_prints(command, capsys):
    assert shape(transcripts()[command]) == shape(printed(command, capsys, "--seconds", "700ms"))


@pytest.mark.usefixtures("drawn_by_hand")
@pytest.mark.parametrize("command", commands("load"))
def test_the_transcript_of_load_is_what_it_prints(command, capsys, server, monkeypatch):
    monkeypatch.setitem(
        *(_targets.KINDS, "postgresql"),
        lambda url, query: Target(_targets.url_name(url), server.strategy, query, server.operate),
    )
    assert shape(transcripts()[command]) == shape(printed(command, capsys))


@pytest.mark.parametrize("command", commands("advise"))
def test_the_transcript_of_advise_is_what_it_prints(command, capsys, somewhere):
    chance = random.Random(1)
    at = 0.0
    lines = [{"recording": 1, "pool": "shop", "max_size": 8, "burst_limit": 16}]
    lines += [{"at": 0, "opened": 0.004}, {"at": 0, "reset": 0.0005}]
    for _ in range(2_000):
        at += chance.expovariate(300)
        lines.append({"at": at, "waited": 0, "held": chance.expovariate(1 / 0.012)})
    (somewhere / "shop.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert shape(transcripts()[command]) == shape(printed(command, capsys))
