"""Policies on in all combinations, under callers that do whatever callers do: all invariants hold throughout."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from ageing import Server, tasks, timers
from asyncio_connection_pool import ConnectionPool, PoolError
from asyncio_connection_pool.testing import FullFakeStrategy
from oracle import check, check_settled
from scenarios import run_virtual
from sweeping import DEEP

POLICIES = {
    "min_size": 2,
    "max_lifetime": 8,
    "max_uses": 4,
    "max_idle": 3,
    "validate_after": 0.5,
    "shrink_delay": 2,
    "burst_delay": 0.7,
}
EVERY_SET = [
    dict(chosen) for count in range(len(POLICIES) + 1) for chosen in itertools.combinations(POLICIES.items(), count)
]


class Soak:
    """A minute of a pool's life, all of it drawn from one seed."""

    def __init__(self, options, seed):
        self.chance = random.Random(seed)
        kind = FullFakeStrategy if self.chance.random() < 0.5 else Server
        scripts = {"reset": self.script()} if kind is FullFakeStrategy else {}
        self.server = kind(create=self.script(), close=self.script(failing=0.05), validate=self.script(), **scripts)
        extra = {"acquire_timeout": 2, "connect_timeout": 1, "close_timeout": 1, "max_connecting": 2, "max_waiting": 6}
        chosen = {name: value for name, value in extra.items() if self.chance.random() < 0.3}
        self.pool = ConnectionPool(strategy=self.server, max_size=3, burst_limit=5, **options, **chosen)
        self.options = options
        self.opened = self.chance.random() < 0.7
        self.held = set()

    def script(self, failing=0.1):
        while True:
            dice = self.chance.random()
            yield OSError("unlucky") if dice < failing else dice if dice < 0.7 else None

    async def run(self):
        if self.opened:
            await asyncio.gather(self.pool.open(), return_exceptions=True)
        callers = [asyncio.create_task(self.caller()) for _ in range(8)]
        for _ in range(60):
            await asyncio.sleep(self.chance.random())
            self.meddle(callers)
            self.look()
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await self.end()

    async def caller(self):
        while True:
            try:
                async with self.pool.get_connection() as conn:
                    await self.hold(conn)
            except (OSError, PoolError, ValueError):
                pass
            await asyncio.sleep(self.chance.random() * 2)

    async def hold(self, conn):
        assert conn not in self.held
        self.held.add(conn)
        try:
            await asyncio.sleep(self.chance.random())
            dice = self.chance.random()
            if dice < 0.1:
                self.pool.discard(conn)
            elif dice < 0.2:
                conn.closed = True
            elif dice < 0.3:
                raise self.chance.choice([ValueError, TimeoutError])
        finally:
            self.held.remove(conn)

    def meddle(self, callers):
        dice = self.chance.random()
        if dice < 0.1:
            self.pool.evict(over=self.chance.choice([0, 0, 2]))
        elif dice < 0.2:
            size = self.chance.randint(2, 4)
            self.pool.resize(size, size + self.chance.randint(0, 2))
        elif dice < 0.3:
            for conn in self.server.open:
                conn.closed |= self.chance.random() < 0.5
        elif dice < 0.5:
            callers.append(asyncio.create_task(self.caller()))
            callers.pop(0).cancel()

    def look(self):
        if self.pool.stats().size <= self.pool.stats().limit:
            check(self.pool)
        assert len([timer for timer in timers() if "_fire" in repr(timer)]) <= 1, "C13"

    async def end(self):
        """Once nobody comes any more: what has to stay stays, what has to go goes, and nothing outlives the pool."""
        await asyncio.sleep(60)
        await self.rest()
        check_settled(self.pool)
        self.judge_rest()
        await self.pool.close()
        assert not self.held
        assert not self.server.open
        assert not self.server.creating
        assert not tasks() + timers(), "C13"
        assert not self.pool._ledger.slots

    async def rest(self):
        """Wait for a moment at which nothing is being replaced; `min_size` is reached then."""
        least = self.options.get("min_size", 0) if self.opened else 0
        for _ in range(1000):
            await asyncio.sleep(0.1)
            stats = self.pool.stats()
            if stats.size == stats.idle >= least:
                return
        raise AssertionError(f"no rest: {self.pool}")

    def judge_rest(self):
        idle = self.pool.stats().idle
        if self.options.keys() & {"max_idle", "max_lifetime"}:
            assert idle <= self.options.get("min_size", 0), "what is old goes"


@pytest.mark.parametrize("options", EVERY_SET, ids=lambda options: "+".join(options) or "none")
def test_c1_to_c14_hold_with_every_set_of_policies(options):
    for seed in range(30 if DEEP else 2):
        run_virtual(Soak(options, f"{sorted(options)}{seed}").run())
