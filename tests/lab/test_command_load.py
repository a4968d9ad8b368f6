"""`load URL` measures a pool under load: here in virtual time, on connections to nowhere."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from itertools import takewhile
from xml.etree import ElementTree as ET

import pytest

from asyncio_connection_pool.lab import Recording, _targets
from asyncio_connection_pool.lab._cli import main
from asyncio_connection_pool.testing import NEVER, FakeStrategy


def load(*arguments, url="fake://user:secret@server/0?option=1"):
    return main(["load", url, "--query", "WAIT", *map(str, arguments)])


def rows(out):
    """Read the table that was printed."""
    lines = out.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("----"))
    names = re.split(r" {2,}", lines[first - 1].strip())
    body = takewhile(bool, lines[first + 1 :])
    return [dict(zip(names, re.split(r" {2,}", line.strip()), strict=True)) for line in body]


def test_clients_ask_again_and_again(server, capsys):
    assert load("--clients", 20, "--max-size", 5, "--seconds", "10s") == 0
    out, err = capsys.readouterr()
    assert "WAIT at fake://server/0, 20 clients, 10.00 s for each size\n" in out
    (row,) = rows(out)
    assert int(row["served"].replace(",", "")) == pytest.approx(5_000, rel=0.01)
    assert int(row["a second"]) == pytest.approx(500, rel=0.01)
    assert [row[name] for name in ("wait p50", "wait p99", "query p50", "query p99")] == [
        *["30.0 ms"] * 2,
        *["10.0 ms"] * 2,
    ]
    assert [row[name] for name in ("max_size", "burst_limit", "opened", "closed", "errors")] == [
        "5",
        "–",
        "5",
        "0",
        "0",
    ]
    assert "secret" not in out
    assert err == ""
    assert not server.strategy.open


def test_callers_come_at_random_times_however_slow_the_pool_is(server, capsys):
    assert load("--rate", 100, "--max-size", 1, "--acquire-timeout", "200ms", "--seconds", "20s") == 0
    out = capsys.readouterr().out
    assert ", 100 callers a second, " in out
    (row,) = rows(out)
    came = int(row["served"].replace(",", "")) + int(row["errors"].replace(",", ""))
    assert came == pytest.approx(2_000, rel=0.05)
    assert "× PoolTimeoutError: pool 'load' had no connection within 0.2 s" in out


def test_the_same_seed_lets_them_come_at_the_same_times(server, tmp_path):
    recordings = []
    for number, seed in enumerate((1, 1, 2)):
        file = tmp_path / f"{number}.jsonl"
        assert load("--rate", 50, "--max-size", 2, "--seconds", "2s", "--seed", seed, "--record", file) == 0
        recordings.append(Recording.read(file).callers)
    assert recordings[0] == recordings[1] != recordings[2]


@pytest.mark.usefixtures("drawn_by_hand")
def test_each_size_of_a_sweep_is_measured(server, capsys, tmp_path):
    plot = tmp_path / "sweep.svg"
    assert load("--sweep", "1,2,4", "--clients", 8, "--seconds", "1s", "--plot", plot) == 0
    out = capsys.readouterr().out
    assert [(row["max_size"], row["opened"]) for row in rows(out)] == [("1", "1"), ("2", "2"), ("4", "4")]
    assert [row["wait p99"] for row in rows(out)] == ["70.0 ms", "30.0 ms", "10.0 ms"]
    assert f"drawn: {plot}" in out
    assert len(ET.parse(plot).getroot().findall("{*}polyline")) == 4


@pytest.mark.usefixtures("drawn_by_hand")
def test_a_burst_is_opened_and_closed(server, capsys, tmp_path):
    plot = tmp_path / "time.svg"
    options = [
        "--max-size",
        1,
        "--burst-limit",
        3,
        "--shrink-delay",
        0,
        "--rate",
        60,
        "--seconds",
        "2s",
        "--plot",
        plot,
    ]
    assert load(*options) == 0
    out = capsys.readouterr().out
    (row,) = rows(out)
    assert row["burst_limit"] == "3"
    assert int(row["opened"]) - int(row["closed"]) <= 3
    assert f"\nmax_size=1: closed {row['closed']} surplus\n" in out
    points = ET.parse(plot).getroot().find("{*}polyline").get("points").split()
    assert len(points) == pytest.approx(21, abs=1), "ten looks a second"


def test_errors_are_counted_by_kind_and_the_first_of_each_is_shown(server, capsys):
    async def fail(number):
        if number > 1:
            raise (ValueError, OSError)[number % 2](f"no {number}")

    server.answer = fail
    assert load("--clients", 2, "--seconds", "950ms") == 0
    out = capsys.readouterr().out
    assert "\nmax_size=10: 10 × ValueError: no 2\nmax_size=10: 10 × OSError: no 3\n" in out
    assert rows(out)[0]["errors"] == "20"
    assert rows(out)[0]["wait p99"] == "0 µs"


def test_control_c_ends_it_with_what_was_measured_so_far(server, capsys):
    async def press(number):
        if number == 500:
            signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0.01)

    server.answer = press
    assert load("--sweep", "5,10", "--seconds", "10s") == 0
    out = capsys.readouterr().out
    (row,) = rows(out)
    assert 400 < int(row["served"]) < 500
    assert out.endswith("interrupted: this is what was measured until then\n")
    assert not server.strategy.open


def test_what_is_under_way_at_the_end_may_end_and_is_not_counted(server, capsys):
    async def slow(number):
        await asyncio.sleep(0.0 if number == 1 else 1.5)

    server.answer = slow
    assert load("--clients", 3, "--max-size", 2, "--seconds", "1s") == 0
    assert rows(capsys.readouterr().out)[0]["served"] == "0"
    assert server.asked == 3, "with the one at first; nobody began when time was over"


def test_what_never_ends_is_broken_off(server, capsys):
    async def hang(number):
        if number > 1:
            await asyncio.Event().wait()

    server.answer = hang
    assert load("--clients", 3, "--max-size", 2, "--seconds", "1s") == 0
    assert rows(capsys.readouterr().out)[0]["errors"] == "0"
    assert not server.strategy.open


def test_a_recording_can_be_advised_on(server, capsys, tmp_path):
    file = tmp_path / "load.jsonl"
    assert load("--rate", 200, "--max-size", 20, "--seconds", "2s", "--record", file) == 0
    assert f"recorded: {file}" in capsys.readouterr().out
    assert main(["advise", str(file)]) == 0
    assert "which took 0 µs on average" in capsys.readouterr().out


# Errors for people.


def complaint(capsys, *arguments, **options):
    """Give the one line that is written to stderr."""
    assert load(*arguments, **options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_no_server_there(server, capsys):
    server.strategy = FakeStrategy(create=[ConnectionRefusedError("nobody\nlistens")])
    message = "can't connect to fake://server/0: ConnectionRefusedError: nobody listens"
    assert message in complaint(capsys)


def test_a_server_that_does_not_take_the_connection(server, capsys):
    server.strategy = FakeStrategy(create=[NEVER])
    assert "can't connect to fake://server/0: TimeoutError\n" in complaint(capsys)


def test_a_query_that_the_server_refuses(server, capsys):
    async def refuse(number):
        raise ValueError("unknown command")

    server.answer = refuse
    assert "fake://server/0 does not answer 'WAIT': ValueError: unknown command" in complaint(capsys)
    assert not server.strategy.open


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "", "redis:"])
def test_a_url_that_is_none(capsys, url):
    assert f"{url!r}: a URL that begins with redis://, rediss://, postgresql://" in complaint(capsys, url=url)


@pytest.mark.parametrize("url, extra", [("redis://localhost", "redis"), ("postgresql://localhost", "asyncpg")])
def test_a_library_that_is_missing(capsys, monkeypatch, url, extra):
    prefix = f"asyncio_connection_pool.contrib.{extra}", f"asyncio_connection_pool.contrib._{extra}"
    for name in [name for name in sys.modules if name.partition(".")[0] == extra or name.startswith(prefix)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, extra, None)  # as if it were not installed
    assert f"pip install asyncio-connection-pool[{extra}]" in complaint(capsys, url=url)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--burst-limit", "4", "--max-size", "5"], "--burst-limit 4 is below a max_size of 5"),
        (["--burst-limit", "4", "--sweep", "2,6,3"], "--burst-limit 4 is below a max_size of 6"),
        (["--record", "f", "--sweep", "2,6,3"], "--record is for one size: leave --sweep out"),
        (["--record", "/nowhere/file"], "/nowhere/file can't be written: No such file"),
        (["--rate", "0"], "'0' is no number of callers a second"),
        (["--rate", "many"], "'many' is no number of callers a second"),
        (["--rate", "inf"], "'inf' is no number of callers a second"),
    ],
    ids=" ".join,
)
def test_arguments_that_make_no_sense(server, arguments, message, capsys):
    assert message in complaint(capsys, *arguments)


def test_a_url_that_its_library_cannot_read(monkeypatch, capsys):
    def refuse(url, query):
        raise ValueError("the port is no number")

    monkeypatch.setitem(_targets.KINDS, "fake", refuse)
    assert "fake://server/0 can't be used: the port is no number" in complaint(capsys)


def test_control_c_before_there_is_anything_to_print(server, capsys):
    async def press(number):
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(1)

    server.answer = press
    assert load() == 130
    assert capsys.readouterr().err == "interrupted\n"
