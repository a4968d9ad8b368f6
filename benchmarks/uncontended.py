"""Uncontended: what acquiring and releasing costs one task that finds a connection idle.

This is what every user of a pool pays at every use. The floor is what `async with` itself costs. Each turn begins with
cycles that are not timed: what ran before has left the machine's caches to itself, and some rivals leave much.
"""

import asyncio
from collections.abc import Sequence

from .contenders import WITH_FLOOR, Pool, close
from .figures import AT_LEAST_313, Budget, Figure, timed
from .measure import Spread, Timer, interleave, now, own

ROUNDS = 61
CYCLES = 2_000
WARM_UP = 200
CONNECTIONS = 10

TO_FLOOR = Budget("at most", 1.6 if AT_LEAST_313 else 2.2)
TO_PUBLISHED = Budget("at least", 4.5 if AT_LEAST_313 else 3)


def run() -> Sequence[Figure]:
    """Measure every contender in one event loop."""
    return asyncio.run(_run())


async def _run() -> Sequence[Figure]:
    pools = {name: await build(CONNECTIONS) for name, build in WITH_FLOOR.items()}
    taken = await interleave({name: _timer(pool) for name, pool in pools.items()}, ROUNDS)
    for pool in pools.values():
        await close(pool)
    return [
        *timed("acquire and release", taken),
        Figure("ours / floor", "×", Spread.of_ratio(taken["ours"], taken["floor"]), TO_FLOOR),
        Figure("published / ours", "×", Spread.of_ratio(taken["published"], taken["ours"]), TO_PUBLISHED),
    ]


def _timer(pool: Pool) -> Timer:
    cycles = own(_cycles)

    async def cycle() -> float:
        await cycles(pool, WARM_UP)
        began = now()
        await cycles(pool, CYCLES)
        return (now() - began) / CYCLES

    return cycle


async def _cycles(pool: Pool, number: int) -> None:
    for _ in range(number):
        async with pool.get_connection() as _conn:
            pass
