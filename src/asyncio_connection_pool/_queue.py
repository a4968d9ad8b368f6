"""The callers that wait, in the order of their coming."""

from __future__ import annotations

from collections import deque
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

    __slots__ = ("_entries", "_uncovered", "length", "since")

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._entries: deque[Waiter] = deque()
        self._uncovered: deque[Waiter] = deque()
        """The tail of the queue: those on whose behalf nothing was opened yet."""
        self.length = 0
        self.since = 0.0
        """When the first caller came to the queue that is now."""

    def push(self, waiter: Waiter) -> None:
        """Queue a caller behind all others."""
        waiter.queued = True
        self._entries.append(waiter)
        self._uncovered.append(waiter)
        self.length += 1

    def pop(self) -> Waiter | None:
        """Take the live caller that has waited longest."""
        entries, uncovered = self._entries, self._uncovered
        while entries:
            waiter = entries.popleft()
            if uncovered and uncovered[0] is waiter:
                uncovered.popleft()
            if waiter.queued:
                waiter.queued = False
                self.length -= 1
                if not waiter.future.done():
                    if len(entries) - SWEEP_AT > 2 * self.length:
                        self._sweep()
                    return waiter
        return None

    def first_uncovered(self) -> Waiter | None:
        """Find the live caller on whose behalf to open the next connection.

        Returns:
            The first for whom none was opened yet, else the first of all: what was
            opened for that one has failed, or has gone to another.
        """
        while self._uncovered:
            if self._uncovered[0].live:
                return self._uncovered[0]
            self._uncovered.popleft()
        return next((waiter for waiter in self._entries if waiter.live), None)

    def cover(self) -> Waiter | None:
        """Choose that caller, and remember that one is opened for it."""
        waiter = self.first_uncovered()
        if self._uncovered:
            self._uncovered.popleft()
        return waiter

    def remove(self, waiter: Waiter) -> bool:
        """Strike a caller off; false if it was not in the queue any more."""
        if not waiter.queued:
            return False
        waiter.queued = False
        self.length -= 1
        if len(self._entries) > 2 * self.length + SWEEP_AT:
            self._sweep()
        return True

    def _sweep(self) -> None:
        self._entries = deque([waiter for waiter in self._entries if waiter.queued])
        self._uncovered = deque([waiter for waiter in self._uncovered if waiter.queued])

    def clear(self) -> None:
        """Strike everybody off."""
        for waiter in self._entries:
            waiter.queued = False
        self._entries.clear()
        self._uncovered.clear()
        self.length = 0
