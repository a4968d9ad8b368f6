"""Runs of the lab against a real server, as somebody types them in."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import takewhile

COMMAND = [sys.executable, "-m", "asyncio_connection_pool"]


def start(*arguments):
    """Begin a command, and return the process."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], text=True, encoding="utf-8", errors="replace", **pipes)


def end(process):
    """Wait for its end; return its exit status, and what it wrote to stdout and to stderr."""
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, out, err


def run(*arguments):
    """Run a command that succeeds and says nothing to stderr; return what it wrote."""
    status, out, err = end(start(*arguments))
    assert (status, err) == (0, ""), err
    return out


def complaint(*arguments):
    """Run a command that can't be done; return the one line that says why."""
    status, out, err = end(start(*arguments))
    assert (status, out, err.count("\n")) == (2, "", 1), err
    return err


def rows(out):
    """Read the table that was printed."""
    lines = out.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("----"))
    names = re.split(r" {2,}", lines[first - 1].strip())
    body = takewhile(bool, lines[first + 1 :])
    return [dict(zip(names, re.split(r" {2,}", line.strip()), strict=True)) for line in body]
