"""A child process that a test forks."""

from __future__ import annotations

import os

import pytest

forks = pytest.mark.filterwarnings(
    # pytest's own watchdog, which ends a run that hangs, is a thread.
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
)


def in_child(work):
    """Run `work` in a forked child, and return what it returned there, as text."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, str(work()).encode())
        except BaseException as error:
            os.write(write, f"the child failed: {error!r}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer
