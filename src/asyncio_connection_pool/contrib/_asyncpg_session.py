"""A connection of asyncpg that is reset more thoroughly, and cancelled and aborted more insistently."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from asyncio_connection_pool.contrib import _newborn

asyncpg: Any = import_module("asyncpg")  # which has no types

if TYPE_CHECKING:
    from collections.abc import Generator

    class _Driver:
        """What is used here of `asyncpg.Connection`."""

        _protocol: Any
        _transport: asyncio.Transport

        def __init__(self, *args: Any, **options: Any) -> None: ...
        def get_reset_query(self) -> str: ...
        def _get_reset_query(self) -> str: ...
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
    _last_query = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _newborn.announce(self)

    def get_reset_query(self) -> str:
        """Return what asyncpg sends to reset a connection, and more."""
        return _OWN_IDENTITY + super().get_reset_query() + self._last_query

    def _get_reset_query(self) -> str:
        """Do the same for asyncpg 0.29."""
        return _OWN_IDENTITY + super()._get_reset_query() + self._last_query

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


@contextmanager
def insisting(conn: Session) -> Generator[list[bool]]:
    """Repeat the cancellation of a query: PostgreSQL ignores one that overtakes the query that it is meant for.

    Yields:
        What has something in it if there was need to.
    """
    loop = asyncio.get_running_loop()
    repeated: list[bool] = []
    timer: asyncio.TimerHandle

    def again() -> None:
        nonlocal timer
        repeated.extend([True] * conn.cancel_again())
        timer = loop.call_later(_INSISTS_EVERY, again)

    timer = loop.call_later(_INSISTS_EVERY, again)
    try:
        yield repeated
    finally:
        timer.cancel()


@cache
def with_session(connection_class: type, drop_temp_tables: bool) -> type:
    """Return a connection class of asyncpg with `Session` in front.

    Raises:
        TypeError: It is none.
    """
    if not issubclass(connection_class, asyncpg.Connection):
        raise TypeError(f"connection_class must be a subclass of asyncpg.Connection, not {connection_class!r}")
    last_query = "\nDISCARD TEMP;" if drop_temp_tables else ""
    names = {"__slots__": (), "_last_query": last_query}
    return type(connection_class)(f"Pooled{connection_class.__name__}", (Session, connection_class), names)
