"""Import time: what `import asyncio_connection_pool` adds to a program that has imported asyncio.

Each import runs in a fresh interpreter, with its bytecode compiled already, and contenders take turns. Processor time
is counted, so that a busy machine or a slow disk makes no difference.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncio_connection_pool

from . import published
from .figures import Budget, Figure
from .measure import Spread

ROUNDS = 15

BEYOND_ASYNCIO = Budget("at most", 25)

SCRIPT = """
from time import process_time_ns
began = process_time_ns()
import asyncio
between = process_time_ns()
import asyncio_connection_pool
print(between - began, process_time_ns() - between)
"""


def run() -> Sequence[Figure]:
    """Import ours and the published package in turns."""
    paths = {"ours": Path(asyncio_connection_pool.__file__).parent.parent, "published": published.folder()}
    taken = _import_in_turns(paths)
    return [
        Figure("import asyncio", "ms", Spread.of([asyncio_ms for asyncio_ms, _ in taken["ours"]])),
        *(
            Figure(
                f"{name}, beyond asyncio",
                "ms",
                Spread.of([pool_ms for _, pool_ms in pairs]),
                BEYOND_ASYNCIO if name == "ours" else None,
            )
            for name, pairs in taken.items()
        ),
    ]


def _import_in_turns(paths: Mapping[str, Path]) -> Mapping[str, Sequence[tuple[float, float]]]:
    """Return pairs of milliseconds, for asyncio and for the pool; the first round, which compiles, is thrown away."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
    for _ in range(ROUNDS + 1):
        for name, path in paths.items():
            taken[name].append(_import_once(path))
    return {name: pairs[1:] for name, pairs in taken.items()}


def _import_once(path: Path) -> tuple[float, float]:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-P", "-c", SCRIPT]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    first, second = (int(word) / 1e6 for word in done.stdout.split())
    return first, second
