"""Whatever a strategy does wrong, no slot is lost, no caller wronged, and nobody hangs for no reason."""

from __future__ import annotations

import pytest

from sampling import sample
from sweeping_fakes import FAKES
from sweeping_faults import FAULTS, METHODS, cases, run_case


@pytest.mark.parametrize("always", [False, True], ids=["first call", "every call"])
@pytest.mark.parametrize("create", FAULTS)
@pytest.mark.parametrize("fake", FAKES)
def test_c6_c7_c8_c10_every_combination_of_faults_is_told_to_whom_it_concerns_and_loses_nothing(fake, create, always):
    cells = [case for case in cases(fake, always=always) if case.fault("create") == create]
    assert len(cells) == 4 ** (len(METHODS[fake]) + 1)
    taken = sample(cells, f"{create} {always}")
    assert sum(map(run_case, taken)) >= 4 * len(taken)
