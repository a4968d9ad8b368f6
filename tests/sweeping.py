"""Run a scenario over and over, each time with somebody else cancelled at another moment (C10).

A *scenario* is a few callers of a pool over a scripted fake server. It runs under virtual time once as it is, and then
once for every *tick* and every *party*: a tick is the moment before a callback of the event loop, or before the loop
looks at its clock (finer than an iteration); a party is any task but the observer's own, those of the pool included.
The oracle looks at the pool at each tick, and `World` at everybody and everything once all have finished.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import loops
import oracle
from asyncio_connection_pool import ConnectionPool, PoolTimeoutError
from asyncio_connection_pool.testing import FakeConnection
from sampling import sample
from sweeping_fakes import FAKES, Full, Plain, SteppingLoop

log = logging.getLogger("asyncio_connection_pool")
DEEP = bool(os.environ.get("ACP_DEEP"))
"""Whether to take minutes instead of seconds."""
RUNS: Counter[str] = Counter()
"""Runs made so far, by what they were for."""
CLOSE_ATTEMPTS = 2
"""Tasks that have to be cancelled by somebody outside before a connection without `abort_connection` stays open."""

Strike = tuple[int, int]
"""Whom to cancel: at which tick, and the number of the task in the order of creation."""
Plan = tuple[Strike, ...]


@contextmanager
def captured_log() -> Iterator[list[logging.LogRecord]]:
    """Keep what the pool logs, and keep it from everybody else."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    log.addHandler(handler)
    log.propagate = False
    try:
        yield records
    finally:
        log.propagate = True
        log.removeHandler(handler)


@dataclass(eq=False)
class Run:
    """One run: a loop, a pool, its server, the parties, and what becomes of them."""

    fake: type[Plain]
    options: dict[str, Any]
    plan: Plan = ()
    recording: bool = False
    moments: list[list[int]] = field(default_factory=list)
    """For each tick the numbers of the tasks that could be cancelled, if recording."""

    def __post_init__(self) -> None:
        self.loop: SteppingLoop = loops.prepare(SteppingLoop())  # type: ignore[assignment]
        self.loop.set_debug(self.loop.get_debug() and not self.plan)  # ten times slower: once a scenario is enough
        self.server = self.fake()
        self.pool: ConnectionPool[FakeConnection] = ConnectionPool(strategy=self.server, **self.options)
        self.parties: list[asyncio.Task[Any]] = []
        self.cancelled: list[asyncio.Task[Any]] = []
        self.held: list[FakeConnection] = []
        self.logged: list[logging.LogRecord] = []
        self.complaints: list[dict[str, Any]] = []
        self.bounded = "close_timeout" in self.options
        """Whether the pool has reason to break closes off."""
        self.most = self.pool.stats().limit
        self.tick = 0
        self._alive: list[int] = []
        self._seen = 1  # the observer is the first task

    def run(self) -> None:
        """Play it, and judge it.

        Raises:
            AssertionError: Something was lost, or somebody was wronged; the note says who was cancelled when.
        """
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        try:
            with captured_log() as self.logged:
                self.loop.run_until_complete(self.main())
            assert not self.complaints
        except BaseException as error:
            whom = [(tick, self.loop.tasks[number].get_name()) for tick, number in self.plan]
            error.add_note(f"{self}: cancelled (tick, task): {whom}, plan={self.plan}")
            raise
        finally:
            self.loop.close()

    async def main(self) -> None:
        """Play and judge."""
        raise NotImplementedError

    def start(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a party."""
        task = self.loop.create_task(coro, name=f"party {len(self.parties)}: {coro.__name__}")
        self.parties.append(task)
        return task

    @contextmanager
    def holding(self, conn: FakeConnection) -> Iterator[None]:
        """Hold a connection, which nobody else may do."""
        assert conn not in self.held, "C10: one connection, two holders"
        assert not conn.closed, "C7: a closed connection was handed out"
        assert conn not in self.server.unfit, "C9: an unfit connection was handed out"
        self.held.append(conn)
        self.server.soil(conn)
        try:
            yield
        except BaseException as error:
            if not isinstance(error, Exception) or isinstance(error, TimeoutError):
                self.server.broken.append(conn)
            raise
        finally:
            self.held.remove(conn)
        assert conn not in self.server.closes, "a connection was closed in use"

    async def hold_at_once(self, count: int) -> None:
        """Hold so many connections, to see that there are so many slots and, if that is the limit, no more."""
        async with AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(self.pool.get_connection())
            if count == self.pool.stats().limit:
                with pytest.raises(PoolTimeoutError):
                    await self.pool.get_connection(timeout=0).__aenter__()

    # Ticks.

    def strike(self) -> None:
        """Cancel whose turn it is at this tick."""
        if self.recording:
            self._record()
        for tick, number in self.plan:
            if tick == self.tick:
                task = self.loop.tasks[number]
                assert task.cancel()
                self.cancelled.append(task)
        self.tick += 1

    def _record(self) -> None:
        """Remember who could be cancelled now."""
        tasks = self.loop.tasks
        known = (*self._alive, *range(self._seen, len(tasks)))
        self._alive, self._seen = [n for n in known if not tasks[n].done()], len(tasks)
        self.moments.append(self._alive)

    def watch(self) -> None:
        """Look at the pool; what is above a limit that was lowered may only get less."""
        size, limit = self.pool._total, self.pool._ledger.limit
        self.most = max(limit, min(self.most, size))
        assert size <= self.most, "C1"
        if size <= limit:
            oracle.check(self.pool)

    def watch_and_strike(self) -> None:
        """Do both, at each tick."""
        self.watch()
        self.strike()

    # What the judges ask.

    @property
    def excused(self) -> int:
        """Connections that may stay open, as they can't be aborted and each close was cut off.

        By somebody outside, or by `close()` when its time or that of the close was up.
        """
        if self.server.aborts:
            return 0
        cut_off = [task for task in self.loop.tasks if task.get_name().endswith(": close") and task.cancelled()]
        by_outsiders = sum(task in self.cancelled for task in cut_off)
        by_the_pool = len(cut_off) - by_outsiders if self.bounded else 0
        return by_outsiders // CLOSE_ATTEMPTS + by_the_pool

    def records_of(self, error: BaseException) -> int:
        """Count how often the log tells of an error."""
        return sum(bool(record.exc_info) and record.exc_info[1] is error for record in self.logged)

    def judge_rest(self) -> None:
        """Look at a pool that nobody uses: what is open at the server is idle in the pool, and nothing else."""
        oracle.check_settled(self.pool)
        kept = {slot.conn for slot in self.pool._ledger.idle}
        assert kept.isdisjoint(self.server.closes), "a connection was kept that was closed"
        assert kept.isdisjoint(self.server.unfit), "C9: an unfit connection was kept"
        assert len(set(self.server.open) - kept) <= self.excused, "C10: a connection was lost"

    def judge_closed(self) -> None:
        """Look at what a closed pool has left over (C12, C13)."""
        self.judge_rest()
        assert not self.pool._ledger.slots
        assert all(task.done() for task in self.loop.tasks[1:]), "C13: a task outlives the pool"
        assert not self.loop.timers
        assert not self.server.creating


# Scenarios.


@dataclass(frozen=True, eq=False)
class Scenario:
    """What is played, and what it may lead to.

    Args:
        play: Starts the parties.
        options: Of the pool.
        warm: Connections that are open and idle when the play begins.
        script: Makes the script of the fake server, anew for each run.
        errors: What a party may fail with that nobody cancelled.
        full: Whether it makes sense only over a strategy with the optional methods.
        least: The fewest runs that a sweep of it takes; fewer, and the sweep has lost something.
        small: Whether two cancellations a run, at every two ticks, are a matter of seconds.
    """

    play: Callable[[World], object]
    options: dict[str, Any]
    warm: int = 0
    script: Callable[[], dict[str, Any]] = dict
    errors: tuple[type[BaseException], ...] = ()
    full: bool = False
    least: int = 1
    small: bool = False

    def __str__(self) -> str:
        return self.play.__name__


class Scenarios(list[Scenario]):
    """The scenarios of one file; calling it makes a decorator that adds one."""

    def __call__(self, **settings: Any) -> Callable[[Callable[[World], object]], Scenario]:
        known = {name: settings.pop(name) for name in Scenario.__dataclass_fields__ if name in settings}

        def add(play: Callable[[World], object]) -> Scenario:
            self.append(Scenario(play, options=settings, **known))
            return self[-1]

        return add

    def cases(self, *, pairs: bool = False) -> list[Any]:
        """List the arguments for a test that takes a scenario and a fake."""
        return [
            pytest.param(scenario, fake, id=f"{scenario}-{fake.__name__}")
            for scenario in self
            if scenario.small or DEEP or not pairs
            for fake in FAKES
            if fake is Full or not scenario.full
        ]


class World(Run):
    """One run of a scenario."""

    def __init__(self, scenario: Scenario, fake: type[Plain], plan: Plan = (), *, recording: bool = False) -> None:
        super().__init__(fake, scenario.options, plan, recording)
        self.scenario = scenario

    def __str__(self) -> str:
        return f"{self.scenario}, {self.fake.__name__}"

    async def main(self) -> None:
        await self.hold_at_once(self.scenario.warm)
        await self._rest()
        self.server.script(**self.scenario.script())
        self.loop.on_tick = self.watch_and_strike
        self.scenario.play(self)
        await self._rest()
        self.loop.on_tick = self.watch
        self._judge()
        self.server.heal()
        if not self.pool.closed:
            await self.hold_at_once(self.pool.stats().limit)
        await self.pool.close()
        self.judge_closed()

    async def _rest(self) -> None:
        """Wait until no task is left, and nothing that is due to shrink."""
        for seconds in (0, self.options.get("shrink_delay", 0) + 0.1):
            await asyncio.sleep(seconds)
            while busy := [task for task in self.loop.tasks[1:] if not task.done()]:
                await asyncio.wait(busy)

    def _judge(self) -> None:
        """Look at what has become of everybody and everything."""
        for party in self.parties:
            if party in self.cancelled:
                assert party.cancelled(), f"C10: the cancellation of {party} was swallowed"
                continue
            assert not party.cancelled(), f"C10: {party} took the cancellation of somebody else"
            error = party.exception()
            if error is not None and not isinstance(error, self.scenario.errors):
                raise error
        for method, error in self.server.raised:
            self._judge_delivery(method, error)
        self.judge_rest()

    def _judge_delivery(self, method: str, error: BaseException) -> None:
        """What the server raises is told once, to a caller or to the log (C6, C8); of a reset only the log tells."""
        callers = sum(not party.cancelled() and party.exception() is error for party in self.parties)
        records = self.records_of(error)
        assert callers + records == 1, f"{error!r} of {method}: {callers} callers and {records} records tell of it"
        assert method != "reset" or not callers

    # What scenarios use.

    def borrow(self, hold: float = 1, **details: Any) -> None:
        """Start a party that borrows a connection; see `borrowing`."""
        self.start(self.borrowing(hold, **details))

    async def borrowing(
        self,
        hold: float = 1,
        *,
        after: float = 0,
        error: Callable[[], BaseException] | None = None,
        discard: bool = False,
        **options: Any,
    ) -> None:
        """Hold a connection for so many seconds, and leave it with an error, or discarded."""
        if after:
            await asyncio.sleep(after)
        async with self.pool.get_connection(**options) as conn:
            with self.holding(conn):
                await asyncio.sleep(hold)
                if discard:
                    self.pool.discard(conn)
                    self.server.broken.append(conn)
                if error is not None:
                    raise error()

    def change(self, after: float, **attributes: Any) -> None:
        """Start a party that changes attributes of the pool."""

        async def changing() -> None:
            await asyncio.sleep(after)
            for name, value in attributes.items():
                setattr(self.pool, name, value)

        self.start(changing())

    def close(self, after: float = 0, timeout: float | None = None) -> None:
        """Start a party that closes the pool."""

        async def closing() -> None:
            await asyncio.sleep(after)
            await self.pool.close(timeout)

        self.bounded |= timeout is not None
        self.start(closing())


# Sweeps.


def sweep(scenario: Scenario, fake: type[Plain]) -> int:
    """Cancel each party at each tick, one a run.

    Returns:
        How many runs that takes, if none is left out; see `sampling`.
    """
    plans = _plans(scenario, fake)
    _run_all(scenario, fake, plans, "runs with one cancellation")
    return len(plans)


def sweep_pairs(scenario: Scenario, fake: type[Plain]) -> int:
    """Cancel each party at each tick, and then again each that is left at each tick that follows.

    Returns:
        How many runs that takes, if none is left out.
    """
    pairs = []
    for plan in _plans(scenario, fake):
        once = World(scenario, fake, plan, recording=True)
        once.run()
        pairs += [(*plan, strike) for strike in _strikes_after(plan[0], once.moments)]
    _run_all(scenario, fake, pairs, "runs with two cancellations")
    return len(pairs)


def _run_all(scenario: Scenario, fake: type[Plain], plans: list[Plan], what: str) -> None:
    taken = sample(plans, f"{scenario} {fake}")
    for plan in taken:
        World(scenario, fake, plan).run()
    gc.collect()  # whatever is wrong with what is left over is said now, in this test
    RUNS[what] += len(taken)


def _plans(scenario: Scenario, fake: type[Plain]) -> list[Plan]:
    as_it_is = World(scenario, fake, recording=True)
    as_it_is.run()
    return [((tick, number),) for tick, alive in enumerate(as_it_is.moments) for number in alive]


def _strikes_after(first: Strike, moments: list[list[int]]) -> Iterator[Strike]:
    for tick, alive in enumerate(moments):
        for number in alive:
            if tick > first[0] or (tick, number) > first:
                yield tick, number
