"""Send a load through a pool to a server of yours, and measure."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asyncio_connection_pool.lab import _arguments, _figures, _screen
from asyncio_connection_pool.lab._load import Measured, Settings, measure
from asyncio_connection_pool.lab._people import Complaint
from asyncio_connection_pool.lab._plot import MORE_ENDINGS, Line, draw
from asyncio_connection_pool.lab._progress import Progress
from asyncio_connection_pool.lab._recorder import Recorder
from asyncio_connection_pool.lab._targets import Target, find_target

HEAD: Final = (
    "max_size|burst_limit|served|a second|wait p50|wait p99|wait max|query p50|query p99|opened|closed|errors".split(
        "|"
    )
)
PLOT_HELP: Final = f"draw waits by size, or the pool over time ({MORE_ENDINGS})"


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it can be told."""
    add = parser.add_argument
    add("url", metavar="URL", help="redis://…, rediss://… or postgresql://…")
    add("--query", metavar="TEXT", help="what to ask: a command (PING), or SQL (SELECT 1)")
    add("--clients", type=_arguments.count, default=50, metavar="N", help="who ask again and again (50)")
    add("--rate", type=_arguments.rate, metavar="N", help="instead: callers a second, who come at random times")
    add("--seconds", type=_arguments.some_seconds, default=10.0, metavar="TIME", help="how long, for each size (10s)")
    add("--max-size", type=_arguments.count, default=10, metavar="N", help="of the pool (10)")
    add("--burst-limit", type=_arguments.count, metavar="N", help="of the pool (none)")
    add("--shrink-delay", type=_arguments.seconds, default=1.0, metavar="TIME", help="of the pool (1s)")
    add("--acquire-timeout", type=_arguments.some_seconds, metavar="TIME", help="of the pool (none)")
    add("--sweep", type=_arguments.counts, metavar="N,N…", help="measure each of these max_sizes")
    add("--record", type=Path, metavar="FILE", help="keep a recording, for advise")
    add("--seed", type=int, default=0, metavar="N", help="for when callers come (0)")
    add("--plot", type=_arguments.plot, metavar="OUT.svg", help=PLOT_HELP)


def run(options: Namespace) -> int:
    """Measure, and print what came of it."""
    sizes: Sequence[int] = options.sweep or [options.max_size]
    _check(options, sizes)
    target = find_target(options.url, options.query)
    recorders = [_recorder(options.record)] if options.record else []
    everything = asyncio.run(_measure_all(target, options, sizes, recorders))
    print(f"{target.query} at {target.name}, {_crowd(options)}, {_figures.seconds(options.seconds)} for each size")
    print()
    _screen.table(HEAD, [_row(measured) for measured in everything])
    for measured in everything:
        print(*_remarks(measured), sep="\n", end="")
    if everything[-1].interrupted:
        print("\ninterrupted: this is what was measured until then")
    if options.record:
        print(f"\nrecorded: {options.record}")
    if options.plot:
        _draw(everything, options.plot, target)
        print(f"\ndrawn: {options.plot}")
    return 0


def _check(options: Namespace, sizes: Sequence[int]) -> None:
    if options.burst_limit is not None and options.burst_limit < max(sizes):
        raise Complaint(f"--burst-limit {options.burst_limit} is below a max_size of {max(sizes)}")
    if options.record and len(sizes) > 1:
        raise Complaint("--record is for one size: leave --sweep out")


def _recorder(path: Path) -> Recorder:
    try:
        return Recorder(path)
    except OSError as error:
        raise Complaint(f"{path} can't be written: {error.strerror}") from error


async def _measure_all(
    target: Target, options: Namespace, sizes: Sequence[int], recorders: Sequence[Recorder]
) -> list[Measured]:
    """Measure one size after the other, until somebody presses Ctrl-C."""
    await target.probe()
    everything: list[Measured] = []
    with _screen.progress() as progress:
        for size in sizes:
            settings = _settings(options, size)
            tell = _Teller(progress, size)
            everything.append(await measure(target, settings, tell=tell, observers=recorders))
            if everything[-1].interrupted:
                break
    return everything


def _settings(options: Namespace, max_size: int) -> Settings:
    names = "burst_limit shrink_delay acquire_timeout clients rate seconds seed"
    return Settings(max_size=max_size, **{name: getattr(options, name) for name in names.split()})


class _Teller:
    """Shows how far a measurement has come."""

    def __init__(self, progress: Progress, size: int) -> None:
        self._progress = progress
        self._size = size

    def __call__(self, measured: Measured) -> None:
        stats, seconds = measured.stats, measured.settings.seconds
        now = f"in use {stats.in_use}, waiting {stats.waiting}, served {len(measured.waits):,}"
        text = f"max_size={self._size}: {measured.lasted:.0f} of {seconds:g} s, {now}"
        self._progress.show(text, min(measured.lasted / seconds, 1))


def _crowd(options: Namespace) -> str:
    return f"{options.clients} clients" if options.rate is None else f"{options.rate:g} callers a second"


def _row(measured: Measured) -> list[str]:
    times = [*map(measured.wait, (0.5, 0.99, 1)), *map(measured.time, (0.5, 0.99))]
    served, stats = len(measured.waits), measured.stats
    return [
        str(measured.settings.max_size),
        "–" if measured.settings.burst_limit is None else str(measured.settings.burst_limit),
        f"{served:,}",
        f"{served / max(measured.lasted, 1e-9):,.0f}",
        *map(_figures.seconds, times),
        str(stats.created),
        str(sum(stats.closed.values())),
        f"{measured.errors.total():,}",
    ]


def _remarks(measured: Measured) -> list[str]:
    """Say why connections were closed, and what errors there were; each line after an end of line."""
    closed = ", ".join(f"{number} {why}" for why, number in measured.stats.closed.items() if number)
    title = f"max_size={measured.settings.max_size}"
    lines = [f"{title}: closed {closed}"] if closed else []
    for kind, number in measured.errors.most_common():
        lines.append(f"{title}: {number:,} × {measured.messages[kind]}")
    return ["", *lines, ""] if lines else []


def _draw(everything: Sequence[Measured], path: Path, target: Target) -> None:
    if len(everything) > 1:
        draw(path, f"{target.query} at {target.name}", "max_size", "ms", _by_size(everything))
    else:
        draw(path, f"{target.query} at {target.name}", "seconds", "", _over_time(everything[0]))


def _by_size(everything: Sequence[Measured]) -> list[Line]:
    return [
        Line("wait p50", [(m.settings.max_size, 1e3 * m.wait(0.5)) for m in everything]),
        Line("wait p99", [(m.settings.max_size, 1e3 * m.wait(0.99)) for m in everything]),
        Line("query p50", [(m.settings.max_size, 1e3 * m.time(0.5)) for m in everything]),
        Line("query p99", [(m.settings.max_size, 1e3 * m.time(0.99)) for m in everything]),
    ]


def _over_time(measured: Measured) -> list[Line]:
    return [
        Line(name.replace("_", " "), [(sample.elapsed, getattr(sample.stats, name)) for sample in measured.samples])
        for name in ("in_use", "idle", "waiting", "size")
    ]
