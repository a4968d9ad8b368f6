"""What is left to chance is the same in each run."""

from __future__ import annotations

import random

import pytest


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)
