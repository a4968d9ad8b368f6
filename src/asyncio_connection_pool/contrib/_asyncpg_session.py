"""A connection of asyncpg that is reset more thoroughly, and cancelled and aborted more insistently."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from asyncio_connection_pool.contrib import _newborn

asyncpg: Any = import_module("asyncpg")  # which has no types

if TYPE_CHECKING:
    from collections.abc import Callable

    class _Driver:
        """What is used here of `asyncpg.Connection`."""

        _protocol: Any
        _transport: asyncio.Transport
        _listeners: Any
        _log_listeners: Any
        _top_xact: Any

        def __init__(self, *args: Any, **options: Any) -> None: ...
        def is_in_transaction(self) -> bool: ...
        async def execute(self, query: str) -> str: ...
        async def reset(self) -> None: ...
        def terminate(self) -> None: ...
        def _cancel_current_command(self, waiter: asyncio.Future[None]) -> None: ...
else:
    _Driver = object

_OWN_IDENTITY = "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE;\n"
"""What RESET ALL leaves; first, since the rest may need the rights."""
_INSISTS_EVERY = 0.25
"""Seconds between requests to cancel one query."""


class Session(_Driver):
    """A connection with a longer reset query, put in front of one of asyncpg's connection classes."""

    __slots__ = ()
    _driver_query: Callable[[], str]
    _last_query: str
    _has_own_reset: bool

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _newborn.announce(self)

    def get_reset_query(self) -> str:
        """Return what asyncpg sends to reset a connection, and more."""
        return _OWN_IDENTITY + self._driver_query() + self._last_query

    _get_reset_query = get_reset_query  # its name up to 0.29

    async def bring_back(self) -> None:
        """Reset the session; only where there is nothing else to it, send the query straight away."""
        more = self._listeners or self._log_listeners or self._top_xact is not None or self.is_in_transaction()
        if more or self._has_own_reset:
            await self.reset()
        else:
            await self.execute(self.get_reset_query())
        if self.is_in_transaction():  # by a BEGIN that was cancelled, and came to its end only now
            await self.reset()

    def cancel_again(self) -> bool:
        """Send another request to cancel the query that asyncpg has cancelled, if that has not ended yet."""
        if self._protocol is None or not self._protocol._is_cancelling():
            return False
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.add_done_callback(lambda sent: sent.cancelled() or sent.exception())
        self._cancel_current_command(sent)
        return True

    def abort(self) -> None:
        """Close the socket at once, whatever is under way, a close that waits included."""
        with suppress(RuntimeError):  # the event loop is closed
            self.terminate()
        _newborn.abort(self._transport)


class Insisting:
    """A block in which the cancellation of a query is repeated, and which is cancelled if it takes too long.

    PostgreSQL ignores a request to cancel that overtakes the query that it is meant for. This is `asyncio.timeout`
    and more with a single timer, since there is one for each reset.

    Args:
        conn: The connection whose query may be in cancellation.
        patience: Seconds that the block may take.

    Raises:
        TimeoutError: It took longer.
    """

    __slots__ = ("_conn", "_deadline", "_loop", "_task", "_timer", "expired", "repeated")

    def __init__(self, conn: Session, patience: float) -> None:
        self._conn = conn
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._deadline = self._loop.time() + patience
        self.expired = False
        self.repeated = False

    def __enter__(self) -> Self:
        self._watch()
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self.expired and self._task is not None and not self._task.uncancel() and exc_type is CancelledError:
            raise TimeoutError

    def _watch(self) -> None:
        self._timer = self._loop.call_at(min(self._deadline, self._loop.time() + _INSISTS_EVERY), self._look)

    def _look(self) -> None:
        if self._loop.time() < self._deadline:
            self.repeated |= self._conn.cancel_again()
            self._watch()
        elif self._task is not None:
            self.expired = self._task.cancel()


@cache
def with_session(connection_class: Any, drop_temp_tables: bool) -> Any:
    """Return a connection class of asyncpg with `Session` in front.

    Raises:
        TypeError: It is none.
    """
    if not issubclass(connection_class, asyncpg.Connection):
        raise TypeError(f"connection_class must be a subclass of asyncpg.Connection, not {connection_class!r}")
    attributes = {
        "__slots__": (),
        "_driver_query": getattr(connection_class, "get_reset_query", None) or connection_class._get_reset_query,
        "_last_query": "\nDISCARD TEMP;" if drop_temp_tables else "",
        "_has_own_reset": connection_class.reset is not asyncpg.Connection.reset,
    }
    return type(connection_class)(f"Pooled{connection_class.__name__}", (Session, connection_class), attributes)
