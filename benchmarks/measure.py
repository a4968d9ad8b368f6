"""How time is measured: contenders take turns in one process, and a ratio is taken within each round.

A machine's speed drifts by more than what is looked for here (frequency scaling, neighbours), but little within one
round. So a ratio of two contenders is the median over rounds of the ratio within a round; no figure depends on how fast
the machine is.
"""

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

now = time.thread_time_ns
"""The clock: nanoseconds that this thread had the processor. What neighbours take of it in between is not counted."""

Timer = Callable[[], Awaitable[float]]
"""Does the work once and returns nanoseconds per operation."""

Rounds = Mapping[str, Sequence[float]]
"""Nanoseconds per operation: one value a round for each contender."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with what it hides: the quartiles and the extremes of the rounds."""

    median: float
    lower: float
    upper: float
    lowest: float
    highest: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise one value a round. A single value is its own spread."""
        rounds = len(values)
        if rounds == 1:
            values = [*values] * 2
        lower, median, upper = statistics.quantiles(values, method="inclusive")
        return cls(median, lower, upper, min(values), max(values), rounds)

    @classmethod
    def of_ratio(cls, above: Sequence[float], below: Sequence[float]) -> "Spread":
        """Summarise the ratios of two contenders, each taken within one round."""
        return cls.of([a / b for a, b in zip(above, below, strict=True)])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector out of the timed region: what lives now is frozen, and nothing is collected."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def own(function: Callable[P, T]) -> Callable[P, T]:
    """Copy a function, with bytecode of its own.

    CPython specialises bytecode for what it meets there. In a program that is one pool at each place; contenders that
    run the same code get in each other's way.
    """
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__.replace(), function.__globals__)


async def interleave(timers: Mapping[str, Timer], rounds: int) -> Rounds:
    """Run every timer once a round, in an order of its own: what goes before leaves its mark on the machine's caches.

    The first round is thrown away: the interpreter specialises its bytecode there, and pools open their connections.
    """
    order = random.Random(rounds)
    taken: dict[str, list[float]] = {name: [] for name in timers}
    with quiet():
        for _ in range(rounds + 1):
            for name in order.sample(list(timers), len(timers)):
                taken[name].append(await timers[name]())
    return {name: values[1:] for name, values in taken.items()}


async def settle() -> None:
    """Let callers that were just created reach their queue; a pool may take some steps of the loop for that."""
    for _ in range(10):
        await asyncio.sleep(0)
