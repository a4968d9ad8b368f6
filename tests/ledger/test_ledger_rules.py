"""The ledger against an independent model, whatever happens in whatever order.

The machine compares after each call (C1, C3, C4, C5, C6, C8, C9, C11, C12, and every field of `PoolStats`).
"""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import ledger_machine
import ledger_mutants


@pytest.mark.parametrize(
    "kit",
    [
        pytest.param(ledger_mutants.shipped(), id="as shipped"),
        pytest.param(ledger_mutants.load(ledger_mutants.SWEEP_SOON), id="where dead waiters are swept out soon"),
    ],
)
def test_the_ledger_does_what_the_model_says(kit):
    run_state_machine_as_test(
        ledger_machine.machine(kit),
        settings=settings(max_examples=150, stateful_step_count=50, deadline=None),
    )
