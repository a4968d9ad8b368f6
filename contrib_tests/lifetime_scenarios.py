"""Connections of a real server that grow old under load, which is nobody's concern. It prints what it counted.

``ACP_MINUTE=1`` lets them grow old for a whole minute; without it for 6 seconds.
"""

from __future__ import annotations

import os
import time

from asyncio_connection_pool import ConnectionPool
from fault_scenarios import Workers, report
from strategy_contract import Driver

SECONDS = 60 if os.environ.get("ACP_MINUTE") == "1" else 6
LIFETIME = 2
WORKERS = 200
SIZE = 20


async def growing_old(driver: Driver, seconds: float = SECONDS) -> None:
    """Let connections live for 2 s at most: each is replaced, the server never sees too many, and nobody is told."""
    pool = ConnectionPool(strategy=driver.strategy(), max_size=SIZE, min_size=SIZE // 2, max_lifetime=LIFETIME)
    async with pool:
        async with Workers(driver, pool, WORKERS) as workers:
            began, seen = time.monotonic(), 0
            while (took := time.monotonic() - began) < seconds:
                await workers.progress(30)
                seen = max(seen, await driver.seen())
        stats = pool.stats()
    report(
        driver,
        f"max_lifetime={LIFETIME} for {took:.1f} s under {WORKERS} workers",
        served=sum(workers.done),
        errors=workers.errors.total(),
        expired=stats.closed["expired"],
        server_saw_at_most=seen,
    )
    assert not workers.errors
    assert stats.create_failures == 0
    assert stats.acquired == stats.released == sum(workers.done)
    assert stats.closed["expired"] >= SIZE * (seconds // LIFETIME - 1)
    assert stats.closed["expired"] == sum(stats.closed.values())
    assert seen <= SIZE
