"""The fault matrix of `sweeping_faults`: no combination of faults loses a slot, wrongs a caller or hangs for no reason."""

from __future__ import annotations

import pytest
from sweeping_faults import FAULTS, cases, run_case
from sweeping_fakes import FAKES


@pytest.mark.parametrize("always", [False, True], ids=["first call", "every call"])
@pytest.mark.parametrize("create", FAULTS)
@pytest.mark.parametrize("fake", FAKES)
def test_c6_c7_c8_c10_every_combination_of_faults_is_told_to_whom_it_concerns_and_loses_nothing(fake, create, always):
    runs = 0
    for case in cases(fake, always=always):
        if case.fault("create") == create:
            runs += run_case(case)
    assert runs >= 300
