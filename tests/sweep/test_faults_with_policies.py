"""Whatever a strategy does wrong while every policy is on, no slot is lost and nobody hangs for no reason."""

from __future__ import annotations

import random

import pytest

from sampling import sample
from sweeping_faults import FAULTS, run_case
from sweeping_policies import PolicyRun, policy_cases


@pytest.fixture(autouse=True)
def _nothing_is_left_to_chance(monkeypatch):
    """Each run has to be the one before, but for who is cancelled."""
    monkeypatch.setattr(random, "random", lambda: 0.5)


@pytest.mark.parametrize("always", [False, True], ids=["first call", "every call"])
@pytest.mark.parametrize("create", FAULTS)
def test_c1_to_c14_every_pair_of_faults_with_every_policy_on_loses_nothing(create, always):
    cells = [case for case in policy_cases(always=always) if case.fault("create") == create]
    assert len(cells) == {"ok": 134}.get(create, 26)
    for case in sample(cells, f"{create} {always}"):
        assert run_case(case, PolicyRun) >= 4
