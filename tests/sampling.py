"""How much of what could be swept, combined or explored a run goes through: all of it, or a sample.

``ACP_SAMPLE=4`` takes a quarter: the same one in each run, and another one on each interpreter and loop. It is for
runs beside one that takes all, as nox makes them. In debug mode, which is many times slower, an eighth is the default.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterable
from typing import TypeVar

import loops

Thing = TypeVar("Thing")

ONE_IN = int(os.environ.get("ACP_SAMPLE", "8" if loops.KIND == "eager-debug" else "1"))


def sample(things: Iterable[Thing], what: object = "") -> list[Thing]:
    """Take one in so many things, at least one if there is any, in their order; `what` they are makes a difference."""
    things = list(things)
    chance = random.Random(f"{what} {sys.version_info[:2]} {loops.KIND}")
    taken = sorted(chance.sample(range(len(things)), -(-len(things) // ONE_IN)))
    return [things[i] for i in taken]
