"""Uncontended: what acquiring and releasing costs one task that finds a connection idle.

This is what every user of a pool pays at every use. The floor is what `async with` itself costs.
"""

import asyncio
from collections.abc import Sequence

from .contenders import WITH_FLOOR, Pool
from .figures import AT_LEAST_313, Budget, Figure
from .measure import Spread, Timer, interleave, now

ROUNDS = 61
CYCLES = 10_000
CONNECTIONS = 10

TO_FLOOR = Budget("at most", 1.6 if AT_LEAST_313 else 2.2)
TO_PUBLISHED = Budget("at least", 4.5 if AT_LEAST_313 else 3)


def run() -> Sequence[Figure]:
    """Measure every contender in one event loop."""
    return asyncio.run(_run())


async def _run() -> Sequence[Figure]:
    taken = await interleave({name: _timer(build(CONNECTIONS)) for name, build in WITH_FLOOR.items()}, ROUNDS)
    return [
        *(Figure(name, "ns", Spread.of(values)) for name, values in taken.items()),
        Figure("ours / floor", "×", Spread.of_ratio(taken["ours"], taken["floor"]), TO_FLOOR),
        Figure("published / ours", "×", Spread.of_ratio(taken["published"], taken["ours"]), TO_PUBLISHED),
    ]


def _timer(pool: Pool) -> Timer:
    async def cycle() -> float:
        began = now()
        for _ in range(CYCLES):
            async with pool.get_connection() as _conn:
                pass
        return (now() - began) / CYCLES

    return cycle
