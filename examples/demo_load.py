"""Callers that come and go by a plan, check each reply, and measure how long they waited for a connection."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

# How many callers there are: (share of the time that has passed, callers). In between it is a straight line.
PLAN = [
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
]


def callers_at(share):
    """Return how many callers there are after a share of the time."""
    for (start, before), (end, after) in pairwise(PLAN):
        if share <= end:
            return round(before + (after - before) * (share - start) / (end - start))
    return PLAN[-1][1]


class Load:
    """Callers, each of which takes a connection, works with it for some milliseconds, and gives it back."""

    def __init__(self, pool, seconds):
        self.pool = pool
        self.seconds = seconds
        self.callers = self.served = self.wrong = 0
        self.waits = []  # seconds, one for each connection that was taken

    async def run(self):
        """Let the callers come and go as planned."""
        tasks = {}
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            try:
                while (share := (time.monotonic() - began) / self.seconds) < 1:
                    self.callers = callers_at(share)
                    for number in range(self.callers):
                        if number not in tasks or tasks[number].done():
                            tasks[number] = group.create_task(self.call_again_and_again(number))
                    await asyncio.sleep(0.02)
            finally:
                self.callers = 0

    async def call_again_and_again(self, number):
        """Be one caller for as long as there are to be so many."""
        while number < self.callers:
            await self.call(f"{number}:{self.served}")
            await asyncio.sleep(random.uniform(0, 0.004))

    async def call(self, token):
        """Write and read something that nobody else writes, with some work in between."""
        asked = time.perf_counter()
        async with self.pool.get_connection() as redis:
            self.waits.append(time.perf_counter() - asked)
            await redis.set(token, token, px=1000)
            await asyncio.sleep(random.uniform(0.005, 0.020))
            reply = await redis.get(token)
        self.served += 1
        self.wrong += reply != token

    def wait_quantiles(self, *shares):
        """Return how long that share of the callers waited at the most, in seconds."""
        waits = sorted(self.waits) or [0.0]
        return [waits[min(int(share * len(waits)), len(waits) - 1)] for share in shares]


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment."""

    elapsed: float
    callers: int
    in_use: int
    idle: int
    waiting: int
    seen_by_server: int
    served: int

    @classmethod
    def take(cls, elapsed, stats, load, witness) -> Self:
        """Look at everything now."""
        return cls(elapsed, load.callers, stats.in_use, stats.idle, stats.waiting, witness.open_now, load.served)
