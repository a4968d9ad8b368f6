"""Connections that are async context managers, each entered and left in a task of its own.

Libraries built on cancel scopes and task groups, such as anyio's, demand that a context is left in the task that
entered it. A pool opens a connection in one task and closes it in another; so here each connection lives in a third,
its *home*, which enters the context, waits, and leaves it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from asyncio_connection_pool._function_strategy import function, methods
from asyncio_connection_pool._strategy import ConnectionStrategy

Conn = TypeVar("Conn")


class Home(Generic[Conn]):
    """The task in which one connection lives."""

    conn: Conn

    def __init__(self, factory: Callable[[], AbstractAsyncContextManager[Conn]]) -> None:
        """Start to enter the context."""
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Future[None] = self._loop.create_future()
        self._departure: asyncio.Future[None] = self._loop.create_future()
        self.aborted = False
        self.released = False
        """Whether somebody waits for the context to be left."""
        self.left = False
        """Whether the context is being left, or was; by itself too."""
        name = getattr(factory, "__qualname__", type(factory).__qualname__)
        self._task = self._loop.create_task(self._live(factory), name=f"connection: {name}")
        self._task.add_done_callback(self._settle)

    async def _live(self, factory: Callable[[], AbstractAsyncContextManager[Conn]]) -> None:
        async with enterable(factory()) as self.conn:
            self._arrived.set_result(None)
            try:
                await self._departure
            finally:
                self.left = True

    def _settle(self, task: asyncio.Task[None]) -> None:
        """Note the end; a task that is cancelled before its first step does not."""
        self.left = True
        if self.aborted and not task.cancelled():
            task.exception()  # nobody else will ask

    @property
    def over(self) -> bool:
        """Whether nothing more will happen here."""
        return self._task.done() or self._loop.is_closed()

    async def entered(self) -> bool:
        """Wait until the connection is there.

        Returns:
            False if somebody outside has cancelled the task, so that another one has to try.

        Raises:
            BaseException: What the context raised.
        """
        try:
            await asyncio.wait([self._task, self._arrived], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.abort()
            await self._ended()
            raise
        if self._arrived.done():
            return True
        if not self._cancelled_by_others():
            self._task.result()
        return False

    async def leave(self) -> None:
        """Leave the context, and wait for that.

        Raises:
            BaseException: What the context raised, now or when it ended by itself.
        """
        self.released = True
        if not self._departure.done():
            self._departure.set_result(None)
        await self._ended()
        if not self._cancelled_by_others():
            self._task.result()

    def abort(self) -> None:
        """Cancel the task, once, without waiting for its end."""
        if self.aborted or self.over:
            return
        self.aborted = self.left = True
        self._task.cancel()
        if not self._departure.done():
            self._departure.set_result(None)  # for a context that is entered though it was cancelled

    async def _ended(self) -> None:
        """Wait for the end of the task; a cancellation is passed on to it, and raised when it has ended (C10)."""
        cancelled: asyncio.CancelledError | None = None
        while not self._task.done():
            try:
                await asyncio.wait([self._task])
            except asyncio.CancelledError as error:
                if cancelled is None:
                    self.abort()
                else:
                    self._task.cancel()
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _cancelled_by_others(self) -> bool:
        return self._task.cancelled() and self._task.cancelling() > 0

    def when_over(self, then: Callable[[], None]) -> None:
        """Do something at the end of the task, at once if that is past."""
        if self.over:
            then()
        else:
            self._task.add_done_callback(lambda _: then())


def enterable(context: object) -> Any:
    """Check what a factory has made.

    Raises:
        TypeError: It is no async context manager.
    """
    if hasattr(type(context), "__aenter__"):
        return context
    if inspect.iscoroutine(context):
        context.close()
        raise TypeError(
            f"factory must return an asynchronous context manager, not the coroutine {context!r}: "
            "take from_functions(create=...) for what is awaited"
        )
    raise TypeError(f"factory must return an asynchronous context manager, not {context!r}")


class ContextStrategy(ConnectionStrategy[Conn]):
    """Enters a context for each connection, and leaves it to close that.

    See `ConnectionStrategy.from_context_manager`.
    """

    def __init__(
        self,
        factory: Callable[[], AbstractAsyncContextManager[Conn]],
        is_closed: Callable[[Conn], Any] | None,
        abort: Callable[[Conn], Any] | None,
        **optional: Callable[..., Any] | None,
    ) -> None:
        """Check the functions."""
        self._factory = function("factory", factory, 0)
        self._is_closed = None if is_closed is None else function("is_closed", is_closed, 1, plain=True)
        self._abort = None if abort is None else function("abort", abort, 1, plain=True)
        self._homes: dict[int, list[Home[Conn]]] = {}
        """By the identity of the connection; several where one object is many connections."""
        vars(self).update(methods(**optional))

    async def create_connection(self) -> Conn:
        """Enter a context, in a task of its own."""
        home = Home[Conn](self._factory)
        while not await home.entered():
            home = Home(self._factory)
        self._homes.setdefault(id(home.conn), []).append(home)
        return home.conn

    def connection_is_closed(self, conn: Conn) -> Any:
        """Say whether the context is being left, by itself too, or `is_closed` says so."""
        homes = [home for home in self._homes.get(id(conn), ()) if not home.released]
        if not homes or any(home.left for home in homes):
            return True
        return self._is_closed is not None and self._is_closed(conn)

    async def close_connection(self, conn: Conn) -> None:
        """Leave the context, in the task that entered it."""
        home = self._home_of(conn, lambda home: (not home.released, home.left))
        if home is None:
            return
        try:
            await home.leave()
        finally:
            self._forget(home)

    def abort_connection(self, conn: Conn) -> None:
        """Cancel the task that is in the context."""
        home = self._home_of(conn, lambda home: (not home.aborted, home.over, home.released))
        if home is not None:
            home.abort()
            home.when_over(lambda: self._forget(home))
        if self._abort is not None:
            self._abort(conn)

    def _home_of(self, conn: Conn, preference: Callable[[Home[Conn]], tuple[bool, ...]]) -> Home[Conn] | None:
        """Find where a connection lives; where one object is many connections, the newest of the most preferred."""
        return max(reversed(self._homes.get(id(conn), ())), key=preference, default=None)

    def _forget(self, home: Home[Conn]) -> None:
        homes = self._homes.get(id(home.conn), [])
        if home in homes:
            homes.remove(home)
        if not homes:
            self._homes.pop(id(home.conn), None)
