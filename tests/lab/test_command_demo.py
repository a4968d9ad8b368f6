"""`demo` shows a pool that bursts, and fails where the limit was not kept or a reply went astray."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys

import pytest

from asyncio_connection_pool.lab import _command_demo
from asyncio_connection_pool.lab._cli import main
from asyncio_connection_pool.lab._echo import EchoServer, WrongReply

LINE = re.compile(r" *(\d+\.\d) s +(\d+) callers  ([█▓░·]{16})  +(\d+) in use, +(\d+) idle, +(\d+) waiting")


def lines(out):
    """Read what was drawn: the callers, the cells, and the numbers in use, idle and waiting."""
    found = [LINE.fullmatch(line) for line in out.splitlines()]
    return [(int(line[2]), line[3], *map(int, line.group(4, 5, 6))) for line in found if line]


def test_it_draws_the_pool_as_callers_come_and_go(server, capsys):
    assert main(["demo", "fake://server", "--seconds", "14s"]) == 0
    out = capsys.readouterr().out
    drawn = lines(out)
    assert len(drawn) == pytest.approx(28, abs=2)
    for _, cells, in_use, idle, _ in drawn:
        assert cells.count("█") + cells.count("▓") == in_use
        assert cells.count("░") == idle
    assert max(drawn)[1] == "█" * 8 + "▓" * 8
    assert max(waiting for *_, waiting in drawn) == 24
    assert drawn[-1][1] == "██░░░░░░········", "it has shrunk"
    assert "no errors" in out
    assert not server.strategy.open


def test_a_wrong_reply_is_a_failure(server, capsys):
    async def mix_up(number):
        await asyncio.sleep(0.01)
        if number == 100:
            raise WrongReply

    server.answer = mix_up
    assert main(["demo", "fake://server"]) == 1
    assert "; 1 WrongReply\n" in capsys.readouterr().out


@pytest.fixture
def demo():
    """Run it in a process of its own, on its own server, with a terminal that knows no more than `encoding`."""

    def run(encoding):
        command = [sys.executable, "-m", "asyncio_connection_pool", "demo", "--seconds", "700ms"]
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        return subprocess.run(command, env=environment, capture_output=True, encoding=encoding, timeout=100, check=True)

    return run


def test_without_a_url_it_brings_a_server_which_counts(demo):
    done = demo("utf-8")
    assert lines(done.stdout)
    assert re.search(r"the server   saw (\d|1[0-6]) connections at the most, and may see 16\n$", done.stdout)
    assert done.stderr == ""


def test_a_terminal_that_knows_no_blocks_gets_question_marks(demo):
    assert "? in use" in demo("ascii").stdout


class Crowded(EchoServer):
    """Claims that it has seen too many."""

    def __init__(self):
        super().__init__()
        self.most = 17


def test_a_limit_that_was_not_kept_is_a_failure(monkeypatch, capsys):
    monkeypatch.setattr(_command_demo, "EchoServer", Crowded)
    assert main(["demo", "--seconds", "100ms"]) == 1
    assert "saw 17 connections at the most, and may see 16" in capsys.readouterr().out


# The server.


async def gone(server):
    while server.open:
        await asyncio.sleep(0.001)


async def test_the_server_echoes_and_counts():
    async with EchoServer() as server, asyncio.timeout(60):
        target = server.target()
        conns = [await target.strategy.create_connection() for _ in range(2)]
        assert (server.open, server.most) == (2, 2)
        await asyncio.gather(*map(target.operate, conns))
        await target.strategy.close_connection(conns[0])
        assert server.open == 1, "it has seen the end when the client has"
        target.strategy.abort_connection(conns[1])
        await gone(server)
        assert target.strategy.connection_is_closed(conns[0])
        assert server.most == 2


async def test_a_connection_that_is_broken_off_is_not_left_half_open():
    async with EchoServer() as server, asyncio.timeout(60):
        opening = asyncio.create_task(server.target().strategy.create_connection())
        while not server.open:
            await asyncio.sleep(0.001)
        opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled()
        await gone(server)


async def test_a_reply_that_belongs_to_another_is_noticed():
    async with EchoServer() as server, asyncio.timeout(60):
        target = server.target()
        conn = await target.strategy.create_connection()
        conn[1].write(b"somebody else's\n")
        with pytest.raises(WrongReply):
            await target.operate(conn)
        assert not target.strategy.connection_is_reusable(conn, WrongReply())
        target.strategy.abort_connection(conn)
        await gone(server)
