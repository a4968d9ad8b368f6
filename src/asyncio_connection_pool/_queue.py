"""The callers that wait, in the order of their coming."""

from __future__ import annotations

from collections import deque
from itertools import islice
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

    __slots__ = ("context", "future", "queued", "since")

    timer: Any = None
    """What ends its wait, for the shell to cancel."""
    task: Any = None
    """Its task, where somebody asks for that."""

    def __init__(self, future: Promise, context: Context, since: float) -> None:
        """Begin as a caller that is in no queue yet."""
        self.future = future
        self.context = context
        self.since = since
        self.queued = False

    @property
    def live(self) -> bool:
        """Whether it still waits; false from the moment it is cancelled."""
        return self.queued and not self.future.done()


class WatchedWaiter(Waiter):
    """A caller with a timeout, or whose task somebody asks for; the others are spared the room."""

    __slots__ = ("task", "timer")

    def __init__(self, future: Promise, context: Context, since: float) -> None:
        """Begin with neither."""
        super().__init__(future, context, since)
        self.timer = self.task = None


class WaitQueue:
    """A queue that its middle can leave: O(1) amortised, whatever its length.

    Who leaves is marked, skipped when its turn comes, and swept out when those that
    left outnumber those that wait. Between the moment that a caller is cancelled and
    its next step only its future knows of it, so `length` counts it still.
    """

    __slots__ = ("_covered", "_entries", "_left", "length", "since")

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._entries: deque[Waiter] = deque()
        self._covered = 0
        """So many at the head of the queue need nothing opened: something was opened for them, or they left."""
        self._left = 0
        """Entries whose callers left."""
        self.length = 0
        self.since = 0.0
        """When the first caller came to the queue that is now."""

    def push(self, waiter: Waiter) -> None:
        """Queue a caller behind all others."""
        waiter.queued = True
        self._entries.append(waiter)
        self.length += 1

    def pop(self) -> Waiter | None:
        """Take the live caller that has waited longest."""
        entries = self._entries
        while entries:
            waiter = entries.popleft()
            if self._covered:
                self._covered -= 1
            if not waiter.queued:
                self._left -= 1
                continue
            waiter.queued = False
            self.length -= 1
            if not waiter.future.done():
                if self._left:
                    self._sweep()
                return waiter
        return None

    def first_uncovered(self) -> Waiter | None:
        """Find the live caller on whose behalf to open the next connection.

        Returns:
            The first for whom none was opened yet, else the first of all: what was
            opened for that one has failed, or has gone to another.
        """
        entries = self._entries
        while self._covered < len(entries):
            waiter = entries[self._covered]
            if waiter.live:
                return waiter
            self._covered += 1
        return next((waiter for waiter in entries if waiter.live), None)

    def cover(self) -> Waiter | None:
        """Choose that caller, and remember that one is opened for it."""
        waiter = self.first_uncovered()
        if self._covered < len(self._entries):
            self._covered += 1
        return waiter

    def remove(self, waiter: Waiter) -> bool:
        """Strike a caller off; false if it was not in the queue any more."""
        if not waiter.queued:
            return False
        waiter.queued = False
        self.length -= 1
        self._left += 1
        self._sweep()
        return True

    def _sweep(self) -> None:
        """Forget those that left, if they are many."""
        if self._left <= self.length + SWEEP_AT:
            return
        self._covered = sum(waiter.queued for waiter in islice(self._entries, self._covered))
        self._entries = deque([waiter for waiter in self._entries if waiter.queued])
        self._left = 0

    def clear(self) -> None:
        """Strike everybody off."""
        for waiter in self._entries:
            waiter.queued = False
        self._entries.clear()
        self.length = self._covered = self._left = 0
