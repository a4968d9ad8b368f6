"""A budget in the same process, that answers as it is told to and keeps exact books, and what is true of a borrower."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Coroutine, Iterable
from typing import Any

from asyncio_connection_pool import Borrower, BurstBudget, ConnectionPool
from asyncio_connection_pool.testing import NEVER

GRANTED = True
REFUSED = False
Answer = bool | float | str | BaseException
"""What becomes of a question: granted, refused, granted after so many seconds, `NEVER` answered, or it raises."""


class FakeBudget(BurstBudget):
    """Has so many permits, and answers by a script first.

    Args:
        permits: Those that it has.
        answers: The script of `acquire`.
        joins: The script of `join`: raise, take so many seconds, or succeed (None).
        timeout: See `BurstBudget`.
        goodbye: Seconds that `leave` takes.
    """

    def __init__(
        self,
        permits: float = math.inf,
        *,
        answers: Iterable[Answer] = (),
        joins: Iterable[float | BaseException | None] = (),
        timeout: float = 0.25,
        goodbye: float = 0,
    ) -> None:
        self.permits = permits
        self.goodbye = goodbye
        self.timeout = timeout
        self.given: Counter[Borrower] = Counter()
        """Permits that are out, by pool."""
        self.reserved: dict[Borrower, int] = {}
        self.borrowers: list[Borrower] = []
        """Every pool that ever joined."""
        self.released: list[int] = []
        self.asked = 0
        self.asking = 0
        self.looked = 0
        self.over: list[Borrower] = []
        """Pools whose permits are over, which they learn when somebody looks."""
        self.script(answers=answers, joins=joins)

    def script(self, *, answers: Iterable[Answer] = (), joins: Iterable[Any] = ()) -> None:
        """Change what is answered next."""
        self._answers = deque(answers)
        self._joins = deque(joins)

    async def join(self, borrower: Borrower) -> None:
        self.borrowers.append(borrower)
        answer = self._joins.popleft() if self._joins else None
        if isinstance(answer, BaseException):
            raise answer
        if answer is not None:
            await asyncio.sleep(answer)
        self.reserved[borrower] = borrower.max_size

    async def acquire(self, borrower: Borrower) -> bool:
        assert borrower in self.reserved
        self.asked += 1
        self.asking += 1
        try:
            granted = await self._answer()
        finally:
            self.asking -= 1
        granted = granted and sum(self.given.values()) < self.permits
        self.given[borrower] += granted
        return granted

    async def _answer(self) -> bool:
        answer = self._answers.popleft() if self._answers else GRANTED
        if isinstance(answer, BaseException):
            raise answer
        if answer == NEVER and isinstance(answer, str):
            await asyncio.get_running_loop().create_future()
        elif isinstance(answer, float):
            await asyncio.sleep(answer)
        return answer is not REFUSED

    def release(self, borrower: Borrower, permits: int) -> None:
        assert 0 <= permits <= self.given[borrower], "what was not borrowed is given back"
        self.released.append(permits)
        self.given[borrower] -= permits

    def look(self) -> None:
        self.looked += 1
        while self.over:
            self.revoke(self.over.pop())

    def revoke(self, borrower: Borrower, keep: int = 0) -> None:
        """Take permits away."""
        self.given[borrower] = min(self.given[borrower], keep)
        borrower.revoke(keep)

    def leave(self, borrower: Borrower) -> Coroutine[Any, Any, None]:
        assert borrower in self.borrowers
        assert not self.given[borrower], "a pool leaves and keeps permits"
        self.reserved.pop(borrower, None)
        return asyncio.sleep(self.goodbye)


def account(pool: ConnectionPool) -> Any:
    """The books of a pool."""
    return pool._supply.account


def check(pool: ConnectionPool, budget: FakeBudget) -> None:
    """What is true of a borrower at every moment: nothing is open that is neither reserved nor borrowed."""
    books, ledger = account(pool), pool._ledger
    assert books.permits == budget.given[books]
    over = books.used > books.permits
    assert not over or ledger.limit < len(ledger.slots) or ledger.limit == ledger.most
    assert all(slot.state == "opening" for slot in books._asking)
    assert not books._paused or pool.closed or pool._supply.maintenance._pause_over < math.inf


def check_permitted(pool: ConnectionPool) -> None:
    """What is true until permits are revoked."""
    books = account(pool)
    assert books.used <= books.permits, "C1: a connection that there was no leave for"


def check_settled(pool: ConnectionPool, budget: FakeBudget) -> None:
    """What is true when nobody uses the pool: no permit is kept that no connection needs."""
    check(pool, budget)
    books = account(pool)
    assert not books._asking
    assert books.used == books.permits == budget.given[books]
    assert not budget.asking
