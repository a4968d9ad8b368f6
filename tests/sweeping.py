"""Run a scenario over and over, each time with somebody else cancelled at another moment (C10).

A *scenario* is a few callers of a pool over a scripted fake server. It runs under virtual time once as it is, and then
once for every *tick* and every *party*: a tick is the moment before a callback of the event loop, or before the loop
looks at its clock (finer than an iteration); a party is any task but the observer's own, those of the pool included.
The oracle looks at the pool at each tick, and `World` at everything once all have finished.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import loops
import oracle
import pytest

from asyncio_connection_pool import ConnectionPool, PoolTimeoutError
from asyncio_connection_pool.testing import FakeConnection, FakeStrategy, FullFakeStrategy, VirtualTimeLoop

log = logging.getLogger("asyncio_connection_pool")
RUNS: Counter[str] = Counter()
"""Runs made so far, by what they were for."""

Plan = tuple[tuple[int, int], ...]
"""Whom to cancel: the tick, and the number of the task in the order of creation."""


class SteppingLoop(VirtualTimeLoop):
    """Calls `on_tick` at each tick, and knows every task that it has started."""

    def __init__(self) -> None:
        super().__init__()
        self.on_tick: Callable[[], None] = lambda: None
        self.tasks: list[asyncio.Task[Any]] = []
        self._ready = _Callbacks(self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **options)
        self.tasks.append(task)
        return task

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """Those that are armed."""
        return [timer for timer in self._scheduled if not timer.cancelled()]

    def _run_once(self) -> None:
        self.on_tick()
        super()._run_once()


class _Callbacks(deque[Any]):
    def __init__(self, loop: SteppingLoop) -> None:
        super().__init__()
        self._loop = loop

    def popleft(self) -> Any:
        self._loop.on_tick()
        return super().popleft()


# The fake servers.


class _Witness(FakeStrategy):
    """Remembers what it has raised and which calls run, and can be given its script later."""

    looks: Iterator[bool | BaseException]

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[tuple[str, BaseException]] = []
        self.running: Counter[str] = Counter()
        self.heal()

    def script(self, *, look: Iterable[bool | BaseException] = (), **scripts: Iterable[Any]) -> None:
        self.looks = iter(look)
        self._scripts |= {method: iter(script) for method, script in scripts.items()}

    def heal(self) -> None:
        self.script(create=(), close=(), reset=(), validate=())

    def connection_is_closed(self, conn: FakeConnection) -> bool:
        look = next(self.looks, False)
        if isinstance(look, BaseException):
            self.raised.append(("look", look))
            raise look
        conn.closed |= look
        return super().connection_is_closed(conn)

    async def _play(self, method: str) -> None:
        self.running[method] += 1
        try:
            await super()._play(method)
        except Exception as error:
            self.raised.append((method, error))
            raise
        finally:
            self.running[method] -= 1


class Plain(_Witness):
    """A server for a strategy with nothing but the musts."""


class Full(_Witness, FullFakeStrategy):
    """A server for a strategy with every optional method."""


FAKES = (Plain, Full)


def failing(after: float, error: BaseException) -> Callable[[], Coroutine[Any, Any, None]]:
    """Make a behaviour: fail, but not before so many seconds."""

    async def behave() -> None:
        await asyncio.sleep(after)
        raise error

    return behave


async def stubborn() -> None:
    """Behave as one that does not let itself be cancelled: succeed instead."""
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError:
        await asyncio.sleep(0)


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
        pairs: Whether it is small enough to cancel twice in a run, at every two ticks.
        least: The fewest runs that a sweep of it makes; fewer, and the sweep has lost something.
    """

    play: Callable[[World], object]
    options: dict[str, Any]
    warm: int = 0
    script: Callable[[], dict[str, Any]] = dict
    errors: tuple[type[BaseException], ...] = ()
    full: bool = False
    pairs: bool = False
    least: int = 1

    def __str__(self) -> str:
        return self.play.__name__

    @property
    def fakes(self) -> tuple[type[_Witness], ...]:
        return (Full,) if self.full else FAKES


class Scenarios(list[Scenario]):
    """The scenarios of one file; calling it makes a decorator that adds one."""

    def __call__(self, **settings: Any) -> Callable[[Callable[[World], object]], Scenario]:
        known = {name: settings.pop(name) for name in Scenario.__dataclass_fields__ if name in settings}

        def add(play: Callable[[World], object]) -> Scenario:
            scenario = Scenario(play, options=settings, **known)
            self.append(scenario)
            return scenario

        return add

    def cases(self, *, pairs: bool = False) -> list[Any]:
        """List the arguments for a test that takes a scenario and a fake."""
        return [
            pytest.param(scenario, fake, id=f"{scenario}-{fake.__name__}")
            for scenario in self
            if scenario.pairs or not pairs
            for fake in scenario.fakes
        ]


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


# One run.


@dataclass(eq=False)
class World:
    """One run of a scenario: its loop, its pool, its server, its parties, and what becomes of them."""

    scenario: Scenario
    fake: type[_Witness]
    plan: Plan = ()
    recording: bool = False
    moments: list[list[int]] = field(default_factory=list)
    """For each tick the numbers of the tasks that could be cancelled, if recording."""

    def __post_init__(self) -> None:
        self.loop: SteppingLoop = loops.prepare(SteppingLoop())  # type: ignore[assignment]
        self.server = self.fake()
        self.pool: ConnectionPool[FakeConnection] = ConnectionPool(strategy=self.server, **self.scenario.options)
        self.parties: list[asyncio.Task[Any]] = []
        self.cancelled: list[asyncio.Task[Any]] = []
        self.holders: dict[FakeConnection, asyncio.Task[Any]] = {}
        self.logged: list[logging.LogRecord] = []
        self.complaints: list[dict[str, Any]] = []
        self.most = self.pool.stats().limit
        self.tick = 0

    def run(self) -> World:
        """Play it, and judge it.

        Raises:
            AssertionError: Something was lost, or somebody was wronged; the note says who was cancelled when.
        """
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        try:
            with captured_log() as self.logged:
                self.loop.run_until_complete(self._main())
            assert not self.complaints
        except BaseException as error:
            whom = [(tick, self.loop.tasks[number].get_name()) for tick, number in self.plan]
            error.add_note(f"{self.scenario}, {self.fake.__name__}, cancelled (tick, task): {whom}, plan {self.plan}")
            raise
        finally:
            self.loop.close()
        return self

    async def _main(self) -> None:
        await self._hold_at_once(self.scenario.warm)
        self.server.script(**self.scenario.script())
        self.loop.on_tick = self._on_tick
        self.scenario.play(self)
        await self.rest()
        self.loop.on_tick = self.watch
        self.judge()
        self.server.heal()
        if not self.pool.closed:
            await self._hold_at_once(self.pool.stats().limit)
        await self.pool.close()
        await self.rest()
        self.judge_closed()

    # What scenarios use.

    def start(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a party."""
        task = self.loop.create_task(coro, name=f"party {len(self.parties)}: {coro.__name__}")
        self.parties.append(task)
        return task

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
                if error is not None:
                    raise error()

    async def at(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something later; as a party."""
        await asyncio.sleep(seconds)
        act()

    async def closing(self, after: float = 0, timeout: float | None = None) -> None:
        """Close the pool; as a party."""
        if after:
            await asyncio.sleep(after)
        await self.pool.close(timeout)

    @contextmanager
    def holding(self, conn: FakeConnection) -> Iterator[None]:
        """Hold a connection, which nobody else may do."""
        assert conn not in self.holders, "C10: one connection, two holders"
        assert not conn.closed, "C7: a closed connection was handed out"
        task = asyncio.current_task()
        assert task is not None
        self.holders[conn] = task
        try:
            yield
        finally:
            del self.holders[conn]
        assert not conn.closed or self.pool.closed, "a connection was closed in use"

    async def rest(self) -> None:
        """Wait until no task is left and nothing that was to shrink is."""
        for delay in (0, self.scenario.options.get("shrink_delay", 0)):
            await asyncio.sleep(delay)
            while busy := [task for task in self.loop.tasks[1:] if not task.done()]:
                await asyncio.wait(busy)

    async def _hold_at_once(self, count: int) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(self.pool.get_connection())
            if count == self.pool.stats().limit:
                with pytest.raises(PoolTimeoutError):
                    await self.pool.get_connection(timeout=0).__aenter__()

    # What is looked at, and when.

    def _on_tick(self) -> None:
        self.watch()
        if self.recording:
            self.moments.append([n for n, task in enumerate(self.loop.tasks) if n and not task.done()])
        for tick, number in self.plan:
            if tick == self.tick:
                self._cancel(self.loop.tasks[number])
        self.tick += 1

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        assert task.cancel()
        self.cancelled.append(task)

    def watch(self) -> None:
        """Look at the pool; what is above a limit that was lowered may only get less."""
        stats = self.pool.stats()
        self.most = max(stats.limit, min(self.most, stats.size))
        assert stats.size <= self.most, "C1"
        if stats.size <= stats.limit:
            oracle.check(self.pool)

    def judge(self) -> None:
        """Look at what has become of everybody and everything."""
        for party in self.parties:
            self._judge_party(party)
        for method, error in self.server.raised:
            self._judge_delivery(method, error)
        oracle.check_settled(self.pool)
        kept = {slot.conn for slot in self.pool._ledger.idle}
        assert not any(conn.closed for conn in kept)
        assert set(self.server.open) == kept, "C10: a connection was lost"

    def _judge_party(self, party: asyncio.Task[Any]) -> None:
        if party in self.cancelled:
            assert party.cancelled(), f"C10: the cancellation of {party} was swallowed"
            return
        assert not party.cancelled(), f"C10: {party} took the cancellation of somebody else"
        error = party.exception()
        if error is not None and not isinstance(error, self.scenario.errors):
            raise error

    def _judge_delivery(self, method: str, error: BaseException) -> None:
        """What the server raises is told once, to a caller or to the log (C6, C8)."""
        callers = sum(not party.cancelled() and party.exception() is error for party in self.parties)
        records = sum(bool(record.exc_info) and record.exc_info[1] is error for record in self.logged)
        assert callers + records == 1, f"{error!r} of {method}: {callers} callers and {records} records tell of it"
        assert method != "reset" or not callers

    def judge_closed(self) -> None:
        """Look at what a closed pool has left over (C12, C13)."""
        oracle.check_settled(self.pool)
        assert not self.pool._ledger.slots
        assert self.pool._tasks.none_left
        assert not self.loop.timers
        assert not self.server.creating
        assert not self.server.open, "C12: a connection outlives the pool"


# Many runs.


def sweep(scenario: Scenario, fake: type[_Witness], *, pairs: bool = False) -> int:
    """Cancel each party at each tick, one a run; or each two, at each two ticks.

    Returns:
        How many runs that took.
    """
    runs = 0
    for plan in plans(scenario, fake):
        world = World(scenario, fake, plan, recording=pairs).run()
        runs += 1
        if pairs:
            for second in follow_ups(world):
                World(scenario, fake, (*plan, second)).run()
                runs += 1
    gc.collect()
    RUNS["pairs" if pairs else "singles"] += runs
    return runs


def plans(scenario: Scenario, fake: type[_Witness]) -> list[Plan]:
    """Run a scenario as it is, and list every way to cancel one of its parties."""
    world = World(scenario, fake, recording=True).run()
    return [((tick, number),) for tick, alive in enumerate(world.moments) for number in alive]


def follow_ups(world: World) -> Iterator[tuple[int, int]]:
    """List every way to cancel once more after what was cancelled in a run."""
    ((first, victim),) = world.plan
    for tick, alive in enumerate(world.moments):
        for number in alive:
            if tick > first or (tick == first and number > victim):
                yield tick, number
