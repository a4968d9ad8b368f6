"""One small pool, the server it talks to and the callers that use it, with all that can happen to them.

A world is moved by events only. `enabled` lists those that are possible now, `happen` lets one happen, and `drain`
lets everything come to its end. Whatever breaks the contract is collected in `blamed`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asyncio_connection_pool import ConnectionPool
from exploring_callers import INSIDE, Caller, Closer, Opener
from exploring_oracle import check_at_rest, check_capacity, check_closed, check_quiet, check_step
from exploring_strategy import Op, gated
from exploring_verbs import Verbs

LONG = 15
"""Seconds after which whatever has to end has ended, though a pool may go on replacing what grows old."""
ENDLESS = 200
"""More ticks than anything finite here takes."""


@dataclass(frozen=True)
class Config:
    """A pool, who uses it, and which events may happen to it."""

    name: str
    verbs: str
    first: str = ""
    """What happens before all else, as `exploring.write` writes it."""
    max_size: int = 1
    burst_limit: int | None = None
    callers: int = 3
    ticks: int = 0
    """Besides "until nothing is left to do": how many ticks may lie between two events, at most, plus one."""
    sizes: tuple[int, ...] = ()
    acquire_timeout: float | None = None
    max_waiting: int | None = None
    max_connecting: int | None = None
    connect_timeout: float | None = None
    close_timeout: float | None = None
    shrink_delay: float = 0
    policies: Mapping[str, Any] = field(default_factory=dict)
    """Other options of the pool."""
    resets: bool = False
    aborts: bool = False
    stubborn: bool = False
    """Whether `create_connection` goes on when it is cancelled."""

    def pool(self, strategy) -> ConnectionPool:
        return ConnectionPool(
            strategy=strategy,
            max_size=self.max_size,
            burst_limit=self.burst_limit,
            name=self.name,
            acquire_timeout=self.acquire_timeout,
            max_waiting=self.max_waiting,
            max_connecting=self.max_connecting,
            connect_timeout=self.connect_timeout,
            close_timeout=self.close_timeout,
            shrink_delay=self.shrink_delay,
            **self.policies,
        )

    @property
    def validates(self) -> bool:
        return "validate_after" in self.policies

    @property
    def reconnects(self) -> bool:
        return "reconnect" in self.policies


class World:
    """See above."""

    def __init__(self, config: Config, laboratory) -> None:
        self.config = config
        self.loop = laboratory.loop
        self.loop.reset()
        laboratory.on_log = self.log
        self.logged: list[BaseException] = []
        self.blamed: list[str] = []
        self.strategy = gated(self, resets=config.resets, validates=config.validates, aborts=config.aborts)
        random.seed(0)  # a schedule ends in the same way each time
        self.pool = config.pool(self.strategy)
        self.callers: list[Caller] = []
        self.closers: list[Closer] = []
        self.openers: list[Opener] = []
        self.killed: list[asyncio.Task] = []
        self.delivered: list[BaseException] = []
        self.told: list[BaseException] = []
        """What those were told that open the pool, who are told all alike."""
        self.ceiling = self.pool.stats().limit
        self._number = 0
        self._verbs = [getattr(Verbs, verb.replace("-", "_")) for verb in config.verbs.split()]

    # What the others tell.

    def blame(self, what: str) -> None:
        self.blamed.append(what)

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def opens(self) -> None:
        """The server sees one connection more."""
        if self.strategy.alive > self.ceiling:
            self.blame(f"C1: the server sees {self.strategy.alive} connections, the limit is {self.ceiling}")

    def interrupted(self, op: Op, ops: list[Op]) -> None:
        """A call of the strategy was cancelled: somebody must have meant that."""
        config = self.config
        timeout = {"creates": config.connect_timeout, "closes": config.close_timeout, "resets": None}
        timeout["validates"] = config.connect_timeout
        kind = next(kind for kind in timeout if getattr(self.strategy, kind) is ops)
        if not (op.task in self.killed or self.pool.closed or (timeout[kind] or 9) <= self.loop.time()):
            self.blame(f"C5: one of the {kind} was cancelled by the pool")

    def deliver(self, error: BaseException) -> bool:
        """Whether an error was due to a caller; it is due to one only."""
        due = any(error is other for other in self.strategy.raised + self.strategy.excused)
        again = any(error is other for other in self.delivered)
        self.delivered.append(error)
        return due and not again

    def log(self, error: BaseException) -> None:
        """The pool logs an error: that may not be one that somebody waits for (C6)."""
        self.logged.append(error)
        due = any(error is other for other in self.strategy.raised)
        missed = any(error is caller.missed for caller in self.callers)
        patient = self.config.reconnects
        if due and not missed and not patient and any(caller.waits for caller in self.callers):
            self.blame(f"C6: {error!r} was logged while somebody waited")

    def is_closing(self, conn) -> bool:
        return any(slot.state == "closing" and getattr(slot, "conn", None) is conn for slot in self.pool._ledger.slots)

    # Events.

    def enabled(self) -> list[tuple[str, int]]:
        """List what can happen now, in an order that depends on the past only."""
        return [(verb.__name__, which) for verb in self._verbs for which in verb.can(self)]

    def happen(self, verb: str, which: int) -> None:
        getattr(Verbs, verb).do(self, which)

    def settle(self, ticks: int | None = None) -> int:
        """Let the loop turn so many times, or until nothing is left to do; say how often it turned."""
        loop = self.loop
        turns = 0
        while turns != ticks and not loop.quiet:
            loop.tick()
            turns += 1
            if turns > ENDLESS:
                self.blame("C13: the pool is busy for ever")
                break
        return turns

    def check(self) -> None:
        """Hold the contract against what is."""
        check_step(self)
        if self.loop.quiet:
            check_quiet(self)

    # The end.

    def drain(self) -> None:
        """Let all that has begun end well, use the pool once more to the full, and close it."""
        self._finish()
        if not self.pool.closed:
            check_at_rest(self)
            self._fill()
        self.closers.append(Closer(self, None))
        self._finish()
        check_closed(self)

    def abandon(self) -> None:
        """Leave nothing behind in the loop, after something went wrong."""
        self.closers.append(Closer(self, 0))
        tasks = [user.task for user in (*self.callers, *self.closers, *self.openers)]
        self.settle(ENDLESS)
        for _ in range(3):
            for task in (*tasks, *self.loop.running):
                task.cancel()
            self.settle(ENDLESS)

    def _finish(self, *, check: bool = True) -> None:
        self._latest = self.loop.now + LONG
        for _ in range(ENDLESS):
            self.settle()
            if check:
                self.check()
            if self.blamed:
                return
            if not (self._end_calls() or self._end_bodies() or self._end_waits()):
                return
        self.blame("C13: the pool is busy for ever")

    def _end_calls(self) -> bool:
        strategy = self.strategy
        running = (*strategy.creates, *strategy.closes, *strategy.resets, *strategy.validates)
        calls = [op for op in running if not op.told]
        for op in calls:
            op.tell("done")
        return bool(calls)

    def _end_bodies(self) -> bool:
        inside = [caller for caller in self.callers if caller.phase == INSIDE and not caller.body.done()]
        for caller in inside:
            caller.body.set_result(None)
        return bool(inside)

    def _end_waits(self) -> bool:
        if not self.loop.timers or self.loop.now > self._latest:
            return False
        self.loop.fire()
        return True

    def _fill(self) -> None:
        """Have as many callers as the limit allows inside at once: no slot is lost (C10)."""
        for conn in self.strategy.conns:
            conn.answer = bool(conn.answer)
        crowd = [Caller(self, len(self.callers) + i, patient=True) for i in range(self.pool.stats().limit)]
        self.callers += crowd
        self._latest = self.loop.now + LONG
        self.settle()
        while any(caller.phase != INSIDE for caller in crowd) and (self._end_calls() or self._end_waits()):
            self.settle()
        check_capacity(self, crowd)
        self._finish(check=False)
        check_at_rest(self)
