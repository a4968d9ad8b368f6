"""Sends a load through a pool, and measures."""

from __future__ import annotations

import asyncio
import random
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from asyncio_connection_pool import ConnectionPool, PoolStats
from asyncio_connection_pool.lab._figures import quantile
from asyncio_connection_pool.lab._targets import Target, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asyncio_connection_pool import PoolObserver

PAUSE: Final = 0.1
"""Seconds between two looks at the pool, and for which a client rests after an error."""
REST: Final = 0.02
"""Seconds after which a client that has nothing to do looks again."""
GRACE: Final = 3.0
"""Seconds within which what is under way at the end has to end too."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The load, and the pool."""

    max_size: int
    burst_limit: int | None = None
    shrink_delay: float = 1.0
    acquire_timeout: float | None = None
    clients: int = 50
    rate: float | None = None
    """Callers a second, who come whether or not those before them are served; None: each client asks for ever."""
    plan: Sequence[tuple[float, int]] = ()
    """How many of the clients ask: after which share of the time how many; in between it is a straight line."""
    seconds: float = 10.0
    seed: int = 0
    """For when callers come."""


class Plan:
    """How many clients ask, from now on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._time = asyncio.get_running_loop().time
        self._began = self._time()

    def clients(self) -> int:
        """Say how many ask now."""
        settings = self._settings
        share = (self._time() - self._began) / settings.seconds
        for (start, before), (end, after) in pairwise(settings.plan):
            if share <= end:
                return round(before + (after - before) * (share - start) / (end - start))
        return settings.plan[-1][1] if settings.plan else settings.clients


@dataclass(frozen=True, slots=True)
class Sample:
    """The pool at one moment."""

    elapsed: float
    stats: PoolStats


@dataclass(slots=True)
class Measured:
    """What came of it, so far."""

    settings: Settings
    waits: array[float] = field(default_factory=lambda: array("d"))
    """Seconds for a connection, of each operation that succeeded."""
    times: array[float] = field(default_factory=lambda: array("d"))
    """Seconds on the connection."""
    errors: Counter[str] = field(default_factory=Counter[str])
    """How often each kind of exception was raised."""
    messages: dict[str, str] = field(default_factory=dict[str, str])
    """What the first of each kind said."""
    samples: list[Sample] = field(default_factory=list[Sample])
    interrupted: bool = False

    def failed(self, error: Exception) -> None:
        """Count an error."""
        kind = type(error).__name__
        self.errors[kind] += 1
        self.messages.setdefault(kind, reason(error))

    @property
    def lasted(self) -> float:
        """For how many seconds."""
        return self.samples[-1].elapsed

    @property
    def stats(self) -> PoolStats:
        """The pool at the end of the load, before it was closed."""
        return self.samples[-1].stats

    def wait(self, share: float) -> float:
        """Return how long that share of the callers waited for a connection at the most."""
        return quantile(sorted(self.waits), share)

    def time(self, share: float) -> float:
        """Return how long that share of the operations took at the most."""
        return quantile(sorted(self.times), share)


async def measure(
    target: Target,
    settings: Settings,
    *,
    tell: Callable[[Measured], object] = lambda _: None,
    observers: Iterable[PoolObserver] = (),
) -> Measured:
    """Send the load; cancelled, return what was measured so far.

    Args:
        target: The server, and what to ask it.
        settings: The load, and the pool.
        tell: Called ten times a second.
        observers: For the pool.
    """
    pool: ConnectionPool[Any] = ConnectionPool(
        strategy=target.strategy,
        max_size=settings.max_size,
        burst_limit=settings.burst_limit,
        shrink_delay=settings.shrink_delay,
        acquire_timeout=settings.acquire_timeout,
        name="load",
        observers=observers,
    )
    measured = Measured(settings)
    crowd = _Crowd(pool, target, measured)
    coming = asyncio.create_task(crowd.come())
    try:
        await _watch(pool, measured, tell)
    except asyncio.CancelledError:
        measured.interrupted = True
        _uncancel()
    crowd.over = True
    await asyncio.wait([coming], timeout=GRACE)
    coming.cancel()
    await asyncio.wait([coming])
    await pool.close(GRACE)
    return measured


async def _watch(pool: ConnectionPool[Any], measured: Measured, tell: Callable[[Measured], object]) -> None:
    """Look at the pool until time is over, and once more when it is."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        while (left := began + measured.settings.seconds - loop.time()) > 0:
            measured.samples.append(Sample(loop.time() - began, pool.stats()))
            tell(measured)
            await asyncio.sleep(min(PAUSE, left))
    finally:
        measured.samples.append(Sample(loop.time() - began, pool.stats()))


def _uncancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


class _Crowd:
    """Those who want connections."""

    def __init__(self, pool: ConnectionPool[Any], target: Target, measured: Measured) -> None:
        self._pool = pool
        self._operate = target.operate
        self._measured = measured
        self.over = False
        """Whether nothing more is to be asked: what is under way may end, and is no longer counted."""

    async def come(self) -> None:
        """Come, until it is over."""
        settings = self._measured.settings
        async with asyncio.TaskGroup() as group:
            if settings.rate is None:
                for number in range(settings.clients):
                    group.create_task(self._ask_again_and_again(number))
            else:
                await self._arrive(group, settings.rate, random.Random(settings.seed))

    async def _ask_again_and_again(self, number: int) -> None:
        plan = Plan(self._measured.settings)
        while not self.over:
            if number >= plan.clients():
                await asyncio.sleep(REST)
            elif not await self._ask():
                await asyncio.sleep(PAUSE)

    async def _arrive(self, group: asyncio.TaskGroup, rate: float, chance: random.Random) -> None:
        """Let callers come at random times, however slow the pool is."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        while not self.over:
            await asyncio.sleep(at - loop.time())
            group.create_task(self._ask())
            at += chance.expovariate(rate)

    async def _ask(self) -> bool:
        """Take a connection, do something with it, and give it back; say whether that succeeded."""
        time = asyncio.get_running_loop().time
        asked = time()
        try:
            async with self._pool.get_connection() as conn:
                got = time()
                if not self.over:
                    await self._operate(conn)
                done = time()
        except Exception as error:
            self._measured.failed(error)
            return False
        if not self.over:
            self._measured.waits.append(got - asked)
            self._measured.times.append(done - got)
        return True
