"""A burst budget that a fleet of processes shares. The engines know how to talk to their coordinators."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from abc import abstractmethod
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from asyncio_connection_pool import Borrower, BurstBudget, PoolError
from asyncio_connection_pool.contrib._budget_heartbeat import LINGER, Heartbeat, get_clock
from asyncio_connection_pool.contrib._budget_protocol import Member, Reply, Request
from asyncio_connection_pool.contrib._budget_words import reason

log = logging.getLogger("asyncio_connection_pool")

NAMED: Final = 10
"""Members that an error names."""
JOIN_LEASES: Final = 3
"""How many times `lease_time` a pool may wait for its reservation."""
GOODBYE: Final = 1.0
"""Seconds that a goodbye may take."""


@dataclass(frozen=True, slots=True)
class FleetMember:
    """One process of a fleet, as the coordinator knows it."""

    name: str
    """Host, process id, and the names of its pools."""
    reserved: int
    """Connections that are its own."""
    burst: int
    """Connections that are lent to it."""
    expires_in: float
    """Seconds until it is late; negative if it is."""

    def __str__(self) -> str:
        """Say it in a line."""
        late = f"due in {self.expires_in:.1f} s" if self.expires_in >= 0 else f"silent for {-self.expires_in:.1f} s"
        return f"{self.name}: {self.reserved} reserved, {self.burst} lent, {late}"


@dataclass(frozen=True, slots=True)
class FleetStats:
    """Who has what of a budget."""

    limit: int
    """Connections of the whole fleet; 0 if nobody has joined yet."""
    reserved: int
    """Those that are reserved."""
    lent: int
    """Those that are lent."""
    members: tuple[FleetMember, ...]
    """Who has them, the largest first."""

    @property
    def free(self) -> int:
        """Permits that may be lent; negative while what is to be reserved waits for what is lent."""
        return self.limit - self.reserved - self.lent

    def __str__(self) -> str:
        """Say it in a line for the fleet, and one for each member."""
        sums = f"{self.limit} connections: {self.reserved} reserved, {self.lent} lent, {self.free} free"
        return "\n  ".join([sums, *map(str, self.members)])


class FleetBudget(BurstBudget):
    """What the engines have in common. See them for the arguments."""

    def __init__(
        self,
        name: str,
        limit: int,
        coordinator: str,
        *,
        lease_time: float = 10.0,
        reservation_time: float | None = None,
        strict: bool = True,
        timeout: float = 0.25,
    ) -> None:
        """Check the arguments; nothing is asked yet."""
        self.name: str = _text(name)
        self.limit: int = _limit(limit)
        self.lease_time: float = _seconds("lease_time", lease_time)
        patience = 6 * self.lease_time if reservation_time is None else reservation_time
        self.reservation_time: float = _seconds("reservation_time", patience)
        if self.reservation_time < self.lease_time:
            raise ValueError(f"reservation_time must not be below lease_time: {reservation_time} is below {lease_time}")
        self.strict: bool = _bool("strict", strict)
        self.timeout: float = _seconds("timeout", timeout)
        self._coordinator = coordinator
        """Where it is, for people."""
        self._clock = get_clock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._heart: Heartbeat
        self._member: Member

    # The engine.

    @abstractmethod
    async def _send(self, request: Request) -> Reply:
        """Hand a message to the coordinator, and return its answer; connect first, if need be."""

    @abstractmethod
    async def _hang_up(self) -> None:
        """Close what is open to the coordinator."""

    @abstractmethod
    def _forget(self) -> None:
        """Forget what is open to the coordinator: its event loop is gone, or it is the parent's."""

    @abstractmethod
    async def _inspect(self) -> FleetStats:
        """Ask the coordinator who holds what."""

    async def inspect(self) -> FleetStats:
        """Ask the coordinator who holds what, and what is free.

        Raises:
            RuntimeError: The budget serves another event loop.
            Exception: It can't be reached.
        """
        self._bind()
        try:
            return await self._inspect()
        finally:
            if not self._heart.holdings:
                await self._hang_up()

    # What pools call.

    async def join(self, borrower: Borrower) -> None:
        """Reserve `borrower.max_size` connections.

        Raises:
            PoolError: They don't fit into `limit`, or there was no room in time, or the coordinator can't be reached.
            RuntimeError: The budget serves another event loop.
        """
        self._bind()
        async with self._turn:
            with self._heart.holdings.wanting(borrower):
                await self._get_admitted()

    async def acquire(self, borrower: Borrower) -> bool:
        """Borrow one connection, or not now."""
        return await self._heart.ask(borrower)

    def release(self, borrower: Borrower, permits: int) -> None:
        """Take permits back."""
        self._heart.release(borrower, permits)

    def look(self) -> None:
        """Revoke what is over."""
        self._heart.look()

    def leave(self, borrower: Borrower) -> Coroutine[Any, Any, None]:
        """Forget a pool; the last one says goodbye for the process."""
        holdings = self._heart.holdings
        if holdings and borrower not in holdings:
            return _do_nothing()
        holdings.remove(borrower)
        if not holdings:
            self._heart.stop()
        return self._part()

    # Coming and going.

    def _bind(self) -> None:
        """Belong to the running event loop, anew if the last one is closed or the process was forked."""
        loop = asyncio.get_running_loop()
        forked = self._pid != os.getpid()
        if self._loop is loop and not forked:
            return
        if self._loop is not None:
            if not (forked or self._loop.is_closed()) and self._heart.holdings:
                raise RuntimeError(f"{self!r} serves another event loop, which is still open: make one for each")
            self._forget()
        if forked:
            own = (self.limit, self.lease_time, self.reservation_time)
            self._member = Member(uuid.uuid4().hex, f"{socket.gethostname()}:{os.getpid()}", *own)
        self._loop = loop
        self._pid = os.getpid()
        self._turn = asyncio.Lock()
        self._heart = Heartbeat(self._member, self._send, self._part, self._clock, strict=self.strict)

    async def _get_admitted(self) -> None:
        deadline = self._clock() + JOIN_LEASES * self.lease_time
        while True:
            reply = await self._hear()
            if reply is None or reply.status == "ok":
                return
            if reply.status == "full" or self._clock() > deadline:
                raise PoolError(await self._complain())
            await asyncio.sleep(max(LINGER, min(reply.pace, self.lease_time)))

    async def _hear(self) -> Reply | None:
        try:
            return await self._heart.hear()
        except PoolError:
            raise  # what waiting does not mend
        except Exception as error:
            told = f"{self!r} does not reach its coordinator, {self._coordinator}: {reason(error)}"
            if self.strict:
                raise PoolError(
                    f"{told}; see that it runs, and that address, user and password are right; "
                    "with strict=False a pool opens without it"
                ) from error
            log.warning("%s; going on without a reservation", told)
            return None

    async def _complain(self) -> str:
        stats = await self.inspect()
        who = [f"{member.name}: {member.reserved} and {member.burst} lent" for member in stats.members]
        more = [f"{len(who) - NAMED} more"] if len(who) > NAMED else []
        of = f"{self.limit}" if stats.limit in {0, self.limit} else f"{self.limit} (the fleet goes by {stats.limit})"
        return (
            f"{self!r} has no room to reserve {self._heart.holdings.firm} connections (max_size) for this process: of "
            f"{of}, {stats.reserved} are reserved and {stats.lent} lent; "
            f"by {', '.join([*who[:NAMED], *more]) or 'nobody'}; "
            "lower max_size, or raise limit if the server allows that"
        )

    async def _part(self) -> None:
        async with self._turn:
            if self._heart.holdings:
                self._heart.wake()
                return
            member = self._member
            try:
                async with asyncio.timeout(GOODBYE):
                    await self._send(member.request(self._clock(), firm=0, kept=0, want=0))
            except Exception as error:
                log.info("%r: no goodbye, so what is reserved stands until its time is over: %s", self, reason(error))
            finally:
                member.known = False
                with suppress(Exception):
                    await self._hang_up()

    def __repr__(self) -> str:
        """Say which one it is."""
        return f"<{type(self).__name__} {self.name!r} of {self.limit}>"


async def _do_nothing() -> None:
    """Answer a pool that has not joined."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the name of a budget must be a str, not {value!r}")
    if not value:
        raise ValueError("the name of a budget must not be empty")
    return value


def _limit(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"limit must be an int, not {value!r}")
    if value < 1:
        raise ValueError(f"limit must be at least 1, not {value}")
    return value


def _bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be finite and more than 0 seconds, not {value!r}")
    return value
