"""Connections that redis-py borrows: it may dial them again while it has them, and may forget to give them back.

A user of redis-py never sees a connection. redis-py takes one for a command, a pipeline or a subscription, retries on
that same one by dialling again, and gives it back; or does not, if it is cancelled at the wrong moment (up to 4.6, a
pipeline in the middle of its ``UNWATCH``), or if a subscription is dropped without being closed. So a slot of the pool
has a `Berth`, which owns its connection while that is idle, and knows it only weakly while it is lent: what everybody
has forgotten is collected, and its slot is free again.
"""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from functools import cache
from traceback import clear_frames
from typing import Any, Final, cast

from redis.exceptions import ConnectionError as RedisConnectionError, RedisError

from asyncio_connection_pool import ConnectionStrategy
from asyncio_connection_pool.contrib._redis_session import NOTED, Session

GIVEN_BACK: Final = "this connection was given back to its pool, which has closed it: take another"
Lease = AbstractAsyncContextManager["Berth", None]

_unnoted: set[str] = set()
"""Names of commands that `Session` has nothing to note of, as callers spell them."""
MOST_UNNOTED: Final = 1000

LEFT: Final = asyncio.CancelledError("the connection is not as it was")
"""What a lease is told if its connection is not to be used again."""


class Link(Session):
    """A connection that is lent. Once it was dialled anew, or altered, it is not lent again."""

    berth: Berth | None = None
    lease: Lease | None = None
    _dials = 0

    async def open(self) -> None:
        """Dial and greet the server, as often as `retry` says."""
        retry = self.retry
        await super().open()
        self._sealed, self.retry, self._dials = False, retry, 0

    async def _connect(self) -> None:
        self._dials += 1
        if not self._sealed:
            await super()._connect()
        if self._sealed:  # by now, it may be: a listener dials while its subscription is being closed
            self.abort()
            raise RedisConnectionError(GIVEN_BACK)
        self._start_account()
        self._let_listeners_know(self)
        if self.berth is not None:
            self.berth.writer = self._writer

    async def disconnect(self, *args: Any, **options: Any) -> None:
        """Close the connection, and be ready to be forgotten."""
        try:
            await super().disconnect(*args, **options)
        finally:
            self._let_listeners_know(None)

    def _let_listeners_know(self, connection: Link | None) -> None:
        """Break a cycle that redis-py 8 builds: what is in one, and forgotten, is not collected at once."""
        for name in ("_maint_notifications_pool_handler", "_maint_notifications_connection_handler"):
            listener = getattr(self, name, None)
            if listener is not None:
                listener.connection = connection

    async def retire(self) -> None:
        """Close the connection for good."""
        self._sealed = True
        with suppress(RedisError, OSError):
            await self.disconnect()

    def drop(self) -> None:
        """Close the socket for good, at once."""
        self._sealed = True
        self.abort()

    def spoil(self) -> None:
        """Have the connection closed when it is given back."""
        self._altered = True

    @property
    def unread(self) -> bool:
        """Whether something has come that nobody asked for. What RESP3 pushes is no reply, so nobody mistakes it."""
        heap = getattr(self._reader, "_buffer", b"")
        return bool(heap) and not (heap.startswith(b">") and str(getattr(self, "protocol", 2)) == "3")

    def is_as_it_was(self) -> bool:
        """Say whether the connection may be lent again."""
        reader: Any = self._reader
        left = self._unanswered or self._altered or self._transaction or self._dials
        return not (left or reader is None or (reader._buffer and self.unread))

    # What each command passes through: as `Session` has it, with no detour.

    _pack: Callable[..., list[bytes]]
    _read: Callable[..., Coroutine[Any, Any, Any]]

    def pack_command(self, *args: Any) -> list[bytes]:
        """Take note of a command on its way to the server."""
        name = args[0]
        if name.__class__ is str and name in _unnoted:
            self._unanswered += 1
            return self._pack(*args)
        if name.__class__ is str and name.upper().split()[0] not in NOTED and len(_unnoted) < MOST_UNNOTED:
            _unnoted.add(name)
        return super().pack_command(*args)

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        """Send commands; up to Python 3.11 only, see `link_class`."""
        try:
            await super().send_packed_command(*args, **options)
        except BaseException as error:
            clear_frames(error.__traceback__)  # the task is in one of them
            raise

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Take note of a reply."""
        plain = self._heard and not self._blocks
        try:
            return await (self._read if plain else super().read_response)(*args, **options)
        except BaseException as error:
            clear_frames(error.__traceback__)  # redis-py has the error in one of them, or a timeout that has the task
            raise
        finally:
            if plain:
                self._unanswered -= 1

    def mark_for_reconnect(self) -> None:
        """Take note that redis-py wants another one in place of this (7.0 and later)."""
        self.spoil()
        cast("Any", super()).mark_for_reconnect()

    def set_re_auth_token(self, token: Any) -> None:
        """Take note that redis-py has other credentials now (5.3 and later)."""
        self.spoil()
        cast("Any", super()).set_re_auth_token(token)

    def __del__(self) -> None:
        """Free the slot of a connection that was forgotten while it was lent."""
        if self.lease is not None and self.berth is not None:
            self.berth.reclaim(self)
        die = getattr(super(), "__del__", None)
        if die is not None:
            die()


class Berth:
    """What a slot has in it: a connection, or the place where it was."""

    __slots__ = ("connection", "loop", "pid", "reclaiming", "weakly", "writer")

    reclaiming: asyncio.Task[None]

    def __init__(self, connection: Link) -> None:
        self.connection: Any = connection  # None while it is lent
        self.weakly = weakref.ref(connection)
        self.writer = connection._writer  # collected with the connection, it would complain of not being closed
        self.loop = asyncio.get_running_loop()
        self.pid = os.getpid()
        connection.berth = self

    def lend(self, lease: Lease) -> Link:
        """Let go of the connection until it is given back."""
        link: Link = self.connection
        self.connection = None
        link.lease = lease
        return link

    def reclaim(self, link: Link) -> None:
        """Take over from a connection that is being collected, in whatever thread."""
        if self.pid != os.getpid():
            return
        with suppress(RuntimeError):  # the event loop is closed, and with it the pool
            self.loop.call_soon_threadsafe(self._reclaim, link.lease, link._transport)

    def _reclaim(self, lease: Any, transport: Any) -> None:
        transport.abort()
        self.reclaiming = self.loop.create_task(lease.__aexit__(type(LEFT), LEFT, None))


class Lending(ConnectionStrategy[Berth]):
    """Opens and closes connections that a pool of redis-py makes."""

    def __init__(self, make: Callable[[], Link]) -> None:
        self._make = make
        self._berths: dict[Berth, None] = {}

    def connections(self, *, idle: bool) -> Iterator[Link]:
        """Give those that are idle, or those that are lent."""
        for berth in list(self._berths):
            link = berth.weakly()
            if link is not None and idle is (berth.connection is not None) and berth.pid == os.getpid():
                yield link

    async def create_connection(self) -> Berth:
        """Dial and greet the server."""
        link = self._make()
        await link.open()
        berth = Berth(link)
        self._berths[berth] = None
        return berth

    def connection_is_closed(self, conn: Berth) -> bool:
        """Say whether either side has closed the connection."""
        link: Any = conn.connection
        return link._reader is None or link._reader._eof or link._transport.is_closing()

    async def close_connection(self, conn: Berth) -> None:
        """Close the connection."""
        self._berths.pop(conn, None)
        link = conn.weakly()
        if link is not None:
            await link.retire()

    def abort_connection(self, conn: Berth) -> None:
        """Close the socket, whatever is under way on it."""
        self._berths.pop(conn, None)
        link = conn.weakly()
        if link is not None:
            link.drop()


@cache
def link_class(driver_class: Any) -> Callable[..., Link]:
    """Put `Link` in front of one of redis-py's connection classes: TCP, TLS or unix socket, or a user's own."""
    direct = {"_pack": driver_class.pack_command, "_read": driver_class.read_response}
    if sys.version_info >= (3, 12):  # `wait_for` swallows no cancellation any more
        direct["send_packed_command"] = driver_class.send_packed_command
    return type(f"Lent{driver_class.__name__}", (Link, driver_class), direct)
