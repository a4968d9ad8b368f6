"""Closing connections, in tasks of the pool."""

from __future__ import annotations

import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asyncio_connection_pool._strategy import overrides
from asyncio_connection_pool._tasks import cancelled_by_others, failure

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._slot import Slot
    from asyncio_connection_pool._strategy import ConnectionStrategy
    from asyncio_connection_pool._tasks import PoolTasks

Conn = TypeVar("Conn")
log = logging.getLogger("asyncio_connection_pool")


class Close(Generic[Conn]):
    """One connection that is being closed."""

    __slots__ = ("begun", "conn", "over", "retried", "slot", "task", "then", "timer", "watcher")

    task: asyncio.Task[None]

    def __init__(self, conn: Conn, slot: Slot[Conn] | None, then: Callable[[], None] | None) -> None:
        """Begin, with the slot that is free afterwards, if it is not free already."""
        self.conn = conn
        self.slot = slot
        self.then = then
        self.begun = False
        """Whether `close_connection` was called: a task that is cancelled before its first step calls nothing."""
        self.over = False
        """Whether its end, or its having no end, is settled."""
        self.retried = False
        self.timer: asyncio.TimerHandle | None = None
        self.watcher: asyncio.Future[None] | None = None


class Closing(Generic[Conn]):
    """Runs `close_connection`, and `abort_connection` where that takes too long."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger[Conn],
        tasks: PoolTasks,
        strategy: ConnectionStrategy[Conn],
        timeout: float | None,
    ) -> None:
        """Begin with nothing to close; `timeout` bounds each close, in seconds."""
        self._loop = loop
        self._ledger = ledger
        self._tasks = tasks
        self._strategy = strategy
        self._timeout = timeout
        self.aborts = overrides(strategy, "abort_connection")
        self._pending: dict[Close[Conn], None] = {}
        self.overdue = 0
        """Closes that nobody waits for any longer, and still run."""

    def begin(self, slot: Slot[Conn], then: Callable[[], None]) -> Close[Conn]:
        """Close the connection of a slot that is reserved for that.

        Args:
            slot: Free when the close is over, however that ends.
            then: What to do after.
        """
        try:
            return self._start(Close(slot.conn, slot, then))
        except BaseException:
            self._ledger.free(slot)
            raise

    def drop(self, conn: Conn) -> None:
        """Close a connection that no longer counts, and hide what that raises (C7)."""
        self._start(Close(conn, None, None))

    def _start(self, close: Close[Conn]) -> Close[Conn]:
        self._run(close)
        if self._timeout is not None:
            close.timer = self._loop.call_later(self._timeout, self.give_up, close)
        self._pending[close] = None
        return close

    def _run(self, close: Close[Conn]) -> None:
        """Run a close in a task, anew if somebody else has cancelled that (C10)."""
        settle = partial(self._done, close)
        close.task = self._tasks.start(self._close(close), settle, to="close")

    async def _close(self, close: Close[Conn]) -> None:
        close.begun = True
        closing: Any = self._strategy.close_connection(close.conn)
        if inspect.isawaitable(closing):
            await closing

    async def wait(self, close: Close[Conn]) -> None:
        """Wait for a close, and raise what it raises (C8).

        A caller that is cancelled here leaves the close to itself.
        """
        watcher = close.watcher = self._loop.create_future()
        try:
            await watcher
        except BaseException as exc:
            if watcher.done() and not watcher.cancelled() and watcher.exception() not in (None, exc):
                self._log("close_connection failed", watcher.exception())
            raise

    def _done(self, close: Close[Conn], task: asyncio.Task[None]) -> None:
        by_others = cancelled_by_others(task)
        if by_others and not (self.aborts or close.retried):
            close.retried = True
            self._run(close)
            return
        del self._pending[close]
        error = failure(task)
        if close.over:
            self.overdue -= 1
            return
        if by_others:
            self.abort(close.conn)
            error = None
        self._finish(close, error)

    def give_up(self, close: Close[Conn]) -> None:
        """Wait no longer for a close: abort it where the strategy can."""
        self.overdue += 1
        if self.aborts:
            self.abort(close.conn)
            close.task.cancel()
        self._finish(close, None)
        self._tasks.look()

    def hurry(self, slot: Slot[Conn]) -> None:
        """Wait no longer for the close of a slot."""
        for close in [close for close in self._pending if close.slot is slot and not close.over]:
            if close.timer is not None:
                close.timer.cancel()
            self.give_up(close)

    def end(self) -> None:
        """Leave no close behind that had its chance, since the pool ends (C13)."""
        for close in list(self._pending):
            if not close.over:
                self.give_up(close)
            if close.begun:
                close.retried = True
                close.task.cancel()

    def abort(self, conn: Conn) -> None:
        """Close a connection without awaiting, where the strategy can."""
        if not self.aborts:
            return
        try:
            self._strategy.abort_connection(conn)
        except Exception:
            self._log("abort_connection failed")

    def _finish(self, close: Close[Conn], error: BaseException | None) -> None:
        close.over = True
        if close.timer is not None:
            close.timer.cancel()
        if close.slot is not None:
            self._ledger.free(close.slot)
        self._report(close, error)
        if close.then is not None:
            close.then()

    def _report(self, close: Close[Conn], error: BaseException | None) -> None:
        watcher = close.watcher
        if watcher is not None and not watcher.done():
            if error is None:
                watcher.set_result(None)
            else:
                watcher.set_exception(error)
        elif error is not None and close.slot is not None:
            self._log("close_connection failed", error)

    def _log(self, what: str, error: BaseException | bool | None = True) -> None:
        log.warning("pool %r: %s", self._ledger.name, what, exc_info=error)
