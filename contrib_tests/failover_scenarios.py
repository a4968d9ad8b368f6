"""A real server that is lost and comes back under load. It prints what it counted."""

from __future__ import annotations

import asyncio
import time

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy, Reconnect
from fault_scenarios import Workers, every_slot_works, report
from strategy_contract import Driver

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
    """Kill the server under 200 workers: who uses it hears of that, the others wait, and all go on when it is back."""
    strategy = driver.strategy()
    door = Door(strategy)
    pool = ConnectionPool(strategy=strategy, max_size=SIZE, max_connecting=CONNECTING, reconnect=STEPS)
    async with pool:
        async with Workers(driver, pool, WORKERS) as workers:
            await workers.progress(30)
            opened, began = door.opened, time.monotonic()
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(seconds)
            refused, gone = door.refused, time.monotonic() - began
            await asyncio.to_thread(server.restart)
            took = await workers.progress(30)
        await driver.reconnect()
        await every_slot_works(driver, pool)
    told = workers.errors.total()
    report(
        driver,
        f"failover under {WORKERS} workers, {gone:.1f} s without a server",
        seconds_to_progress=f"{took:.3f}",
        workers_told=told,
        refused_connects=refused,
        connecting_at_most=door.most,
        opened_again=door.opened - opened,
    )
    assert door.most <= CONNECTING
    assert refused <= CONNECTING + most_steps(gone)
    assert SIZE <= door.opened - opened <= SIZE + CONNECTING
    assert told <= 2 * SIZE, "who waits is not told"


def most_steps(seconds: float) -> float:
    """Bound the steps of the backoff in so many seconds: half of each wait is waited, on average."""
    return 10 + 2 * seconds / (STEPS.longest / 2)
