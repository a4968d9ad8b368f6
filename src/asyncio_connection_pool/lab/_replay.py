"""Replays a recording through a pool of another size, in virtual time."""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy, PoolError, testing
from asyncio_connection_pool.lab._figures import quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncio_connection_pool.lab._recording import Recording


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pool of some size would have done.

    A caller that is refused, or whose time runs out, counts as one that waits for ever.
    """

    max_size: int
    """Connections that this pool keeps."""
    burst_limit: int | None
    """Connections that it may have under load, or None if that is `max_size`."""
    callers: int
    """Callers that came."""
    refused: int
    """Callers that got no connection."""
    wait_mean: float
    """Seconds that those who got one waited, on average."""
    wait_p50: float
    """Seconds that half of the callers waited at the most."""
    wait_p99: float
    """Seconds that 99 % of the callers waited at the most."""
    wait_max: float
    """Seconds that the caller waited who waited longest, of all."""
    waited: float
    """The share of callers that waited at all."""
    open_mean: float
    """Connections that were open on average."""
    open_most: int
    """Connections that were open at most."""
    opened: int
    """Connections that were opened in all."""


def replay(
    recording: Recording,
    *,
    max_size: int,
    burst_limit: int | None = None,
    connect_seconds: float | None = None,
    reset_seconds: float | None = None,
    seed: int = 0,
    **options: Any,
) -> Outcome:
    """Let the callers of a recording come again, to a pool of another size.

    They come when they came, and hold connections for as long as they did. One that got none is given a hold of
    another, and each open and each reset takes as long as one that was recorded: which ones, chance decides. The pool
    is the very pool, and its clock jumps.

    Args:
        recording: What to replay.
        max_size: As for `ConnectionPool`.
        burst_limit: As for `ConnectionPool`.
        connect_seconds: How long an open takes; None: as recorded, or no time if none was.
        reset_seconds: How long a reset takes; None: as recorded, or no time if none was.
        seed: For what is left to chance.
        options: Forwarded to `ConnectionPool`: `acquire_timeout`, `max_waiting`, `shrink_delay` and so on.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option is out of its range.
    """
    chance = random.Random(seed)
    opens = recording.opens if connect_seconds is None else (connect_seconds,)
    resets = recording.resets if reset_seconds is None else (reset_seconds,)
    strategy = _Resetting(opens, resets, chance) if any(resets) else _Simulated(opens, chance)
    pool = ConnectionPool(strategy=strategy, max_size=max_size, burst_limit=burst_limit, name="replay", **options)
    day = _Day(pool)
    testing.run(day.live(recording, chance), debug=False)
    waits = sorted([*day.waits, *[math.inf] * day.refused])
    return Outcome(
        max_size=max_size,
        burst_limit=burst_limit,
        callers=len(waits),
        refused=day.refused,
        wait_mean=math.fsum(day.waits) / max(len(day.waits), 1),
        wait_p50=quantile(waits, 0.5),
        wait_p99=quantile(waits, 0.99),
        wait_max=waits[-1],
        waited=sum(wait > 0 for wait in waits) / len(waits),
        open_mean=strategy.mean(day.seconds),
        open_most=strategy.most,
        opened=strategy.opened,
    )


class _Day:
    """The callers, and what they went through."""

    def __init__(self, pool: ConnectionPool[None]) -> None:
        self._pool = pool
        self.waits: list[float] = []
        self.refused = 0
        self.seconds = 0.0

    async def live(self, recording: Recording, chance: random.Random) -> None:
        """Let everybody come, and wait until all have gone."""
        loop = asyncio.get_running_loop()
        holds = recording.holds
        async with self._pool:
            async with asyncio.TaskGroup() as group:
                for caller in recording.callers:
                    await asyncio.sleep(caller.at - loop.time())
                    held = chance.choice(holds) if caller.held is None else caller.held
                    group.create_task(self._call(held))
            self.seconds = loop.time()

    async def _call(self, held: float) -> None:
        loop = asyncio.get_running_loop()
        came = loop.time()
        try:
            async with self._pool.get_connection():
                self.waits.append(loop.time() - came)
                await asyncio.sleep(held)
        except PoolError:
            self.refused += 1


class _Simulated(ConnectionStrategy[None]):
    """Connections to nowhere, which are counted over time."""

    def __init__(self, opens: Sequence[float], chance: random.Random) -> None:
        self._opens = opens
        self._chance = chance
        self._open = self.most = self.opened = 0
        self._area = 0.0
        """Connections × seconds."""
        self._since = 0.0

    async def create_connection(self) -> None:
        self._count(+1)
        self.opened += 1
        self.most = max(self.most, self._open)
        if self._opens:
            try:
                await asyncio.sleep(self._chance.choice(self._opens))
            except asyncio.CancelledError:
                self._count(-1)
                raise

    def connection_is_closed(self, conn: None) -> bool:
        return False

    async def close_connection(self, conn: None) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        now = asyncio.get_running_loop().time()
        self._area += self._open * (now - self._since)
        self._since = now
        self._open += change

    def mean(self, seconds: float) -> float:
        """Say how many were open on average."""
        return self._area / seconds if seconds else 0.0


class _Resetting(_Simulated):
    """The same, of a kind that is reset when it is given back."""

    def __init__(self, opens: Sequence[float], resets: Sequence[float], chance: random.Random) -> None:
        super().__init__(opens, chance)
        self._resets = resets

    async def reset_connection(self, conn: None) -> None:
        await asyncio.sleep(self._chance.choice(self._resets))
