"""A cancellation at a moment that a test can name."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def cancel_at(work: Coroutine[Any, Any, T], point: int, *, late: bool = False) -> T:
    """Run a coroutine in this task, and cancel the task where the coroutine waits for the so-many-th time.

    Args:
        work: The coroutine.
        point: Counted from 1; a coroutine that waits fewer times is not cancelled.
        late: Cancel in the very tick in which it gets what it waits for, not at once.

    Raises:
        ValueError: `point` is below 1.
        BaseException: What the coroutine raises, a `CancelledError` as a rule.
    """
    if point < 1:
        raise ValueError(f"point must be at least 1, the first wait, not {point!r}")
    return await Waits(work, point, late=late)


class Waits(Generic[T]):
    """A coroutine that is stepped through, from one of its waits to the next."""

    def __init__(self, work: Coroutine[Any, Any, T], point: int = 0, *, late: bool = False) -> None:
        """Prepare a coroutine; nothing is cancelled where `point` is 0."""
        self._work = work
        self._point = point
        self._late = late
        self.count = 0
        """How often it has waited."""

    def __await__(self) -> Generator[Any, Any, T]:
        """Step through it."""
        future = None
        error: BaseException | None = None
        while True:
            try:
                future = self._work.send(None) if error is None else self._work.throw(error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            self.count += 1
            if self.count == self._point:
                self._cancel(future)
            error = None
            try:
                yield future
            except BaseException as raised:
                error = raised

    def _cancel(self, future: asyncio.Future[Any] | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._late and future is not None:
            future.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()
