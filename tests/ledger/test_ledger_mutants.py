"""The rule machine bites: it finds each mistake in the ledger that `ledger_mutants` lists."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import ledger_machine
from ledger_mutants import BY_MODULE, MUTANTS, SWEEP_SOON, OutdatedMutantError, load

# The same examples in each run. Nearly all mutants are found in the first hundred; the bound leaves room for
# releases of Hypothesis that draw others.
SETTINGS = settings(
    max_examples=3000,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def find(kit, examples=SETTINGS.max_examples):
    run_state_machine_as_test(ledger_machine.machine(kit), settings=settings(SETTINGS, max_examples=examples))


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_rule_machine_finds(mutant):
    with pytest.raises((AssertionError, LookupError)):
        find(load(SWEEP_SOON, MUTANTS[mutant]))


def test_what_was_not_changed_is_not_found():
    find(load(SWEEP_SOON), examples=100)


def test_a_mutant_whose_text_is_gone_fails():
    with pytest.raises(OutdatedMutantError, match="has this 0 times, not once:\nno such text"):
        load(("_queue", "no such text", ""))


def test_a_mutant_whose_text_is_not_unique_fails():
    with pytest.raises(OutdatedMutantError, match="not once"):
        load(("_ledger", "slot", ""))


def test_no_two_mutants_have_the_same_name():
    assert len(MUTANTS) == sum(map(len, BY_MODULE.values()))
