"""What is left to chance is what a test says."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest


@pytest.fixture(autouse=True)
def jitter(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Say which part of a time is waited; all of it, if nothing is said."""

    def set_to(part: float) -> None:
        monkeypatch.setattr(random, "random", lambda: part)

    set_to(1.0)
    return set_to
