"""A real server that is lost and comes back, and connections that grow old, under load. Each prints what it counted.

``ACP_AGEING_SECONDS`` says for how long connections grow old; 10 if it is not set.
"""

from __future__ import annotations

import asyncio
import os
import time

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy, Reconnect
from fault_scenarios import Workers, every_slot_works, report
from strategy_contract import Driver

AGEING_SECONDS = float(os.environ.get("ACP_AGEING_SECONDS", "10"))
WORKERS = 200
SIZE = 20
CONNECTING = 4
STEPS = Reconnect(first=0.05, longest=0.5)


class Door:
    """Counts the connects of a strategy: how many run at once, and how they end."""

    def __init__(self, strategy: ConnectionStrategy) -> None:
        self._open = strategy.create_connection
        strategy.create_connection = self.create_connection  # type: ignore[method-assign]
        self.now = self.most = self.opened = self.refused = 0

    async def create_connection(self):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            conn = await self._open()
        except Exception:
            self.refused += 1
            raise
        finally:
            self.now -= 1
        self.opened += 1
        return conn


async def failover(driver: Driver, server, seconds: float = 1) -> None:
    """Kill the server under 200 workers: those who use it hear of that, the others wait, and all go on within 2 s."""
    strategy = driver.strategy()
    door = Door(strategy)
    pool = ConnectionPool(strategy=strategy, max_size=SIZE, max_connecting=CONNECTING, reconnect=STEPS)
    async with pool:
        async with Workers(driver, pool, WORKERS) as workers:
            await workers.progress(5)
            opened = door.opened
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(seconds)
            refused = door.refused
            await asyncio.to_thread(server.restart)
            took = await workers.progress(2)
        await driver.reconnect()
        await every_slot_works(driver, pool)
    told = sum(workers.errors.values())
    counts = {"refused_connects": refused, "connecting_at_most": door.most, "opened_again": door.opened - opened}
    report(
        driver,
        f"failover under {WORKERS} workers, {seconds} s without a server",
        seconds_to_progress=f"{took:.3f}",
        workers_told=told,
        **counts,
    )
    assert door.most <= CONNECTING
    assert refused <= CONNECTING + most_steps(seconds + 0.5)
    assert SIZE <= door.opened - opened <= SIZE + CONNECTING
    assert told <= 2 * SIZE, "who waits is not told"


def most_steps(seconds: float) -> float:
    """Bound the steps of the backoff in so many seconds: half of each wait is waited, on average."""
    return 10 + 2 * seconds / (STEPS.longest / 2)


async def ageing(driver: Driver, seconds: float = AGEING_SECONDS) -> None:
    """Let connections live for 2 s at most, under load: they are replaced, and nobody is told of it."""
    pool = ConnectionPool(strategy=driver.strategy(), max_size=SIZE, min_size=SIZE // 2, max_lifetime=2)
    async with pool:
        async with Workers(driver, pool, WORKERS) as workers:
            began, seen = time.monotonic(), 0
            while time.monotonic() < began + seconds:
                await workers.progress(5)
                seen = max(seen, await driver.seen())
        stats = pool.stats()
    report(
        driver,
        f"max_lifetime=2 for {seconds:g} s under {WORKERS} workers",
        served=sum(workers.done),
        errors=sum(workers.errors.values()),
        expired=stats.closed["expired"],
        server_saw_at_most=seen,
    )
    assert not workers.errors
    assert stats.create_failures == 0
    assert stats.closed["expired"] >= SIZE * (seconds // 2 - 1)
    assert seen <= SIZE
