"""Every schedule of a small pool, up to a depth: all orders of events, and of the ticks between them."""

from __future__ import annotations

import os

import pytest

import loops
from exploring import deepen, shrink, table
from exploring_configs import CONFIGS
from sampling import ONE_IN

TARGET = int(os.environ.get("ACP_EXPLORE_SCHEDULES", 20000 // ONE_IN))


def test_no_schedule_of_a_small_pool_breaks_the_contract(capsys):
    """C1 to C13, in every order of events that is possible, up to the depth that is printed."""
    tallies = deepen(CONFIGS.values(), TARGET)
    with capsys.disabled():
        print(f"\n\nall schedules, under {loops.KIND}\n{table(tallies)}")
    found = [violation for tally in tallies for violation in tally.violations]
    if found:
        pytest.fail("\n".join(f"{violation}\n  shrunk: {shrink(violation)}" for violation in found))
    assert all(tally.complete for tally in tallies)
    assert sum(tally.schedules for tally in tallies) >= TARGET
