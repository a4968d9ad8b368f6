"""A strategy for libraries that block, with a thread for each connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from asyncio_connection_pool._function_strategy import function, methods
from asyncio_connection_pool._options import seconds
from asyncio_connection_pool._strategy import ConnectionStrategy
from asyncio_connection_pool.threads import ThreadConnection

Raw = TypeVar("Raw")
log = logging.getLogger("asyncio_connection_pool")


class ThreadStrategy(ConnectionStrategy[ThreadConnection[Raw]]):
    """Does everything in the connection's own thread; see `ConnectionStrategy.from_blocking_functions`."""

    def __init__(
        self,
        create: Callable[[], Raw],
        close: Callable[[Raw], object],
        is_closed: Callable[[Raw], object] | None,
        is_reusable: Callable[[Raw, BaseException | None], object] | None,
        interrupt: Callable[[Raw], object] | None,
        patience: float,
        *,
        is_fatal: Callable[[BaseException], object] | None,
        **work: Callable[[Raw], object] | None,
    ) -> None:
        """Check the arguments; `work` is done in the thread."""
        self._create = function("create", create, 0, plain=True)
        self._close = function("close", close, 1, plain=True)
        self._is_closed = None if is_closed is None else function("is_closed", is_closed, 1, plain=True)
        self._is_reusable = None if is_reusable is None else function("is_reusable", is_reusable, 2, plain=True)
        self._interrupt = None if interrupt is None else function("interrupt", interrupt, 1, plain=True)
        self._patience = seconds("patience", patience)
        vars(self).update(methods(is_fatal=is_fatal))
        for name, blocking in work.items():
            if blocking is not None:
                vars(self)[f"{name}_connection"] = _in_thread(function(name, blocking, 1, plain=True))

    async def create_connection(self) -> ThreadConnection[Raw]:
        """Start a thread, and open a connection in it."""
        conn = ThreadConnection(self._create, self._close, self._interrupt)
        try:
            await conn.open()
        except asyncio.CancelledError:
            await self._see_off(conn)
            raise
        except BaseException:
            conn.abort()
            raise
        return conn

    async def _see_off(self, conn: ThreadConnection[Raw]) -> None:
        """Wait for what comes of a connection that nobody wants any more: the server may see it (C1)."""
        try:
            await conn.close(self._patience)
        except Exception:
            log.warning("a connection whose opening was cancelled could not be closed", exc_info=True)

    def connection_is_closed(self, conn: ThreadConnection[Raw]) -> Any:
        """Say whether it was closed, or `is_closed` says so."""
        return conn.closed or (self._is_closed is not None and self._is_closed(conn.raw))

    def connection_is_reusable(self, conn: ThreadConnection[Raw], exc: BaseException | None) -> Any:
        """Refuse a connection in which a call still runs."""
        if conn.busy:
            return False
        if self._is_reusable is not None:
            return self._is_reusable(conn.raw, exc)
        return super().connection_is_reusable(conn, exc)

    async def close_connection(self, conn: ThreadConnection[Raw]) -> None:
        """Close the connection when its running call has ended, and wait for that."""
        await conn.close(self._patience)

    def abort_connection(self, conn: ThreadConnection[Raw]) -> None:
        """Leave the closing to the thread."""
        conn.abort()


def _in_thread(blocking: Callable[[Raw], object]) -> Callable[[ThreadConnection[Raw]], Any]:
    """Make a method of a function that blocks."""
    return lambda conn: conn.call(blocking)
