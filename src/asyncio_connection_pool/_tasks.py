"""The tasks that a pool owns."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

T = TypeVar("T")


class PoolTasks:
    """Tasks whose end is always accounted for, and waited for by `close()`.

    A task that is cancelled before its first step runs none of its code, so what has
    to happen at its end happens in a done callback (C10).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        """Begin with no task."""
        self._loop = loop
        self._name = name
        self._makes_plain = getattr(type(loop), "create_task", None) is asyncio.BaseEventLoop.create_task
        """Whether the loop makes tasks as asyncio does, so that one can be made without it."""
        self._running: dict[asyncio.Task[Any], None] = {}
        self._watchers: dict[asyncio.Future[bool], None] = {}

    def start(
        self,
        work: Coroutine[Any, Any, T],
        settle: Callable[[asyncio.Task[T]], None],
        *,
        to: str,
        context: Context | None = None,
        eager: bool = False,
    ) -> asyncio.Task[T]:
        """Run `work` in a task, and `settle` once that is done, whatever happens.

        Args:
            work: What to do.
            settle: Called with the task, from the event loop.
            to: What for, in the task's name.
            context: Of the task; None: a copy of the running one.
            eager: Whether to take the first step now, where that can be had: a step of the loop less.
        """
        try:
            name = f"{self._name}: {to}"
            if sys.version_info >= (3, 12) and eager and self._makes_plain and self._loop.get_task_factory() is None:
                task = asyncio.Task(work, loop=self._loop, name=name, eager_start=True)
            else:
                task = self._loop.create_task(work, name=name, context=context)
        except BaseException:
            work.close()
            raise
        self._running[task] = None
        task.add_done_callback(partial(self._done, settle))
        return task

    def _done(self, settle: Callable[[asyncio.Task[T]], None], task: asyncio.Task[T]) -> None:
        try:
            settle(task)
        finally:
            del self._running[task]
            self.look()

    @property
    def running(self) -> int:
        """How many have not ended."""
        return len(self._running)

    def look(self) -> None:
        """Have those look who wait `until` something holds."""
        for watcher in self._watchers:
            _wake(watcher, True)

    async def until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `condition` holds, which is looked at when a task has ended, and by `look()`.

        Args:
            condition: A cheap look.
            timeout: Seconds after which to give up, or None.

        Returns:
            Whether it holds.
        """
        deadline = None if timeout is None else self._loop.time() + timeout
        while not condition():
            if not await self._change(deadline):
                return condition()
        return True

    async def _change(self, deadline: float | None) -> bool:
        """Wait for the end of a task; false if `deadline` comes first."""
        watcher: asyncio.Future[bool] = self._loop.create_future()
        timer = None
        if deadline is not None:
            timer = self._loop.call_at(deadline, _wake, watcher, False)
        self._watchers[watcher] = None
        try:
            return await watcher
        finally:
            del self._watchers[watcher]
            if timer is not None:
                timer.cancel()


def _wake(watcher: asyncio.Future[bool], changed: bool) -> None:
    if not watcher.done():
        watcher.set_result(changed)


def purpose(task: asyncio.Task[Any]) -> str:
    """Say what a task of the pool is for, which ends its name."""
    return task.get_name().rpartition(": ")[2]


def failure(task: asyncio.Task[Any]) -> BaseException | None:
    """Say what a task that is done has raised, a `CancelledError` included."""
    try:
        return task.exception()
    except asyncio.CancelledError as error:
        return error


def cancelled_by_others(task: asyncio.Task[Any]) -> bool:
    """Tell a task that was cancelled from one that raised `CancelledError` itself."""
    return task.cancelled() and task.cancelling() > 0
