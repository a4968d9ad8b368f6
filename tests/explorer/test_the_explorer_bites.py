"""Pools that are broken on purpose are found out."""

from __future__ import annotations

import pytest

from exploring import explore, replay, shrink
from exploring_configs import CONFIGS
from exploring_mutants import MUTANTS

pytestmark = pytest.mark.tests_of_tests

BUDGET = 5_000
"""Schedules within which each has to be found."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_pool_is_found(name, monkeypatch):
    """Under a plain loop: a task that starts eagerly can't be cancelled before its first step."""
    clause, config, owner, method, make = MUTANTS[name]
    with monkeypatch.context() as patch:
        patch.setattr(owner, method, make(getattr(owner, method)))
        schedules, violation = hunt(CONFIGS[config])
        smallest = shrink(violation, plain=True)
    print(f"{name}: {schedules} schedules, {smallest}")
    assert clause in str(violation)
    assert len(smallest.schedule) <= 6
    replay(smallest.config, smallest.schedule, plain=True)


def hunt(config):
    """Explore deeper and deeper."""
    schedules, depth = 0, 0
    while schedules < BUDGET:
        depth += 1
        tally = explore(config, depth, BUDGET - schedules, plain=True)
        schedules += tally.schedules
        if tally.violations:
            return schedules, tally.violations[0]
    pytest.fail(f"not found within {schedules} schedules, the last of depth {depth}")
