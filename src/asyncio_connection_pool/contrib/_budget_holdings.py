"""What the pools of one process have borrowed together, and how they give it up."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from contextlib import contextmanager

from asyncio_connection_pool import Borrower


class Holding:
    """What one pool has."""

    __slots__ = ("held", "wanted")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.wanted = 0
        """Connections that are to be reserved for it."""
        self.held = 0
        """Permits that it has, or that are on their way to it."""


class Holdings:
    """The pools, each with what it has. A pool that is collected vanishes from here."""

    def __init__(self) -> None:
        """Begin with no pool."""
        self._of: weakref.WeakKeyDictionary[Borrower, Holding] = weakref.WeakKeyDictionary()

    def __contains__(self, borrower: Borrower) -> bool:
        return borrower in self._of

    def __len__(self) -> int:
        return len(self._of)

    @property
    def names(self) -> str:
        """The names of the pools."""
        return " ".join(sorted(borrower.name for borrower in self._of))

    @property
    def firm(self) -> int:
        """Connections to be reserved."""
        return sum(max(holding.wanted, borrower.firm) for borrower, holding in self._of.items())

    @property
    def held(self) -> int:
        """Permits that are out."""
        return sum(holding.held for holding in self._of.values())

    @property
    def kept(self) -> int:
        """The same, and connections that are open without one."""
        return sum(max(holding.held, borrower.used) for borrower, holding in self._of.items())

    @property
    def wants(self) -> int:
        """Connections that callers wait for since they were refused."""
        return sum(borrower.wants for borrower in self._of)

    @contextmanager
    def wanting(self, borrower: Borrower) -> Generator[None]:
        """Want what a pool is to have reserved, and no more than it had if that fails."""
        holding = self._of.setdefault(borrower, Holding())
        before, holding.wanted = holding.wanted, borrower.max_size
        try:
            yield
        except BaseException:
            holding.wanted = before
            if not before:
                self.remove(borrower)
            raise

    def remove(self, borrower: Borrower) -> None:
        """Forget a pool."""
        self._of.pop(borrower, None)

    def grant(self, borrower: Borrower) -> None:
        """Book a permit for a pool."""
        self._of[borrower].held += 1

    def release(self, borrower: Borrower, permits: int) -> None:
        """Book that a pool gives some back."""
        if borrower in self._of:
            self._of[borrower].held -= permits

    def resume(self) -> None:
        """Have the pools ask again."""
        for borrower in list(self._of):
            borrower.resume()

    def give_up_idle(self) -> bool:
        """Close what is idle; true if there was any."""
        idle = {borrower: min(borrower.idle, holding.held) for borrower, holding in self._of.items()}
        for borrower, number in idle.items():
            self._revoke(borrower, number)
        return any(idle.values())

    def shrink_to(self, most: int) -> bool:
        """Revoke what is above `most`, from whom has most; true if there was any."""
        over = before = max(0, self.held - most)
        for borrower, holding in sorted(self._of.items(), key=lambda item: -item[1].held):
            less = min(over, holding.held)
            self._revoke(borrower, less)
            over -= less
        return before > 0

    def _revoke(self, borrower: Borrower, number: int) -> None:
        if number:
            self._of[borrower].held -= number
            borrower.revoke(self._of[borrower].held)

    def abort(self) -> bool:
        """Abort what is open without a permit; true if there was any."""
        over = [borrower for borrower, holding in self._of.items() if borrower.used > holding.held]
        for borrower in over:
            borrower.abort()
        return bool(over)
