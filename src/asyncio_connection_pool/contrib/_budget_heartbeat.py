"""The messages of a member, on an event loop: one at a time, when there is news, and in time to keep its lease."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import socket
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

from asyncio_connection_pool import Borrower
from asyncio_connection_pool.contrib._budget_holdings import Holdings
from asyncio_connection_pool.contrib._budget_protocol import ABORT_AT, BEATS, Member, Reply, Request
from asyncio_connection_pool.contrib._budget_words import reason

log = logging.getLogger("asyncio_connection_pool")

LINGER: Final = 0.1
"""Seconds for which permits that were given back are collected before the coordinator is told."""
SHORTEST: Final = 0.001
"""Seconds that a timer waits at the least, since the event loop has a clock of its own."""


def get_clock() -> Callable[[], float]:
    """Choose a clock that goes on while the machine sleeps, where there is one."""
    boottime: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boottime is None else partial(time.clock_gettime, boottime)


class Ask:
    """A pool that waits for a permit."""

    __slots__ = ("answer", "borrower")

    def __init__(self, borrower: Borrower) -> None:
        """Begin to wait."""
        self.borrower = borrower
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()


class Heartbeat:
    """Keeps a member in step with the coordinator.

    Its timer knows it weakly, so that it keeps nobody alive.
    """

    def __init__(
        self,
        member: Member,
        send: Callable[[Request], Awaitable[Reply]],
        part: Callable[[], Coroutine[Any, Any, None]],
        clock: Callable[[], float],
        *,
        strict: bool,
    ) -> None:
        """Begin silent, on the running event loop; `part` says goodbye."""
        self.member = member
        self.holdings = Holdings()
        self._send = send
        self._part = part
        self._clock = clock
        self._strict = strict
        self._loop = asyncio.get_running_loop()
        self._asks: list[Ask] = []
        self._listeners: list[asyncio.Future[Reply]] = []
        self._flight: asyncio.Task[None] | None = None
        self._flies = False
        self._timer: asyncio.TimerHandle | None = None
        self._complained = False
        self._news = False
        self._tell_at = math.inf
        """When news has to be told at the latest."""
        self._quiet_until = -math.inf
        """Until when nothing is sent by itself, since the last message failed."""
        self._not_before = -math.inf
        """Until when nothing more is to be asked for, so that the coordinator is not overrun."""
        self._spare = 0
        """Permits that were granted to nobody in particular, until the next message."""
        self._overdue = 0
        self._overdue_until = -math.inf
        """What there was when some was aborted, and until when the server may still see that."""

    # What pools want.

    async def ask(self, borrower: Borrower) -> bool:
        """Ask for one permit, unless the answer is known."""
        if borrower not in self.holdings or self._clock() < self._overdue_until:
            return False
        self.look()
        if self._spare:
            self._spare -= 1
            self.holdings.grant(borrower)
            return True
        ask = Ask(borrower)
        self._asks.append(ask)
        self._ask_soon()
        try:
            return await ask.answer
        except BaseException:
            if ask.answer.done() and not ask.answer.cancelled() and ask.answer.result():
                self.release(borrower, 1)
            raise

    def release(self, borrower: Borrower, permits: int) -> None:
        """Take permits back, and tell the coordinator soon."""
        self.holdings.release(borrower, permits)
        self._tell_soon()

    async def hear(self) -> Reply:
        """Send a message, and wait for its answer."""
        answer: asyncio.Future[Reply] = self._loop.create_future()
        self._listeners.append(answer)
        self.wake()
        return await answer

    def stop(self) -> None:
        """Send nothing more."""
        self._news = False
        for thing in (self._timer, self._flight):
            if thing is not None:
                thing.cancel()
        self._timer = None

    # Messages.

    def wake(self) -> None:
        """Send a message as soon as none is on its way."""
        self._news = True
        if not self._flies:
            self._flies = True
            self._flight = self._loop.create_task(self._exchange(), name=f"tell the coordinator of {self.member.label}")
            self._flight.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flight = None
        self._flies = False
        if self.holdings and self._news and task.cancelled():
            self._tell_soon()  # by a timer, which is no task that a loop which is about to end would leave behind
        elif self.holdings and self._news:
            self.wake()
        elif self.holdings and self._asks:
            self._ask_soon()
        self._arm()

    async def _exchange(self) -> None:
        """Send one message, and follow its answer; if somebody else cancels that, it is done again."""
        asks, self._asks = [ask for ask in self._asks if not ask.answer.done()], []
        listeners, self._listeners = self._listeners, []
        kept, self._news, self._tell_at, self._spare = self._kept, False, math.inf, 0
        outcome: Reply | Exception
        try:
            async with asyncio.timeout(self.member.lease_time / BEATS):
                outcome = await self._send(self._write(kept, len(asks)))
            if self.member.received(outcome, self._clock()):
                self._follow(outcome, kept, asks)
        except asyncio.CancelledError:
            self._asks[:0], self._listeners[:0], self._news = asks, listeners, True
            raise
        except Exception as error:
            outcome = error
            self._quiet_until = self._clock() + self.member.lease_time / BEATS / 2
            self._complain(error)
        else:
            self._complained = False
        _answer(asks, listeners, outcome)

    def _complain(self, error: Exception) -> None:
        """Warn, once in an outage: whoever asked for the first message is told anyway."""
        level = logging.WARNING if self.member.known and not self._complained else logging.INFO
        self._complained = True
        log.log(level, "%s does not reach the coordinator of its burst budget: %s", self.member.label, reason(error))

    def _write(self, kept: int, asked: int) -> Request:
        self.member.label = f"{socket.gethostname()}:{os.getpid()} {self.holdings.names}"
        want = kept + asked + self.holdings.wants
        return self.member.request(self._clock(), firm=self.holdings.firm, kept=kept, want=want)

    @property
    def _kept(self) -> int:
        if self._clock() >= self._overdue_until:
            self._overdue = 0
        return max(self._overdue, self.holdings.kept)

    def _follow(self, reply: Reply, kept: int, asks: list[Ask]) -> None:
        spare = reply.burst - kept
        for ask in asks:
            if spare > 0 and ask.borrower in self.holdings and _settle(ask.answer, True):
                self.holdings.grant(ask.borrower)
                spare -= 1
        if spare < 0:
            self.holdings.shrink_to(reply.burst)
            self._abort()
        if reply.share is not None and (self.holdings.give_up_idle() | self.holdings.shrink_to(reply.share)):
            self._tell_soon()
        self._not_before = self._clock() + reply.pace * (0.5 + random.random())  # noqa: S311 - no secret
        if spare > 0:
            self._spare = spare
            self.holdings.resume()
            self._tell_soon()

    # Giving up.

    def look(self) -> None:
        """Give up what is over, as the clock says now."""
        now = self._clock()
        if now >= self.member.revoke_at:
            self._spare = 0
            self.holdings.shrink_to(0)
        if now >= self.member.abort_at:
            self._abort()

    def _abort(self) -> None:
        kept = self._kept
        if self._strict and self.holdings.abort():
            self._overdue = kept
            self._overdue_until = self._clock() + (1 - ABORT_AT) * self.member.lease_time

    # The timer.

    def _tell_soon(self) -> None:
        self._tell_at = min(self._tell_at, self._clock() + LINGER)
        self._arm()

    def _ask_soon(self) -> None:
        if self._clock() >= self._not_before:
            self.wake()
        else:
            self._tell_at = min(self._tell_at, self._not_before)
            self._arm()

    @property
    def _message_at(self) -> float:
        return max(self._quiet_until, min(self._tell_at, self.member.beat_at))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if not self.holdings:
            return
        now, member = self._clock(), self.member
        ends = [end for end in (member.revoke_at, member.abort_at) if end > now]
        delay = max(SHORTEST, min([self._message_at, *ends]) - now)
        heartbeat: weakref.ref[Heartbeat] = weakref.ref(self)
        self._timer = self._loop.call_later(delay, _tick, heartbeat)

    def tick(self) -> None:
        """Do what is due; say goodbye if all pools were collected."""
        self.look()
        if not self.holdings:
            self.stop()
            self._flight = self._loop.create_task(self._part(), name=f"goodbye of {self.member.label}")
            return
        if self._clock() >= self._message_at:
            self.wake()
        self._arm()


def _tick(reference: weakref.ref[Heartbeat]) -> None:
    heartbeat = reference()
    if heartbeat is not None:
        heartbeat.tick()


def _answer(asks: list[Ask], listeners: list[asyncio.Future[Reply]], outcome: Reply | Exception) -> None:
    """Tell those that were granted nothing, and those that wait for the answer itself."""
    for ask in asks:
        _settle(ask.answer, False)
    for listener in listeners:
        _settle(listener, outcome)


def _settle(future: asyncio.Future[object] | asyncio.Future[bool] | asyncio.Future[Reply], outcome: object) -> bool:
    """Tell somebody who waits; false if nobody does any more."""
    if future.done():
        return False
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)  # type: ignore[arg-type]
    return True
