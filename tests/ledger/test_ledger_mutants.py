"""The model bites: it finds each mistake in the ledger that `ledger_mutants` lists."""

from __future__ import annotations

import pytest

from ledger_events import walk
from ledger_machine import OVERLOADS, Life, about
from ledger_mutants import BY_MODULE, MUTANTS, SWEEP_SOON, OutdatedMutantError, load

pytestmark = pytest.mark.tests_of_tests

WALKS = 4000
"""The same in each run; nearly all mutants are found in the first hundred, and the last before the thousandth."""
STEPS = 40


def find(kit, walks=WALKS, **pool):
    life = about(kit, Life)
    for seed in range(walks):
        walk(life(), seed, STEPS, **pool)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_walks_find(mutant):
    change = MUTANTS[mutant]
    pool = {"policies": OVERLOADS} if change[0] == "_codel" else {}
    kit = load(SWEEP_SOON, change)
    with pytest.raises((AssertionError, LookupError)):
        find(kit, **pool)


@pytest.mark.parametrize("pool", [{}, {"policies": OVERLOADS}], ids=["any pool", "overloads"])
def test_what_was_not_changed_is_not_found(pool):
    find(load(SWEEP_SOON), 300, **pool)


def test_a_mutant_whose_text_is_gone_fails():
    with pytest.raises(OutdatedMutantError, match="has this 0 times, not once:\nno such text"):
        load(("_queue", "no such text", ""))


def test_a_mutant_whose_text_is_not_unique_fails():
    with pytest.raises(OutdatedMutantError, match="not once"):
        load(("_ledger", "slot", ""))


def test_no_two_mutants_have_the_same_name():
    assert len(MUTANTS) == sum(map(len, BY_MODULE.values()))
