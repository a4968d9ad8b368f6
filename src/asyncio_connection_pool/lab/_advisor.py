"""Looks for the smallest pool that would have been large enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncio_connection_pool.lab._replay import Outcome, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asyncio_connection_pool.lab._recording import Recording

ROWS = 7
"""Sizes that are tried where none are asked for."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What was tried, and what would do."""

    tried: Sequence[Outcome]
    """In the order in which a table has them."""
    smallest: Outcome | None
    """The smallest pool that keeps to the target."""
    bursting: Outcome | None
    """The one with the smallest `burst_limit` that does, and keeps fewer at rest."""


class Advisor:
    """Replays a recording through pools of many sizes, each size once.

    Args:
        recording: What to replay.
        target: Seconds that 99 % of the callers may wait at the most.
        tell: Called with each outcome as it comes.
        options: For each replay.
    """

    def __init__(
        self,
        recording: Recording,
        target: float,
        *,
        tell: Callable[[Outcome], object] = lambda _: None,
        **options: Any,
    ) -> None:
        """Begin with nothing tried."""
        self._recording = recording
        self._target = target
        self._tell = tell
        self._options = options
        self._tried: dict[tuple[int, int | None], Outcome] = {}

    def advise(self, max_sizes: Sequence[int] = (), burst_limits: Sequence[int] = ()) -> Advice:
        """Try these sizes, or a range that fits the recording, and look for the smallest that would do."""
        most = self._try(len(self._recording.callers)).open_most
        self._tried.clear()
        rest = min(max(1, math.ceil(self._recording.in_use)), most)
        sizes = max_sizes or _range(rest, most)
        for size in sizes:
            for burst in (None, *burst_limits):
                if burst is None or burst > size:
                    self._try(size, burst)
        smallest = self._search(rest, most)
        bursting = None if smallest is None else self._bursting(rest, smallest, most)
        return Advice(sorted(self._tried.values(), key=_place), smallest, bursting)

    def _bursting(self, rest: int, smallest: Outcome, most: int) -> Outcome | None:
        """Look for a pool that keeps only what is in use on average, and bursts."""
        if smallest.max_size <= rest:
            return None
        found = self._search(smallest.max_size, most, max_size=rest)
        return found if found and found.open_mean < smallest.open_mean else None

    def _search(self, least: int, most: int, max_size: int | None = None) -> Outcome | None:
        """Halve the range again and again; return what keeps to the target with the lowest limit."""
        found = None
        while least <= most:
            limit = (least + most) // 2
            outcome = self._try(limit) if max_size is None else self._try(max_size, limit)
            if outcome.wait_p99 <= self._target:
                found, most = outcome, limit - 1
            else:
                least = limit + 1
        return found

    def _try(self, max_size: int, burst_limit: int | None = None) -> Outcome:
        key = max_size, burst_limit
        if key not in self._tried:
            self._tried[key] = replay(self._recording, max_size=max_size, burst_limit=burst_limit, **self._options)
            self._tell(self._tried[key])
        return self._tried[key]


def _place(outcome: Outcome) -> tuple[bool, int, int]:
    return outcome.burst_limit is not None, outcome.max_size, outcome.burst_limit or 0


def _range(least: int, most: int) -> list[int]:
    """Return some sizes from the least to the most, each larger than the last by about the same factor."""
    steps: Iterable[float] = (step / (ROWS - 1) for step in range(ROWS))
    return sorted({round(least * (most / least) ** step) for step in steps})
