"""Long schedules, drawn at random: what no exhaustive search gets to.

They are the same in each run, unless ``ACP_EXPLORE_SEED`` asks for others.
"""

from __future__ import annotations

import os

import pytest

import loops
from exploring import shrink, table, wander
from exploring_configs import LONG
from sampling import ONE_IN

pytestmark = pytest.mark.once

SEED = int(os.environ.get("ACP_EXPLORE_SEED", "0"))
LEAST = 2_500 // ONE_IN
COUNT = max(LEAST, int(os.environ.get("ACP_EXPLORE_SCHEDULES", "0")) // 25) // len(LONG) + 1
DEPTH = 60


def test_no_long_schedule_breaks_the_contract(capsys):
    """C1 to C13, with 60 callers and more or less everything that can happen."""
    tallies = [wander(config, SEED, COUNT, DEPTH) for config in LONG.values()]
    with capsys.disabled():
        print(f"\n\nrandom schedules, under {loops.KIND}, ACP_EXPLORE_SEED={SEED}\n{table(tallies)}")
    found = [violation for tally in tallies for violation in tally.violations]
    if found:
        pytest.fail("\n".join(f"{violation}\n  shrunk: {shrink(violation)}" for violation in found))
