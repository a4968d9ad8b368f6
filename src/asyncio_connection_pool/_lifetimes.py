"""When which connection is to be retired."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

from asyncio_connection_pool._slot import GONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncio_connection_pool._slot import Slot

Conn = TypeVar("Conn")


class Lifetimes(Generic[Conn]):
    """A heap of dates. A slot whose date was brought forward leaves the old entry behind, to be skipped."""

    def __init__(self) -> None:
        """Begin with no date."""
        self._dates: list[tuple[float, int, Slot[Conn]]] = []
        self._numbers = count()

    def add(self, slot: Slot[Conn], alive: int) -> None:
        """Remember when a slot expires.

        Args:
            slot: It.
            alive: How many slots there are: with twice as many entries it is time to sweep.
        """
        heappush(self._dates, (slot.expires, next(self._numbers), slot))
        if len(self._dates) > 2 * alive:
            self._dates = [entry for entry in self._dates if _counts(entry)]
            heapify(self._dates)

    @property
    def next(self) -> float | None:
        """The first date."""
        while self._dates and not _counts(self._dates[0]):
            heappop(self._dates)
        return self._dates[0][0] if self._dates else None

    def due(self, now: float) -> Iterator[Slot[Conn]]:
        """Take out the slots whose date has come."""
        while (date := self.next) is not None and date <= now:
            yield heappop(self._dates)[2]


def _counts(entry: tuple[float, int, Slot[Conn]]) -> bool:
    date, _, slot = entry
    return slot.state is not GONE and slot.expires == date
