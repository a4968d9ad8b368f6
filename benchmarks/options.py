"""Options: what each option that looks at every acquisition or release costs, in the cycle of `uncontended`.

An option that is not set costs nothing, so "plain" is the pool with the defaults. Values are such that nothing ever
falls due: it is the looking that is measured. Options that are not here (`min_size`, `burst_delay`, `max_waiting`, …)
look at nothing as long as a connection is idle; `reconnect` and `queue_policy` are here to show the same of them.
"""

import asyncio
from collections.abc import Mapping, Sequence

from asyncio_connection_pool import CoDel, ConnectionPool

from .contenders import Pool, strategy
from .figures import Figure
from .floor import FloorPool
from .measure import Spread, Timer, interleave, now

ROUNDS = 31
CYCLES = 5_000
CONNECTIONS = 10
LONG = 86_400.0

OPTIONS: Mapping[str, Mapping[str, object]] = {
    "reconnect": {"reconnect": True},
    "queue_policy": {"queue_policy": CoDel()},
    "shrink_delay": {"shrink_delay": LONG, "burst_limit": 2 * CONNECTIONS},
    "max_uses": {"max_uses": 10**12},
    "max_idle": {"max_idle": LONG},
    "validate_after": {"validate_after": LONG},
    "max_lifetime": {"max_lifetime": LONG},
    "track_holders": {"track_holders": True},
    "leak_threshold": {"leak_threshold": LONG},
}
ALL = {name: value for options in OPTIONS.values() for name, value in options.items()}


def run() -> Sequence[Figure]:
    """Measure the floor, the plain pool and each option in one event loop."""
    return asyncio.run(_run())


async def _run() -> Sequence[Figure]:
    taken = await interleave(_timers(), ROUNDS)
    return [
        *(Figure(name, "ns", Spread.of(values)) for name, values in taken.items()),
        *(_ratio(name, "floor", taken) for name in taken if name != "floor"),
        *(_ratio(name, "plain", taken) for name in taken if name not in {"floor", "plain"}),
    ]


def _ratio(above: str, below: str, taken: Mapping[str, Sequence[float]]) -> Figure:
    return Figure(f"{above} / {below}", "×", Spread.of_ratio(taken[above], taken[below]))


def _timers() -> Mapping[str, Timer]:
    return {
        "floor": _timer(FloorPool(CONNECTIONS)),
        "plain": _timer(_pool()),
        "get_connection(timeout=…)": _timer(_pool(), timeout=LONG),
        **{name: _timer(_pool(**options)) for name, options in OPTIONS.items()},
        "all": _timer(_pool(**ALL), timeout=LONG),
    }


def _pool(**options: object) -> Pool:
    """Build ours with options, and the strategy that the other benchmarks use."""
    return ConnectionPool(strategy=strategy(), max_size=CONNECTIONS, **options)  # type: ignore[arg-type]


def _timer(pool: Pool, **arguments: float) -> Timer:
    """Time a cycle; where there are no arguments none are passed, for to pass them costs too."""

    async def plain() -> float:
        began = now()
        for _ in range(CYCLES):
            async with pool.get_connection() as _conn:
                pass
        return (now() - began) / CYCLES

    async def with_arguments() -> float:
        began = now()
        for _ in range(CYCLES):
            async with pool.get_connection(timeout=LONG) as _conn:
                pass
        return (now() - began) / CYCLES

    return with_arguments if arguments else plain
