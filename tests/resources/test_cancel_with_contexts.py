"""Connections that live in tasks of their own, with each task of all cancelled at each tick (C10)."""

from __future__ import annotations

import asyncio
import gc
from contextlib import asynccontextmanager

import pytest

import loops
from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from oracle import check, check_settled
from scenarios import hold, leave_all
from sweeping_fakes import SteppingLoop


class Server:
    """What sees the connections, each of which takes a second to open and one to close."""

    def __init__(self):
        self.open = set()
        self.most = 0

    @asynccontextmanager
    async def connect(self):
        task = asyncio.current_task()
        self.open.add(task)
        self.most = max(self.most, len(self.open))
        try:
            await asyncio.sleep(1)
            yield task
            await asyncio.sleep(1)
        finally:
            assert asyncio.current_task() is task
            self.open.remove(task)


class Run:
    """One run: two connections, three borrowers, and somebody who is cancelled at some tick."""

    def __init__(self, strike=None, **options):
        self.loop = loops.prepare(SteppingLoop())
        self.loop.set_debug(self.loop.get_debug() and not strike)  # ten times slower: once is enough
        self.strike = strike
        self.hurries = "close_timeout" in options
        """Whether a slot is free as soon as its connection is aborted."""
        self.moments = []
        self.server = Server()
        strategy = ConnectionStrategy.from_context_manager(self.server.connect)
        self.pool = ConnectionPool(strategy=strategy, max_size=1, burst_limit=2, **options)
        self.complaints = []

    def run(self):
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        try:
            self.loop.run_until_complete(self.main())
        except BaseException as error:
            error.add_note(f"cancelled (tick, task): {self.strike}")
            raise
        finally:
            self.loop.close()

    async def main(self):
        self.loop.on_tick = self.tick
        parties = [self.loop.create_task(self.borrow(*args)) for args in [(1, False), (2, True), (3, False)]]
        await asyncio.wait(parties)
        await asyncio.sleep(10)
        self.loop.on_tick = lambda: None
        for party in parties:
            assert party.cancelled() == (self.struck is party)
            assert party.cancelled() or party.exception() is None
        await self.judge()

    async def judge(self):
        """All slots are there, and nothing is left at the end."""
        check_settled(self.pool)
        holders = await hold(self.pool, 2)
        await leave_all(holders)
        await self.pool.close()
        assert not self.server.open
        assert self.server.most <= 2 or self.hurries, "C1"
        assert all(task.done() for task in self.loop.tasks if task is not asyncio.current_task()), "C13"

    async def borrow(self, after, discard):
        await asyncio.sleep(after)
        async with self.pool.get_connection() as conn:
            await asyncio.sleep(1)
            if discard:
                self.pool.discard(conn)

    @property
    def struck(self):
        return self.loop.tasks[self.strike[1]] if self.strike else None

    def tick(self):
        check(self.pool)
        now = len(self.moments)
        self.moments.append([n for n, task in enumerate(self.loop.tasks) if n and not task.done()])
        if self.strike and self.strike[0] == now:
            self.struck.cancel()


@pytest.mark.parametrize("options", [{}, {"shrink_delay": 2, "close_timeout": 0.5}], ids=["plain", "in a hurry"])
def test_no_cancellation_loses_a_connection_or_leaves_a_context_half_way(options):
    as_it_is = Run(**options)
    as_it_is.run()
    strikes = [(tick, number) for tick, alive in enumerate(as_it_is.moments) for number in alive]
    assert len(strikes) > 200
    complaints = []
    for strike in strikes:
        run = Run(strike, **options)
        run.run()
        complaints.append(run.complaints)
    gc.collect()  # asyncio says now what it has to say
    assert not any(complaints)
