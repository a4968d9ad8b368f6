"""Two pools of one server under the same load: how many operations a second, and how long each takes.

A server runs on a core of its own, if there is one; the client is what is measured. Latencies are of the wall clock, of
one operation as its caller sees it. Throughput is compared twice, by the wall clock and by the processor time of the
client: the first is what users get, the second does not see neighbours.
"""

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .figures import Budget, Figure
from .measure import Spread, now, quiet

ROUNDS = 21
OPERATIONS = 2_000
MORE_THAN_A_READ = 1 << 24
CONNECTIONS = 8
TASKS = (1, 8, 50, 500)

AHEAD = Budget("at least", 1)

Operation = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Load:
    """What one contender has made of one load; all in microseconds."""

    wall: float
    processor: float
    p50: float
    p99: float


def find_servers() -> None:
    """Make `servers` importable: what starts a server for the tests does so here."""
    sys.path.append(str(Path(__file__).resolve().parent.parent / "contrib_tests"))


async def compare(ours: Operation, theirs: Operation, *, what: str) -> Sequence[Figure]:
    """Compare two pools under each number of tasks, of which every one does the operation over and over."""
    settle_malloc()
    operations = {"ours": ours, "theirs": theirs}
    return [figure for tasks in TASKS for figure in await _compare(operations, tasks, what)]


def settle_malloc() -> None:
    """Free something large, as any program has at some time.

    Until then the C library of GNU maps and unmaps memory for each read of asyncio's, for which our adapters see no
    reason: they read less at a time. With that every row would be ours by a third, but for the first minute only.
    """
    bytes(MORE_THAN_A_READ)


async def _compare(operations: Mapping[str, Operation], tasks: int, what: str) -> Sequence[Figure]:
    loads = await take_turns(operations, tasks, ROUNDS)
    ours, theirs = loads["ours"], loads["theirs"]
    label = f"{tasks} task{'s' if tasks > 1 else ''}"
    return [
        Figure(
            f"{label}: throughput, ours / theirs",
            "×",
            Spread.of_ratio([load.wall for load in theirs], [load.wall for load in ours]),
            AHEAD,
        ),
        Figure(
            f"{label}: the same by processor time",
            "×",
            Spread.of_ratio([load.processor for load in theirs], [load.processor for load in ours]),
            AHEAD,
        ),
        *(
            Figure(f"{label}: {name} of one {what}, {who}", "µs", Spread.of([getattr(load, name) for load in each]))
            for name in ("p50", "p99")
            for who, each in (("ours", ours), ("theirs", theirs))
        ),
    ]


async def take_turns(operations: Mapping[str, Operation], tasks: int, rounds: int) -> Mapping[str, Sequence[Load]]:
    """Let the contenders take turns under the same load; the first round is thrown away."""
    loads: dict[str, list[Load]] = {name: [] for name in operations}
    names = list(operations)
    with quiet():
        for number in range(rounds + 1):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                loads[name].append(await _load(operations[name], tasks))
                gc.collect()
    return {name: taken[1:] for name, taken in loads.items()}


async def _load(operation: Operation, tasks: int) -> Load:
    taken: list[float] = []

    async def work() -> None:
        for _ in range(OPERATIONS // tasks):
            began = time.perf_counter()
            await operation()
            taken.append(time.perf_counter() - began)

    began, busy = time.perf_counter(), now()
    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(work())
    busy, wall = now() - busy, time.perf_counter() - began
    percentiles = statistics.quantiles(taken, n=100)
    return Load(wall * 1e6 / len(taken), busy / 1e3 / len(taken), percentiles[49] * 1e6, percentiles[98] * 1e6)
