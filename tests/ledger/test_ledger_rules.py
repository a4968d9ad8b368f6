"""The ledger against an independent model, whatever happens in whatever order.

The machine compares after each call (C1, C3, C4, C5, C6, C8, C9, C11, C12, and every field of `PoolStats`).
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

import ledger_mutants
from ledger_events import walk
from ledger_machine import OVERLOADS, Life, Machine, about

pytestmark = pytest.mark.once

SETTINGS = settings(
    max_examples=int(os.environ.get("ACP_EXPLORE_EXAMPLES", "150")),
    stateful_step_count=50,
    deadline=None,
    derandomize="ACP_EXPLORE_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
"""The same examples in each run, unless somebody asks for a number of others."""


@pytest.mark.parametrize(
    "kit",
    [
        pytest.param(ledger_mutants.shipped(), id="as shipped"),
        pytest.param(ledger_mutants.load(ledger_mutants.SWEEP_SOON), id="where dead waiters are swept out soon"),
    ],
)
def test_the_ledger_does_what_the_model_says(kit):
    run_state_machine_as_test(about(kit, Machine), settings=SETTINGS)


@pytest.mark.parametrize("pool", [{}, {"policies": OVERLOADS}], ids=["any pool", "overloads"])
def test_the_ledger_does_what_the_model_says_in_long_walks(pool):
    life = about(ledger_mutants.load(ledger_mutants.SWEEP_SOON), Life)
    for seed in range(150):
        walk(life(), seed, 200, **pool)
