"""See a pool work: a load that rises above max_size, bursts, and falls.

Without a URL it is sent to a server within this process, which counts its connections; then the exit status is 1 if it
ever saw more than the pool may open, or if a caller got a reply that was not its own.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Final

from asyncio_connection_pool.lab import _arguments, _figures, _screen
from asyncio_connection_pool.lab._echo import EchoServer
from asyncio_connection_pool.lab._load import Measured, Plan, Settings, measure
from asyncio_connection_pool.lab._targets import Target, find_target

if TYPE_CHECKING:
    from asyncio_connection_pool import PoolStats

PLAN: Final = (
    (0.00, 2),
    (0.08, 3),
    (0.20, 8),  # up to what the pool keeps
    (0.25, 8),
    (0.34, 16),  # up to what it may open in a burst
    (0.37, 16),
    (0.42, 40),  # and beyond: from here on callers wait
    (0.50, 40),
    (0.56, 8),
    (0.58, 3),
    (0.70, 3),
    (0.73, 14),  # a second, smaller burst
    (0.78, 14),
    (0.80, 3),
    (1.00, 2),
)
CLIENTS: Final = max(clients for _, clients in PLAN)
MAX_SIZE: Final = 8
BURST_LIMIT: Final = 16
LINES: Final = 28
SHRINK_DELAY: Final = 1 / 14
"""As a share of the whole time."""


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it can be told."""
    add = parser.add_argument
    add("url", metavar="URL", nargs="?", help="redis://…, rediss://… or postgresql://…: your server instead")
    add("--seconds", type=_arguments.some_seconds, default=14.0, metavar="TIME", help="how long the load lasts (14s)")


def run(options: Namespace) -> int:
    """Send the load, and draw what happens."""
    settings = Settings(
        max_size=MAX_SIZE,
        burst_limit=BURST_LIMIT,
        shrink_delay=SHRINK_DELAY * options.seconds,
        clients=CLIENTS,
        plan=PLAN,
        seconds=options.seconds,
    )
    if options.url is None:
        return asyncio.run(_show_here(settings))
    return asyncio.run(_show(find_target(options.url, None), settings))


async def _show_here(settings: Settings) -> int:
    """Show it on a server of our own, and hear what that has seen."""
    async with EchoServer() as server:
        status = await _show(server.target(), settings)
        passed = server.most > BURST_LIMIT
        print(f"the server   saw {server.most} connections at the most, and may see {BURST_LIMIT}")
        return 1 if passed else status


async def _show(target: Target, settings: Settings) -> int:
    await target.probe()
    print(f"max_size={MAX_SIZE}, burst_limit={BURST_LIMIT}; {target.name}")
    _screen.cells("█ in use   ▓ in use above max_size   ░ idle   · not open")
    print()
    measured = await measure(target, settings, tell=_Chart(settings))
    print()
    print(_summary(measured))
    return 1 if measured.errors["WrongReply"] else 0


class _Chart:
    """Prints a line now and then."""

    def __init__(self, settings: Settings) -> None:
        self._plan = Plan(settings)
        self._every = settings.seconds / LINES
        self._next = 0.0

    def __call__(self, measured: Measured) -> None:
        if measured.lasted >= self._next:
            self._next += self._every
            _screen.cells(_line(measured.lasted, self._plan.clients(), measured.stats))


def _line(elapsed: float, callers: int, stats: PoolStats) -> str:
    used, kept = stats.in_use, stats.max_size
    cells = "█" * min(used, kept) + "▓" * (used - kept) + "░" * stats.idle
    numbers = f"{used:2} in use, {stats.idle:2} idle, {stats.waiting:2} waiting"
    return f"{elapsed:5.1f} s  {callers:2} callers  {cells:·<{stats.limit}}  {numbers}"


def _summary(measured: Measured) -> str:
    stats = measured.stats
    p50, p99, most = (_figures.seconds(measured.wait(share)) for share in (0.5, 0.99, 1))
    errors = ", ".join(f"{number} {kind}" for kind, number in measured.errors.items()) or "no errors"
    until = " (interrupted)" if measured.interrupted else ""
    return (
        f"served       {len(measured.waits):,} operations in {measured.lasted:.1f} s{until}; {errors}\n"
        f"waited       p50 {p50}, p99 {p99}, max {most} for a connection\n"
        f"connections  {stats.created} opened, {sum(stats.closed.values())} closed"
    )
