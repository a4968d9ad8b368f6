"""Run the benchmarks that are named, else all: `python -m benchmarks [--json FILE] [--all] [NAME …]`."""

import argparse
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from time import perf_counter
from types import ModuleType

from .figures import Figure, table

NAMES = (
    "uncontended",
    "crowded",
    "opened",
    "options",
    "handover",
    "cancel",
    "memory",
    "fairness",
    "scale",
    "import_time",
)
WITH_SERVERS = ("servers", "asyncpg_pool", "redis_pool", "observers", "fleet")
"""Run only if they are asked for: they need a library, and mostly the wheel of a server."""
ALL = (*NAMES, "servers")
"""What `nox -s bench` runs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and write JSON where that was asked for. Missed budgets are shown; they are no error."""
    options = _parse(arguments)
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.platform()}")
    names = options.names or (ALL if options.all else NAMES)
    results = {name: _run(import_module(f"{__package__}.{name}")) for name in names}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(_document(results), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What the pool costs, as ratios.")
    names = f"of {', '.join(NAMES)}; only if asked for: {', '.join(WITH_SERVERS)}"
    parser.add_argument("names", nargs="*", choices=[*NAMES, *WITH_SERVERS, []], metavar="NAME", help=names)
    parser.add_argument("--all", action="store_true", help="run servers too, as `nox -s bench` does")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    return parser.parse_args(arguments)


def _run(module: ModuleType) -> Sequence[Figure]:
    title = (module.__doc__ or "").partition("\n")[0]
    print(f"\n{title}", flush=True)
    began = perf_counter()
    figures: Sequence[Figure] = module.run()
    print("\n".join(table(figures)))
    print(f"({perf_counter() - began:.1f} s)", flush=True)
    return figures


def _document(results: Mapping[str, Sequence[Figure]]) -> Mapping[str, object]:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "figures": [
            {"benchmark": name, **asdict(figure), "verdict": figure.verdict}
            for name, figures in results.items()
            for figure in figures
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
