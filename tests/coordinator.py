"""What a coordinator does, as plainly as it can be said: the engines' scripts are held to this."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from asyncio_connection_pool.contrib._budget_protocol import BEATS, Reply, Request

PACE = 0.001
"""Seconds between two messages of hungry members, whichever they are."""


@dataclass
class Account:
    """What the coordinator knows of a member."""

    label: str
    firm: int = 0
    claim: int = 0
    """What it will have reserved once there is room; `firm` if nothing is pending."""
    burst: int = 0
    wants: bool = False
    hungry: bool = False
    seq: int = 0
    rests_until: float = -math.inf
    """Until when it gets no more while others are hungry, since it has given some back."""
    expires: float = 0.0
    forget_at: float = 0.0


class Coordinator:
    """One budget.

    Args:
        line: Says whether a member is still linked to it.
    """

    def __init__(self, line: Callable[[str], bool] = lambda member: False) -> None:
        self._line = line
        self.lose_memory()

    def line_stands(self, member: str) -> bool:
        return self._line(member)

    def is_old(self, account: Account, request: Request) -> bool:
        return request.seq <= account.seq

    def lose_memory(self) -> None:
        """Restart empty."""
        self.members: dict[str, Account] = {}
        self.limit = 0
        self.grace_until = -math.inf
        self.restarted = True

    def restart(self) -> None:
        """Restart, and remember what was known."""
        self.restarted = True

    @property
    def reserved(self) -> int:
        return sum(account.firm for account in self.members.values())

    @property
    def claimed(self) -> int:
        return sum(account.claim for account in self.members.values())

    @property
    def lent(self) -> int:
        return sum(account.burst for account in self.members.values())

    @property
    def free(self) -> int:
        return self.limit - self.claimed - self.lent

    def sync(self, request: Request, now: float) -> Reply:
        """Take a message, and answer it."""
        if self.restarted:
            self.restarted = False
            self.grace_until = now + request.lease_time
        self.limit = self.limit or request.limit
        self.bury(now)
        account = self.members.get(request.member)
        if account is None:
            if not request.known:
                if now < self.grace_until:
                    return Reply(request.seq, "wait", free=self.free, pace=self.grace_until - now)
                if self.claimed + request.firm > request.limit:
                    return Reply(request.seq, "full", free=self.free)
                self.limit = request.limit
            account = self.members[request.member] = Account(request.label)
            if request.known:
                account.firm = account.claim = request.firm
        elif self.is_old(account, request):
            return Reply(request.seq, "stale", free=self.free)
        account.seq = request.seq
        account.label = request.label
        account.expires = now + request.lease_time
        account.forget_at = now + request.reservation_time
        fits = self._reserve(account, request.firm)
        share = self._lend(account, request, now)
        status = "full" if not fits else "wait" if account.firm < account.claim else "ok"
        pace = request.lease_time / BEATS if share == 0 else self._pace()
        return Reply(request.seq, status, account.firm, account.burst, share, self.free, pace)

    def bury(self, now: float) -> None:
        """Take back what silent members had, unless their line stands."""
        for member, account in list(self.members.items()):
            if account.expires > now or self.line_stands(member):
                continue
            account.burst = 0
            account.claim = account.firm
            account.wants = account.hungry = False
            if account.forget_at <= now or not account.firm:
                del self.members[member]

    def _reserve(self, account: Account, firm: int) -> bool:
        """Reserve, as soon as the bursts leave room for it; false if the reservations don't."""
        if firm <= account.firm:
            account.firm = account.claim = firm
            return True
        if firm != account.claim:
            fits = self.claimed - account.claim + firm <= self.limit
            account.claim = firm if fits else account.firm
            if not fits:
                return False
        if self.reserved - account.firm + firm + self.lent <= self.limit:
            account.firm = firm
        return True

    def _lend(self, account: Account, request: Request, now: float) -> int | None:
        """Lend what is wanted and free, and no more than the share where others want some too."""
        in_grace = now < self.grace_until
        kept = request.kept if in_grace else min(account.burst, request.kept)
        gives_back, account.burst = kept < account.burst, kept
        account.wants = request.want > 0
        account.hungry = account.hungry and account.wants
        others = sum(other.hungry for other in self.members.values() if other is not account)
        share = self._share(account, request.seq) if others else None
        more = min(request.want - account.burst, self.free)
        if share is not None:
            if gives_back:
                account.rests_until = now + request.lease_time / BEATS
            more = min(more, share - account.burst) if now >= account.rests_until else 0
        if more > 0 and not in_grace:
            account.burst += more
        account.hungry = account.burst < request.want or account.firm < account.claim
        return share

    def _share(self, account: Account, seq: int) -> int:
        """Divide what may be lent; where there is not one for each, they take turns."""
        active = sum(other.wants or other is account for other in self.members.values())
        fair = (self.limit - self.claimed) // active
        least = 0 if self.free < 0 or seq % BEATS == 0 else 1
        return max(least, fair)

    def _pace(self) -> float:
        return PACE * sum(account.hungry for account in self.members.values())
