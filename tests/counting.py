"""Counts the calls that Python makes, those in C included: what something costs, on every machine alike."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Calls:
    """How many were made."""

    made = 0

    def note(self, frame, event, argument) -> None:
        self.made += event in {"call", "c_call"}


@contextmanager
def counting() -> Iterator[Calls]:
    """Count the calls of a block, and of whatever the event loop does meanwhile, but for the collector of garbage."""
    calls = Calls()
    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(calls.note)
    try:
        yield calls
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


def calls(work: Callable[[], object]) -> int:
    """Count the calls that `work` makes."""
    with counting() as counted:
        work()
    return counted.made
