"""A connection of asyncpg that is reset more thoroughly, and cancelled and aborted more insistently."""

from __future__ import annotations

import asyncio
import gc
from asyncio import CancelledError
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from asyncio_connection_pool.contrib import _newborn, _transport

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
        _transport.read_in_pieces(self._transport)

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

    def is_busy(self) -> bool:
        """Say whether an operation is under way, or a cancellation.

        The future of either is kept where only asyncpg's compiled code looks, and the garbage collector.
        """
        return any(asyncio.isfuture(held) and not held.done() for held in gc.get_referents(self._protocol))

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
        _transport.abort(self._transport)


class Watch:
    """Looks at resets and closes that go on for long, for as long as there are any.

    One timer serves them all: a pool under load has always some under way, and each of their own would cost more than
    all else that is done here.

    Args:
        patience: Seconds that each may take.
    """

    __slots__ = ("_loop", "_timer", "patience", "watched")

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.watched: dict[Insisting, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, insisting: Insisting, loop: asyncio.AbstractEventLoop) -> None:
        """Look at one more from now on."""
        if loop is not self._loop:
            self._loop, self._timer = loop, None
            self.watched.clear()
        self.watched[insisting] = None
        if self._timer is None:  # or else it rings in time: all are as patient
            self._timer = loop.call_at(insisting.next_look, self._look, loop)

    def end(self, insisting: Insisting) -> None:
        """Look at it no more."""
        self.watched.pop(insisting, None)
        if not self.watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for insisting in [insisting for insisting in self.watched if insisting.next_look <= now]:
            insisting.look(now)
        if self.watched:
            self._timer = loop.call_at(min(insisting.next_look for insisting in self.watched), self._look, loop)


class Insisting:
    """A block in which the cancellation of a query is repeated, and which is cancelled if it takes too long.

    PostgreSQL ignores a request to cancel that overtakes the query that it is meant for.

    Args:
        conn: The connection whose query may be in cancellation.
        watch: How long the block may take, and who looks at it.

    Raises:
        TimeoutError: It took longer.
    """

    __slots__ = ("_conn", "_deadline", "_task", "_watch", "expired", "next_look", "repeated")

    def __init__(self, conn: Session, watch: Watch) -> None:
        self._conn = conn
        self._watch = watch
        self.expired = False
        self.repeated = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._task: Any = asyncio.current_task(loop)  # resets and closes run in one
        now = loop.time()
        self._deadline = now + self._watch.patience
        self.next_look = min(self._deadline, now + _INSISTS_EVERY)
        self._watch.begin(self, loop)
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self._watch.end(self)
        if self.expired and not self._task.uncancel() and exc_type is CancelledError:
            raise TimeoutError

    def look(self, now: float) -> None:
        """Repeat the cancellation, if one is under way, or put an end to the block."""
        if now < self._deadline:
            self.repeated |= self._conn.cancel_again()
            self.next_look = min(self._deadline, now + _INSISTS_EVERY)
        else:
            self._watch.end(self)
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
