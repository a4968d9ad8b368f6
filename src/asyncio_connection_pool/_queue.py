"""The callers that wait, in the order of their coming."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextvars import Context

SWEEP_AT: Final = 32
"""A queue with fewer dead waiters than this is not worth sweeping."""


class Promise(Protocol):
    """As much of a future as it takes to serve a waiter."""

    def done(self) -> bool:
        """Say whether it is served, refused or cancelled."""
        ...

    def cancelled(self) -> bool:
        """Say whether its caller was cancelled."""
        ...

    def result(self) -> Any:
        """Give the slot that it was served with."""
        ...

    def exception(self) -> BaseException | None:
        """Give what it was refused with."""
        ...

    def set_result(self, result: Any, /) -> None:
        """Serve it with a slot."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """Refuse it."""
        ...

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait until it is served or refused."""
        ...


class Waiter:
    """A caller in the queue."""

    __slots__ = ("context", "future", "queued", "since", "timer")

    def __init__(self, future: Promise, context: Context, since: float) -> None:
        """Begin as a caller that is in no queue yet."""
        self.future = future
        self.context = context
        self.since = since
        self.queued = False
        self.timer: Any = None
        """What ends its wait, for the shell to cancel."""

    @property
    def live(self) -> bool:
        """Whether it still waits; false from the moment it is cancelled."""
        return self.queued and not self.future.done()


class WaitQueue:
    """A queue that its middle can leave: O(1) amortised, whatever its length.

    Who leaves is marked, skipped when its turn comes, and swept out when those that
    left outnumber those that wait. Between the moment that a caller is cancelled and
    its next step only its future knows of it, so `length` counts it still.
    """

    __slots__ = ("_entries", "length")

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._entries: deque[Waiter] = deque()
        self.length = 0

    def push(self, waiter: Waiter) -> None:
        """Queue a caller behind all others."""
        waiter.queued = True
        self._entries.append(waiter)
        self.length += 1

    def pop(self) -> Waiter | None:
        """Take the live caller that has waited longest."""
        while self._entries:
            waiter = self._entries.popleft()
            if waiter.queued:
                waiter.queued = False
                self.length -= 1
                if not waiter.future.done():
                    self._sweep()
                    return waiter
        return None

    def remove(self, waiter: Waiter) -> bool:
        """Strike a caller off; false if it was not in the queue any more."""
        if not waiter.queued:
            return False
        waiter.queued = False
        self.length -= 1
        self._sweep()
        return True

    def _sweep(self) -> None:
        if len(self._entries) > 2 * self.length + SWEEP_AT:
            self._entries = deque(entry for entry in self._entries if entry.queued)

    def live_after(self, count: int) -> Waiter | None:
        """Find the first live caller behind `count` others, which is near the end as a rule.

        Those that left are taken for standing in front. Where that is wrong, it may be one of
        the `count`, but it finds one if more than that many are live.
        """
        entries = self._entries
        first = max(len(entries) - (self.length - count), 0)
        behind = (entries[index] for index in range(first, len(entries)))
        return next((waiter for waiter in chain(behind, entries) if waiter.live), None)

    def clear(self) -> None:
        """Strike everybody off."""
        for waiter in self._entries:
            waiter.queued = False
        self._entries.clear()
        self.length = 0
