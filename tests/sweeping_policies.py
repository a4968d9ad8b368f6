"""The fault matrix of a pool with every policy on: each pair of faults.

Who may hang is different then: in an outage callers wait for its end. And what a create fails with is told to who
waits for `open()`, or to the log once an outage, or to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from asyncio_connection_pool import CoDel, PoolError, PoolOverloadedError, PoolStats, PoolTimeoutError, Reconnect
from sweeping_fakes import Full
from sweeping_faults import FAULTS, LOOKS, METHODS, TIMEOUTS, Alarm, Case, FaultRun

EVERY_POLICY = {
    "min_size": 1,
    "max_lifetime": 6,
    "max_uses": 3,
    "max_idle": 4,
    "validate_after": 0.2,
    "shrink_delay": 1,
    "burst_delay": 0.3,
    "reconnect": Reconnect(first=0.1, longest=0.5),
    "queue_policy": CoDel(target=2, interval=4),
    "track_holders": True,
    "leak_threshold": 0.5,
}
"""In seconds that matter to callers who hold for one second, and come back after half of one."""


class Lost(Full):
    """Says of some failures that the server is lost."""

    def failure_is_fatal(self, exc: BaseException) -> bool:
        return isinstance(exc, OSError)


METHODS[Lost] = ("create", "close", "reset", "validate")


class PolicyCase(Case):
    """One cell, with every policy on."""

    def options(self) -> dict[str, Any]:
        return {"max_size": 1, "burst_limit": 2} | EVERY_POLICY | (TIMEOUTS if self.timeouts else {})


class PolicyRun(FaultRun):
    """One run of a case."""

    horizon = 30.01  # the pool goes on and on
    patience = 5

    def begin(self) -> None:
        self.start(self.opening())
        super().begin()

    async def opening(self) -> None:
        try:
            await self.pool.open()
        except (Exception, Alarm) as error:
            self.errors.append((-1, 0, error))

    def judge_hangs(self) -> None:
        stats, stuck = self.pool.stats(), self.server.running
        assert stats.opening <= stuck["create"]
        assert stats.validating <= stuck["validate"]
        assert stats.resetting == stuck["reset"]
        assert not stats.in_use
        hanging = sum(not party.done() for party in self.parties)
        assert not (hanging and self.case.timeouts)
        supplied = stats.waiting <= stats.opening + stats.validating or stats.size == stats.limit
        assert supplied or self._outage, "somebody waits for no reason"
        opens = not self.parties[0].done()
        assert hanging - stats.waiting == opens, "an exit hangs"
        assert stats.opening or not opens, "open() hangs for no reason"

    @property
    def _outage(self) -> bool:
        """Whether no connection that is of use was opened, as far as the pool knows."""
        return self.pool._ledger.allowance is not None

    def free_slots(self, stats: PoolStats) -> int:
        """An open that never ends is the only one that an outage allows."""
        return 0 if self._outage and stats.opening else super().free_slots(stats)

    def judge_own_error(self, error: BaseException) -> None:
        if isinstance(error, PoolTimeoutError):
            assert self.case.timeouts
        elif type(error) is PoolError:
            assert self.case.look in {"true", "Exception"}, "C7: closed at birth"
        else:
            assert isinstance(error, PoolOverloadedError)

    def judge_first_error(self) -> None:
        """Each waits for the end of the outage."""
        first = [error for method, error in self.server.raised if method == "create"][:1]
        for error in first:
            assert self.records_of(error) or any(error is told for _, _, told in self.errors), "an outage goes unseen"

    def judge_error(self, method: str, error: BaseException, callers: int) -> None:
        told = callers + self.records_of(error)
        if method == "create":
            assert told <= 1
            assert not callers or self.errors[0][2] is error, "callers wait for the end of the outage"
        elif method == "look":
            assert told == 1, f"{error!r} is told {told} times"
        elif method == "close":
            assert not callers, "C8: nobody waits for a close"
            assert told or self.case.look != "false", "C7: only the close of a dropped one is hushed up"
        else:
            assert (callers, told) == (0, 1), "C5: nobody waits for a reset or a validation"


def policy_cases(*, always: bool) -> Iterator[PolicyCase]:
    """List the cells in which at most two things go wrong."""
    methods = METHODS[Lost]
    for *faults, look in product(*[FAULTS] * len(methods), LOOKS):
        wrong = sum(fault != "ok" for fault in faults) + (look != "false")
        for timeouts in (False, True):
            if wrong <= 2:
                yield PolicyCase(Lost, tuple(faults), look, timeouts, burst=True, always=always)
