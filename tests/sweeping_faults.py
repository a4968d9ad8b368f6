"""The fault matrix: whatever a strategy's methods do, alone and together, the pool keeps its contract.

Three callers share two slots, two rounds each, while the first call of each method (or every call) goes well, fails,
takes a while or never ends, `connection_is_closed` says this or that, and a caller or a task of the pool is cancelled.

What may hang, and nothing else may:

- with all timeouts set, no caller, ever; a slot only in a reset that never ends, which nothing bounds but `close()`;
- with none, whoever waits while *every* slot is in a call that never ends, or while as many opens as callers wait never
  end (an open is started only for who has none in flight), and whoever awaits the close of a surplus connection (C8)
  that never ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, product
from typing import Any

from asyncio_connection_pool import PoolClosedError, PoolError, PoolStats, PoolTimeoutError
from asyncio_connection_pool.testing import NEVER
from sweeping import DEEP, RUNS, Plan, Run
from sweeping_fakes import Full, Look, Plain

FAULTS = ("ok", "error", "slow", "never")
LOOKS = ("false", "true", "Exception", "BaseException")
METHODS = {Plain: ("create", "close"), Full: ("create", "close", "reset")}
"""What can go wrong, by fake."""
TIMEOUTS = {"acquire_timeout": 10, "connect_timeout": 3, "close_timeout": 3}


class Alarm(BaseException):
    """What no pool may suppress."""


@dataclass(frozen=True)
class Case:
    """One cell of the matrix, but for who is cancelled."""

    fake: type[Plain]
    faults: tuple[str, ...]
    look: str
    timeouts: bool
    burst: bool
    always: bool
    """Whether every call goes wrong, or only the first."""

    def options(self) -> dict[str, Any]:
        """Make the pool's options: two slots in any case."""
        sizes = {"max_size": 1, "burst_limit": 2} if self.burst else {"max_size": 2}
        return sizes | (TIMEOUTS if self.timeouts else {})

    def fault(self, method: str) -> str:
        """Say what goes wrong with a method."""
        return dict(zip(METHODS[self.fake], self.faults, strict=True)).get(method, "ok")

    def script(self) -> dict[str, Any]:
        """Make the script of the fake server."""
        scripts = {method: self._calls(_behaviour, self.fault(method)) for method in METHODS[self.fake]}
        return scripts | {"look": self._calls(_look, self.look)}

    def _calls(self, make: Callable[[str], Any], what: str) -> Iterator[Any]:
        return (make(what) for _ in (count() if self.always else range(1)))


def _behaviour(fault: str) -> Any:
    return {"ok": None, "error": OSError(), "slow": 1, "never": NEVER}[fault]


def _look(look: str) -> Look:
    answers: dict[str, Look] = {"true": True, "Exception": ValueError(), "BaseException": Alarm()}
    return answers.get(look, False)


class FaultRun(Run):
    """One run of a case."""

    horizon = 100.01
    """The second at which whoever is not done never will be; nothing else happens then."""
    patience = 0
    """Seconds that the pool may take to recover."""

    def __init__(self, case: Case, plan: Plan = (), *, recording: bool = False) -> None:
        super().__init__(case.fake, case.options(), plan, recording)
        self.case = case
        self.bounded = True  # by the close() with which each run ends
        self.errors: list[tuple[int, int, BaseException]] = []
        """What callers were told: caller, round, error."""

    def __str__(self) -> str:
        return str(self.case)

    async def main(self) -> None:
        self.server.script(**self.case.script())
        self.loop.call_later(self.horizon - 1, setattr, self.loop, "on_tick", lambda: None)
        self.loop.on_iteration, self.loop.on_tick = self.watch, self.strike
        self.begin()
        await asyncio.sleep(self.horizon)
        self.judge_hangs()
        self._judge_errors()
        self.server.heal()
        await self._use_at_once()
        await self._end()

    def begin(self) -> None:
        """Start the parties."""
        for caller in range(3):
            self.start(self.calling(caller))

    async def calling(self, caller: int) -> None:
        for turn in range(2):
            try:
                async with self.pool.get_connection() as conn:
                    with self.holding(conn):
                        await asyncio.sleep(1)
            except (Exception, Alarm) as error:
                self.errors.append((caller, turn, error))
            await asyncio.sleep(0.5)

    async def _use_at_once(self) -> None:
        """See that all slots that are not stuck can be used at once, by more callers than stuck supply could be for."""
        await asyncio.sleep(self.patience)
        stats = self.pool.stats()
        supply = stats.opening + stats.validating
        free = self.free_slots(stats)
        if not free:
            return
        served: list[object] = []
        over = asyncio.Event()

        async def use() -> None:
            async with self.pool.get_connection() as conn:
                served.append(conn)
                await over.wait()

        users = [self.loop.create_task(use()) for _ in range(free + supply)]
        await asyncio.sleep(1 + self.patience)
        assert len(served) == free, "a slot was lost"
        over.set()
        _, hanging = await asyncio.wait(users, timeout=1 + self.patience)
        assert len(hanging) <= supply
        for user in hanging:
            user.cancel()
        await asyncio.gather(*users, return_exceptions=True)

    def free_slots(self, stats: PoolStats) -> int:
        """Count the slots that can be used."""
        return stats.limit - stats.opening - stats.validating - stats.resetting - stats.closing

    # The judgement.

    def judge_hangs(self) -> None:
        """See that whoever hangs has a reason to."""
        stats, stuck = self.pool.stats(), self.server.running
        assert stats.opening == stuck["create"]
        assert stats.resetting == stuck["reset"]
        assert stats.closing <= stuck["close"]  # some no longer count: C7, close_timeout
        assert not stats.in_use
        hanging = sum(not party.done() for party in self.parties)
        if self.case.timeouts:
            assert not hanging
            assert not stats.opening
            assert not stats.closing
        assert stats.waiting <= stats.opening or stats.size == stats.limit, "somebody waits for no reason"
        assert hanging - stats.waiting <= (stats.closing if self.case.burst else 0), "an exit hangs for no reason"

    def _judge_errors(self) -> None:
        """See that errors reach whom C6, C7 and C8 say, and nobody else, once."""
        for party in self.parties:
            assert party.cancelled() if party in self.cancelled else not party.cancelled(), "C10"
        told = [error for _, _, error in self.errors]
        for method, error in self.server.raised:
            self.judge_error(method, error, sum(error is other for other in told))
        for error in told:
            if all(error is not other for _, other in self.server.raised):
                self.judge_own_error(error)
        self.judge_first_error()

    def judge_own_error(self, error: BaseException) -> None:
        """See that the pool had reason to raise an error of its own."""
        if isinstance(error, PoolTimeoutError):
            assert self.case.timeouts
        else:
            assert type(error) is PoolError, "C7: closed at birth"
            assert self.case.always
            assert self.case.look in {"true", "Exception"}

    def judge_first_error(self) -> None:
        """See that callers are told in their order."""
        if self.case.fault("create") == "error" and not self.plan:
            assert self.errors[0][:2] == (0, 0), "C6: it reaches who has waited longest"

    def judge_error(self, method: str, error: BaseException, callers: int) -> None:
        records = self.records_of(error)
        if method in {"create", "look"}:
            assert callers + records == 1, f"{error!r}: {callers} callers and {records} records tell of it"
            assert callers or self.plan, "C6, C7: nobody was cancelled, so there is a caller to tell"
        elif method == "close":
            assert callers + records <= 1, "C8"
            assert callers + records or self.case.look != "false", "C7: only the close of a dropped one is hushed up"
            assert not callers or self.case.burst, "C8: only the close of a surplus one is awaited"
        else:
            assert (callers, records) == (0, 1), "C5: nobody waits for a reset"

    async def _end(self) -> None:
        """Close the pool, which takes no longer than it is given, and leaves nobody and nothing behind (C12)."""
        before = self.loop.time()
        await self.pool.close(timeout=5)
        assert self.loop.time() <= before + 5
        hanging = [party for party in self.parties if not party.done()]
        told = len(self.errors)
        for party in hanging:
            await party
        assert all(isinstance(error, PoolClosedError) for _, _, error in self.errors[told:])
        self.judge_closed()


def cases(fake: type[Plain], *, always: bool) -> Iterator[Case]:
    """List the cells for one fake."""
    methods = METHODS[fake]
    for *faults, look, timeouts, burst in product(*[FAULTS] * len(methods), LOOKS, (False, True), (False, True)):
        yield Case(fake, tuple(faults), look, timeouts, burst, always)


def run_case(case: Case, kind: type[FaultRun] = FaultRun) -> int:
    """Run a case as it is, and with somebody cancelled.

    Returns:
        How many runs that took.
    """
    as_it_is = kind(case, recording=True)
    as_it_is.run()
    plans = list(_plans(as_it_is))
    for plan in plans:
        kind(case, plan).run()
    RUNS["runs of the fault matrix"] += 1 + len(plans)
    return 1 + len(plans)


def _plans(run: FaultRun) -> Iterator[Plan]:
    """List whom to cancel, and when: the first caller at three moments, the first task of each kind in mid-life.

    Or, to take longer, every caller and every task at three moments each.
    """
    lives: dict[int, list[int]] = {}
    for tick, alive in enumerate(run.moments):
        for number in alive:
            lives.setdefault(number, []).append(tick)
    kinds: set[str] = set()
    for number, life in lives.items():
        kind = run.loop.tasks[number].get_name().rpartition(" ")[2]
        quarters = (1, 2, 3) if kind == "calling" or DEEP else (2,)
        if kind not in kinds or DEEP:
            kinds.add(kind)
            ticks = sorted({life[len(life) * quarter // 4] for quarter in quarters})
            yield from (((tick, number),) for tick in ticks)
