"""C14: what a caller pays does not depend on how many others there are.

Steps are counted, not seconds: the calls that Python makes, and the steps of whatever walks over the queue.
"""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from asyncio_connection_pool import ConnectionPool, _queue
from asyncio_connection_pool.testing import NEVER, FakeStrategy
from counting import calls
from oracle import check_settled
from scenarios import idle, step

FEW = 100
MANY = 10_000
A_LOT = 2_000  # of what takes a task to make


class WalkedDeque(deque):
    """A deque whose every step under an iteration is a call that Python makes."""

    def __iter__(self):
        for index in range(len(self)):
            yield self[index]


@pytest.fixture(autouse=True)
def walked(monkeypatch):
    monkeypatch.setattr(_queue, "deque", WalkedDeque)


class Crowd:
    """A pool that is busy, and callers that wait for it: coroutines that are stepped by hand, without tasks."""

    def __init__(self, holders, waiters, *, limit=None, create=()):
        self.pool = ConnectionPool(strategy=FakeStrategy(create=create), max_size=limit or holders)
        self.holders = holders
        self.waiters = waiters
        self.waiting: list = []

    async def __aenter__(self):
        self.leases = [self.pool.get_connection() for _ in range(self.holders)]
        await asyncio.gather(*(lease.__aenter__() for lease in self.leases))
        for _ in range(self.waiters):
            self.queue()
        return self

    async def __aexit__(self, *error):
        for coro in self.waiting:
            coro.close()
        for lease in self.leases:
            await lease.__aexit__(None, None, None)
        await self.pool.close()

    def queue(self):
        coro = self.pool.get_connection().__aenter__()
        coro.send(None)
        self.waiting.append(coro)

    def release(self):
        step(self.leases.pop().__aexit__(None, None, None))


async def of_a_crowd(work, *, few, many):
    """The calls of `work` in a small crowd and in a big one, the first time and after."""
    costs = []
    for options in (few, many):
        async with Crowd(**options) as crowd:
            costs.append([calls(lambda crowd=crowd: work(crowd)) for _ in range(3)])
    return costs


@pytest.mark.parametrize("work", ["queue", "stats", "leave the queue", "hand over", "repr"])
async def test_c14_costs_the_same_whatever_the_number_of_waiters(work):
    def do(crowd):
        if work == "queue":
            crowd.queue()
        elif work == "stats":
            crowd.pool.stats()
        elif work == "leave the queue":
            crowd.waiting.pop(len(crowd.waiting) // 2).close()
        elif work == "hand over":
            crowd.release()
        else:
            repr(crowd.pool)

    few, many = await of_a_crowd(do, few={"holders": 5, "waiters": FEW}, many={"holders": 5, "waiters": MANY})
    assert few == many


@pytest.mark.parametrize("work", ["stats", "queue", "hand over"])
async def test_c14_costs_the_same_whatever_the_number_of_connections_in_use(work):
    def do(crowd):
        if work == "stats":
            crowd.pool.stats()
        elif work == "queue":
            crowd.queue()
        else:
            crowd.release()

    few, many = await of_a_crowd(do, few={"holders": FEW, "waiters": 3}, many={"holders": A_LOT, "waiters": 3})
    assert few == many


async def test_c14_acquire_and_release_cost_the_same_whatever_the_number_of_idle_connections():
    def do():
        lease = pool.get_connection()
        step(lease.__aenter__())
        step(lease.__aexit__(None, None, None))

    costs = []
    for count in (FEW, A_LOT):
        async with Crowd(count, 0) as crowd:
            pool = crowd.pool
            while crowd.leases:
                crowd.release()
            assert pool.stats().idle == count
            costs.append(calls(do))
    assert costs[0] == costs[1]


async def test_c14_a_caller_that_has_a_connection_opened_costs_the_same_whatever_the_number_of_opens():
    costs = []
    for count in (FEW, A_LOT):
        async with Crowd(0, count, limit=A_LOT + 1, create=[NEVER] * A_LOT) as crowd:
            assert crowd.pool.stats().opening == count
            costs.append(calls(crowd.queue))
    assert costs[1] <= costs[0] + 10


async def test_c14_cancelling_a_whole_queue_costs_a_constant_for_each():
    costs = []
    for count in (FEW, MANY):
        async with Crowd(1, count) as crowd:
            costs.append(calls(lambda crowd=crowd: [coro.close() for coro in crowd.waiting]) / count)
            assert crowd.pool.stats().waiting == 0
    assert costs[1] <= 1.5 * costs[0]


async def test_c14_a_hand_over_past_cancelled_callers_costs_a_constant_for_each_of_them():
    """They are cancelled in the very tick, so that only the hand-over can find out."""
    costs = []
    for count in (FEW, MANY):
        async with Crowd(1, 0) as crowd:
            tasks = [asyncio.create_task(crowd.pool.get_connection().__aenter__()) for _ in range(count)]
            await asyncio.sleep(0)
            assert crowd.pool.stats().waiting == count
            for task in tasks:
                task.cancel()
            costs.append(calls(crowd.release) / count)
            await asyncio.gather(*tasks, return_exceptions=True)
            check_settled(crowd.pool)
    assert costs[1] <= 1.2 * costs[0]


async def test_c14_half_a_queue_that_leaves_is_swept_out():
    async with Crowd(1, MANY) as crowd:
        for coro in crowd.waiting[: MANY // 2 + 100]:
            coro.close()
        assert crowd.pool.stats().waiting == MANY // 2 - 100
        assert len(crowd.pool._ledger.queue._entries) < 0.8 * MANY


async def test_c14_those_who_left_are_swept_out_while_the_others_are_served():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    served = []

    async def call():
        async with pool.get_connection():
            served.append(len(pool._ledger.queue._entries) - 2 * pool.stats().waiting)

    async with pool.get_connection():
        tasks = [asyncio.create_task(call()) for _ in range(FEW)]
        await asyncio.sleep(0)
        for task in tasks[FEW // 2 + 1 :]:
            task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(served) == FEW // 2 + 1
    assert max(served) <= _queue.SWEEP_AT


async def test_c14_stats_do_not_walk_over_anything():
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=FEW)
    few = calls(pool.stats)
    await idle(pool, FEW)
    assert calls(pool.stats) == few
