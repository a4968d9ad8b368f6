"""A queue at three times what the pool can serve: with CoDel waits stay short, without it they grow without bound."""

from __future__ import annotations

import asyncio
import random

import pytest

from ageing import now
from asyncio_connection_pool import CoDel, ConnectionPool, PoolOverloadedError
from asyncio_connection_pool.testing import FakeStrategy
from oracle import check_settled
from scenarios import virtual

pytestmark = pytest.mark.once

TARGET, INTERVAL = 0.05, 2.0


class Load:
    """Callers that come by chance and hold for a time left to chance (Poisson arrivals, exponential holds)."""

    def __init__(self, size, hold, *, factor=3.0, policy=None, seed=1):
        self.pool = ConnectionPool(strategy=FakeStrategy(), max_size=size, queue_policy=policy)
        self.hold = hold
        self.rate = factor * size / hold
        self.random = random.Random(seed)
        self.waits = []
        """When somebody was served, and after how many seconds of waiting."""
        self.refused = 0

    async def call(self):
        came = now()
        try:
            async with self.pool.get_connection():
                self.waits.append((now(), now() - came))
                await asyncio.sleep(self.random.expovariate(1 / self.hold))
        except PoolOverloadedError:
            self.refused += 1

    async def come(self, seconds):
        """Send callers for so long."""
        asyncio.get_running_loop().set_debug(False)  # or it takes minutes
        end, calls = now() + seconds, []
        while now() < end:
            calls.append(asyncio.create_task(self.call()))
            await asyncio.sleep(self.random.expovariate(self.rate))
        await asyncio.gather(*calls)
        check_settled(self.pool)

    def p99(self, since, until=float("inf")):
        """Of those served from one time to another."""
        waits = sorted(wait for when, wait in self.waits if since <= when < until)
        return waits[int(0.99 * len(waits))]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "size, hold",
    [(4, 0.02), (20, 0.02), (4, 0.1), (1, 0.05), (2, 0.1), (1, 0.2), (10, 1)],
    ids=lambda value: f"{value:g}",
)
@virtual
async def test_p99_of_the_served_stays_under_three_targets_and_a_hold(size, hold, seed):
    """Counted are all that are served from one second after the first interval to the end of the load."""
    began, seconds = INTERVAL + 1, max(8, 50 * hold)
    load = Load(size, hold, policy=CoDel(target=TARGET, interval=INTERVAL), seed=seed)
    await load.come(seconds)
    plain = Load(size, hold, seed=seed)
    start = now()
    await plain.come(seconds)
    halves = plain.p99(start, start + seconds / 2), plain.p99(start + seconds / 2)
    with_it, bound = load.p99(began), 3 * TARGET + hold
    print(f"\n{size} × {hold} s, 3 × capacity: p99 {with_it:.3f} s (bound {bound:.3f}), {load.refused} refused;")
    print(f"without: p99 {halves[0]:.1f} s, then {halves[1]:.1f} s")
    assert load.refused == load.pool.stats().rejections > 0
    assert with_it < bound
    assert halves[1] > 1.5 * halves[0] > 5 * bound


@virtual
async def test_as_much_is_served_as_without_it():
    policy = CoDel(target=TARGET, interval=INTERVAL)
    load = Load(4, 0.02, policy=policy)
    await load.come(15)
    assert len(load.waits) > 0.95 * 15 * 4 / 0.02


@virtual
async def test_a_load_that_can_be_served_is_never_refused():
    load = Load(4, 0.02, factor=0.7, policy=CoDel(target=TARGET, interval=INTERVAL))
    await load.come(60)
    assert load.refused == 0


@virtual
async def test_after_an_overload_a_load_that_can_be_served_is_not_refused():
    load = Load(4, 0.02, policy=CoDel(target=TARGET, interval=INTERVAL))
    await load.come(10)
    refused = load.refused
    assert refused
    load.rate = 0.7 * 4 / 0.02
    await load.come(INTERVAL)
    load.refused = 0
    await load.come(30)
    assert load.refused == 0
    assert load.p99(now() - 30) < 2 * TARGET


@virtual
async def test_a_burst_shorter_than_the_interval_is_let_through():
    load = Load(4, 0.02, policy=CoDel(target=TARGET, interval=INTERVAL))
    await load.come(0.6)
    assert load.refused == 0
