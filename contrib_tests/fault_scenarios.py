"""Faults of real servers, and what a pool has to make of them, whatever the driver. Each prints what it counted.

``ACP_CANCELS`` says how many cancellations a storm has; 300 if it is not set.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from itertools import count

from asyncio_connection_pool import ConnectionPool
from strategy_contract import SOON, Driver, unique, until

CANCELS = int(os.environ.get("ACP_CANCELS", "300"))
WORKERS = 50
SLOTS = 4


def report(driver: Driver, what: str, **counts: object) -> None:
    """Print one row of the table of faults."""
    print(f"\n{driver.name}: {what}: " + ", ".join(f"{name} {value}" for name, value in counts.items()))


async def every_slot_works(driver: Driver, pool: ConnectionPool) -> None:
    """Use all slots at the same time, so that none can be lost, and compare with what the server sees."""
    together = asyncio.Barrier(pool.stats().limit)

    async def hold(n: int) -> None:
        async with pool.get_connection() as conn:
            await together.wait()
            assert await driver.echo(conn, f"slot {n}") == f"slot {n}"

    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        for n in range(pool.stats().limit):
            group.create_task(hold(n))
    await until(lambda: pool.stats().size == pool.stats().idle)

    async def counts_agree() -> bool:
        return await driver.seen() == pool.stats().size

    await until(counts_agree)


class Storm:
    """Workers whose every operation is cancelled at a random moment, unless it is faster."""

    def __init__(self, driver: Driver, pool: ConnectionPool, seed: int) -> None:
        self.driver = driver
        self.pool = pool
        self.random = random.Random(seed)
        self.counts = Counter(cancelled=0, served=0, mid_command=0, swallowed=0, wrong=0, stuck=0)
        self.tokens = map("token {}".format, count())

    async def use(self, under_way: list[object]) -> None:
        operation = self.random.choice(self.driver.operations)
        async with self.pool.get_connection() as conn:
            under_way.append(operation)
            reply, expected = await operation(conn, next(self.tokens))
            self.counts["wrong"] += reply != expected
        self.counts["served"] += 1

    async def cancel_one(self) -> None:
        under_way: list[object] = []
        task = asyncio.create_task(self.use(under_way))
        await asyncio.sleep(self.random.choice([0, 0.0005, 0.001, 0.003, 0.01]) * self.random.random())
        wanted = task.cancel()
        await asyncio.wait([task], timeout=SOON)
        self.counts["stuck"] += not task.done()
        self.counts["cancelled"] += task.cancelled()
        self.counts["mid_command"] += task.cancelled() and bool(under_way)
        swallowed = wanted and not task.cancelled()
        assert not swallowed or under_way[0] in self.driver.swallows
        self.counts["swallowed"] += swallowed
        if task.done() and not task.cancelled():
            task.result()

    async def work(self) -> None:
        while self.counts["mid_command"] < CANCELS and not self.counts["stuck"]:
            await self.cancel_one()

    async def blow(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(2 * SLOTS):
                group.create_task(self.work())


async def cancel_storm(driver: Driver, seed: int = 1) -> None:
    """Cancel in the middle of so many commands, and of waits: no wrong reply, no lost slot, nobody stuck."""
    async with ConnectionPool(strategy=driver.strategy(), max_size=SLOTS) as pool:
        storm = Storm(driver, pool, seed)
        began = time.monotonic()
        await storm.blow()
        seconds = f"{time.monotonic() - began:.1f}"
        await every_slot_works(driver, pool)
        closed = {reason: number for reason, number in pool.stats().closed.items() if number}
        report(
            driver, "cancel storm", **storm.counts, slots_lost=SLOTS - pool.stats().idle, seconds=seconds, closed=closed
        )
        assert storm.counts["mid_command"] >= CANCELS
        assert storm.counts["wrong"] == storm.counts["stuck"] == 0
        assert pool.stats().created == pool.stats().size + sum(closed.values())


class Workers:
    """Tasks that use a pool without a pause, shrug off what a lost server brings, and check every reply."""

    def __init__(self, driver: Driver, pool: ConnectionPool, number: int = WORKERS, patience: float | None = None):
        self.driver = driver
        self.pool = pool
        self.done = [0] * number
        self.patience = patience
        self.errors: Counter[str] = Counter()
        self.stopped = False

    async def work(self, n: int) -> None:
        for turn in count():
            if self.stopped:
                return
            token = f"{n}.{turn}"
            try:
                async with asyncio.timeout(self.patience if n % 2 else None), self.pool.get_connection() as conn:
                    assert await self.driver.echo(conn, token) == token
                self.done[n] += 1
            except (TimeoutError, *self.driver.lost) as error:
                self.errors[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    async def progress(self, seconds: float = SOON) -> float:
        """Wait until every worker has got further; return how many seconds that took."""
        before, began = self.done.copy(), time.monotonic()
        await until(lambda: all(map(int.__lt__, before, self.done)), seconds)
        return time.monotonic() - began

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(self.work(n)) for n in range(len(self.done))]
        return self

    async def __aexit__(self, *_):
        self.stopped = True
        async with asyncio.timeout(SOON):
            await asyncio.gather(*self.tasks)


async def restart(driver: Driver, server) -> None:
    """Kill the server under load and start it again: every worker goes on, and how soon is reported."""
    async with ConnectionPool(strategy=driver.strategy(), max_size=8) as pool, Workers(driver, pool) as workers:
        await workers.progress()
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.restart)
        took = await workers.progress()
    report(driver, f"SIGKILL and restart under {WORKERS} workers", seconds_to_progress=f"{took:.3f}", **workers.errors)


async def freeze(driver: Driver, server, seconds: float = 2) -> None:
    """Stop the server for a while; half of the workers give up again and again meanwhile."""
    async with ConnectionPool(strategy=driver.strategy(), max_size=8) as pool:
        async with Workers(driver, pool, patience=1) as workers:
            await workers.progress()
            server.freeze()
            await asyncio.sleep(seconds)
            server.thaw()
            took = await workers.progress()
        await driver.reconnect()
        await every_slot_works(driver, pool)
    report(driver, f"SIGSTOP for {seconds} s", seconds_to_progress=f"{took:.3f}", **workers.errors)


async def refusal(driver: Driver, server, callers: int = 200, seconds: float = 0.3) -> None:
    """Let 200 callers try on 4 slots while nobody listens: none is stuck, and how soon all are served is reported."""
    errors: Counter[str] = Counter()
    await asyncio.to_thread(server.kill)

    async def call(n: int) -> None:
        while True:
            try:
                async with pool.get_connection() as conn:
                    assert await driver.echo(conn, str(n)) == str(n)
                    return
            except driver.lost as error:
                errors[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    async with ConnectionPool(strategy=driver.strategy(), max_size=SLOTS) as pool:
        tasks = [asyncio.create_task(call(n)) for n in range(callers)]
        await asyncio.sleep(seconds)
        assert not any(task.done() for task in tasks)
        await asyncio.to_thread(server.restart)
        began = time.monotonic()
        _, stuck = await asyncio.wait(tasks, timeout=SOON)
        took = time.monotonic() - began
        report(driver, f"refused for {seconds} s", stuck=len(stuck), seconds_to_all=f"{took:.3f}", **errors)
        assert not stuck
        await asyncio.gather(*tasks)
        await driver.reconnect()
        await every_slot_works(driver, pool)


async def kill_connections(driver: Driver) -> None:
    """Have the server close idle connections and busy ones: only who was using one hears of it."""
    async with ConnectionPool(strategy=driver.strategy(), max_size=SLOTS) as pool:
        await every_slot_works(driver, pool)
        victims = [slot.conn for slot in pool._ledger.idle]
        for conn in victims:
            await driver.cut(conn)
        await until(lambda: all(pool.strategy.connection_is_closed(conn) for conn in victims))
        await every_slot_works(driver, pool)
        assert pool.stats().closed["dead"] == SLOTS

        async def stall() -> None:
            async with pool.get_connection() as conn:
                held.append(conn)
                await driver.stall(conn)

        held: list[object] = []
        tasks = [asyncio.create_task(stall()) for _ in range(SLOTS)]
        await until(lambda: len(held) == SLOTS)
        await asyncio.sleep(0.05)
        for conn in held:
            await driver.cut(conn)
        done, stuck = await asyncio.wait(tasks, timeout=SOON)
        errors = Counter(type(task.exception()).__name__ for task in done)
        assert all(isinstance(task.exception(), driver.lost) for task in done)
        assert not stuck
        await every_slot_works(driver, pool)
        idle = pool.stats().idle
    report(
        driver,
        "connections cut by the server",
        idle=SLOTS,
        busy=SLOTS,
        stuck=len(stuck),
        slots_lost=SLOTS - idle,
        **errors,
    )


async def too_many(driver: Driver, room: int, error: type[BaseException]) -> None:
    """Ask for more connections than the server gives: who gets none is told why, and nothing is lost."""
    async with ConnectionPool(strategy=driver.strategy(), max_size=room + 10) as pool:
        together = asyncio.Event()
        results: Counter[str] = Counter()

        async def hold() -> None:
            name = unique("held")
            try:
                async with pool.get_connection() as conn:
                    assert await driver.echo(conn, name) == name
                    results["held"] += 1
                    await together.wait()
            except error as raised:
                results[type(raised).__name__] += 1

        async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
            for _ in range(room + 10):
                group.create_task(hold())
            await until(lambda: results.total() == room + 10)
            together.set()
        await until(lambda: pool.stats().size == pool.stats().idle)
        report(driver, f"a server with room for {room}", **results)
        assert results["held"] == pool.stats().size == room
        async with asyncio.TaskGroup() as group:
            for _ in range(room):
                group.create_task(hold())
        assert results["held"] == 2 * room
