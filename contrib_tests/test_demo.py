"""The demo runs to its end, in a terminal and without one, and fails where the limit was not kept."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from servers import valkey

EXAMPLES = Path(__file__).parent.parent / "examples"
COMMAND = [sys.executable, str(EXAMPLES / "demo.py"), "--seconds"]
PLAIN = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TERM", "COLUMNS", "LINES"}}


def test_without_a_terminal_it_prints_lines_and_a_summary():
    done = subprocess.run([*COMMAND, "2"], env=PLAIN, check=True, capture_output=True, text=True, timeout=60)
    assert "\x1b" not in done.stdout
    *lines, _, served, waited, connections, server, limit = done.stdout.splitlines()
    assert lines
    assert all("in use" in line and "idle" in line and "waiting" in line for line in lines)
    assert "no wrong replies" in served
    assert waited.startswith("waited       p50 ")
    assert "closed" in connections
    assert re.fullmatch(r"the server   saw (\d|1[0-6]) open at the most, in [\d,]+ looks at its CLIENT LIST", server)
    assert limit == "the limit    of 16 was never passed"
    assert done.stderr == ""


def run_in_terminal(seconds, interrupt_at=None, columns=80, lines=24, **environment):
    """Run the demo in a terminal of that size; return its exit status, and all that it wrote.

    Args:
        seconds: For how long.
        interrupt_at: What it writes before Ctrl-C is pressed.
        columns: The width.
        lines: The height.
        environment: What it finds in its environment besides.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen([*COMMAND, str(seconds)], env=PLAIN | environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = bytearray()
    with suppress(OSError):  # is how a terminal says that its other end is closed
        while part := os.read(ours, 65536):
            shown.extend(part)
            if interrupt_at is not None and interrupt_at in shown:
                interrupt_at = None
                process.send_signal(signal.SIGINT)
    os.close(ours)
    return process.wait(60), shown.decode()


def test_in_a_terminal_it_draws_a_chart_that_fits():
    status, shown = run_in_terminal(2, TERM="xterm")
    frames = shown.split("A\r")
    assert status == 0
    assert len(frames) > 2
    assert "burst_limit" in frames[-2]
    assert frames[-2].count("\n") + 6 < 24, "with the summary and a prompt"
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1, "the cursor is shown again"
    assert "never passed" in shown


@pytest.mark.parametrize(
    "environment",
    [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "xterm", "columns": 40}],
    ids=["dumb", "no colour", "narrow"],
)
def test_in_a_terminal_that_cannot_show_it_prints_lines(environment):
    status, shown = run_in_terminal(1, **environment)
    assert status == 0
    assert "\x1b" not in shown
    assert "never passed" in shown


def test_control_c_ends_it_cleanly_with_what_was_measured():
    status, shown = run_in_terminal(60, interrupt_at=b"A\r", TERM="xterm")
    assert status == 0
    assert "Traceback" not in shown
    assert "never passed (interrupted)" in shown
    assert shown.count("\x1b[?25h") == 1


@pytest.fixture
def crowded_valkey(own_valkey, monkeypatch):
    """A server to which somebody else holds more connections than the pool may open."""
    with redis.Redis.from_url(own_valkey.url) as extra:
        held = [extra.connection_pool.make_connection() for _ in range(17)]
        for connection in held:
            connection.connect()
        monkeypatch.setattr(valkey, "start", lambda: own_valkey)
        yield own_valkey
        for connection in held:
            connection.disconnect()


def test_it_fails_where_the_server_saw_more_than_the_limit(crowded_valkey, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["demo.py", "--seconds", "0.5", "--plain"])
    monkeypatch.syspath_prepend(EXAMPLES)
    import demo

    assert demo.main() == 1
    assert "PASSED" in capsys.readouterr().out
