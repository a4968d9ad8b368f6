"""Replay what a Recorder has kept through pools of other sizes, and say which would do."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from asyncio_connection_pool.lab import _arguments, _figures, _screen
from asyncio_connection_pool.lab._advisor import Advice, Advisor
from asyncio_connection_pool.lab._people import Complaint
from asyncio_connection_pool.lab._plot import MORE_ENDINGS, Line, draw
from asyncio_connection_pool.lab._progress import Progress
from asyncio_connection_pool.lab._recording import Recording, RecordingError
from asyncio_connection_pool.lab._replay import Outcome

HEAD = "max_size|burst_limit|wait p50|wait p99|wait max|refused|open, mean|at most|opened".split("|")


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it can be told."""
    add = parser.add_argument
    add("file", type=Path, help="what a Recorder has written")
    add(
        "--target-p99",
        type=_arguments.seconds,
        default=0.01,
        metavar="TIME",
        help="the longest that 99 %% may wait (10ms)",
    )
    add("--max-size", type=_arguments.counts, default=(), metavar="N,N…", help="sizes to try (a range that fits)")
    add("--burst-limit", type=_arguments.counts, default=(), metavar="N,N…", help="burst limits to try with each")
    add("--shrink-delay", type=_arguments.seconds, default=30.0, metavar="TIME", help="how long a burst is kept (30s)")
    add("--acquire-timeout", type=_arguments.seconds, metavar="TIME", help="how long callers wait (for ever)")
    add("--max-waiting", type=_arguments.count_or_none, metavar="N", help="callers that may wait at once (any number)")
    add("--reset-seconds", type=_arguments.seconds, metavar="TIME", help="how long a reset takes (as recorded)")
    add("--connect-seconds", type=_arguments.seconds, metavar="TIME", help="how long an open takes (as recorded)")
    add(
        "--busiest", type=_arguments.some_seconds, metavar="TIME", help="replay only the busiest stretch of that length"
    )
    add("--seed", type=int, default=0, metavar="N", help="for what is left to chance (0)")
    add("--plot", type=_arguments.plot, metavar="OUT.svg", help=f"draw waits by size ({MORE_ENDINGS})")


def run(options: Namespace) -> int:
    """Print what was recorded, what other sizes would have done, and which would do."""
    recording = _read(options.file)
    print(_describe(recording, options.file))
    if options.busiest is not None:
        recording = recording.busiest(options.busiest)
        print(f"busiest     {_load(recording)}")
    with _screen.progress() as progress:
        advice = _advisor(recording, options, progress).advise(options.max_size, options.burst_limit)
    print()
    chosen = None if advice.smallest is None else _row(advice.smallest)
    _screen.table(HEAD, [_row(outcome) for outcome in advice.tried], chosen)
    print()
    print(_verdict(advice, options))
    if options.plot is not None:
        _draw(advice, options)
    return 0


def _read(path: Path) -> Recording:
    try:
        return Recording.read(path)
    except OSError as error:
        raise Complaint(f"{path} can't be read: {error.strerror}") from error
    except RecordingError as error:
        raise Complaint(str(error)) from error


def _advisor(recording: Recording, options: Namespace, progress: Progress) -> Advisor:
    policies = "shrink_delay acquire_timeout max_waiting connect_seconds reset_seconds seed"
    return Advisor(
        recording,
        options.target_p99,
        tell=lambda outcome: progress.show(f"replayed with {_name(outcome)}"),
        **{name: getattr(options, name) for name in policies.split()},
    )


def _describe(recording: Recording, path: Path) -> str:
    waits = sorted(caller.waited for caller in recording.callers)
    lost = len(recording.callers) - len(recording.holds)
    p50, p99 = (_figures.seconds(_figures.quantile(waits, share)) for share in (0.5, 0.99))
    return (
        f"recorded    {path}, pool {recording.pool!r}: max_size={recording.max_size}, "
        f"burst_limit={recording.burst_limit}\n"
        f"callers     {_load(recording)}\n"
        f"waited      p50 {p50}, p99 {p99}; {lost or 'none'} got no connection\n"
        f"opens       {_taken(recording.opens, '--connect-seconds')}\n"
        f"resets      {_taken(recording.resets, '--reset-seconds')}"
    )


def _taken(times: Sequence[float], option: str) -> str:
    if not times:
        return f"none was recorded, so they take no time (see {option})"
    return f"{len(times):,}, which took {_figures.seconds(fmean(times))} on average"


def _load(recording: Recording) -> str:
    number, seconds = len(recording.callers), recording.seconds
    held = _figures.seconds(recording.in_use * seconds / len(recording.holds))
    return (
        f"{number:,} in {_figures.seconds(seconds)}, {number / max(seconds, 1e-6):,.1f} a second; each held one for "
        f"{held} on average, so {recording.in_use:.2f} were in use"
    )


def _row(outcome: Outcome) -> list[str]:
    waits = (outcome.wait_p50, outcome.wait_p99, outcome.wait_max)
    return [
        str(outcome.max_size),
        "–" if outcome.burst_limit is None else str(outcome.burst_limit),
        *map(_figures.seconds, waits),
        str(outcome.refused),
        f"{outcome.open_mean:.2f}",
        str(outcome.open_most),
        str(outcome.opened),
    ]


def _verdict(advice: Advice, options: Namespace) -> str:
    target = _figures.seconds(options.target_p99)
    if advice.smallest is None:
        return f"No size keeps the p99 within {target}: what remains is the time that an open takes (see min_size)."
    lines = [f"The smallest that keeps the p99 within {target}: {_summary(advice.smallest)}."]
    if advice.bursting is not None:
        delay = _figures.seconds(options.shrink_delay)
        lines.append(f"With fewer at rest: {_summary(advice.bursting)} (and shrink_delay {delay}).")
    return "\n".join(lines)


def _summary(outcome: Outcome) -> str:
    return f"{_name(outcome)}: p99 {_figures.seconds(outcome.wait_p99)}, {outcome.open_mean:.2f} open on average"


def _name(outcome: Outcome) -> str:
    burst = "" if outcome.burst_limit is None else f", burst_limit={outcome.burst_limit}"
    return f"max_size={outcome.max_size}{burst}"


def _draw(advice: Advice, options: Namespace) -> None:
    plain = [outcome for outcome in advice.tried if outcome.burst_limit is None]
    lines = [
        Line("p50", [(o.max_size, 1e3 * o.wait_p50) for o in plain]),
        Line("p99", [(o.max_size, 1e3 * o.wait_p99) for o in plain]),
        Line("target", [(o.max_size, 1e3 * options.target_p99) for o in plain]),
    ]
    draw(options.plot, f"Waits by size: {options.file.name}", "max_size", "ms", lines)
    print(f"drawn: {options.plot}")
