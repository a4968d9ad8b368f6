"""Pool connections of aioredis 1.3.1, the last release of aioredis with a protocol of its own.

aioredis matches replies to commands by their order, so a cancelled command gives nobody a wrong reply: the next
one waits until the abandoned one is answered. That may be for ever, and an abandoned ``BLPOP`` takes an item with
it. So a connection is used again only if every command on it is answered, and if its session is as it was at first;
and who cancels a command that blocks goes on when the server has let go of it.
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from asyncio_connection_pool import ConnectionStrategy
from asyncio_connection_pool.contrib import _newborn, _transport

try:
    aioredis: Any = import_module("aioredis")  # which has no types
except (ImportError, TypeError) as _error:  # 2.x raises TypeError on Python 3.11 and later
    raise ImportError(f"{__name__} needs aioredis 1.3.1: pip install asyncio-connection-pool[aioredis]") from _error

if TYPE_CHECKING:
    from collections.abc import Sized

    class _Driver:
        """What is used here of `aioredis.RedisConnection`."""

        db: int
        closed: bool
        in_transaction: bool
        in_pubsub: int
        _waiters: Sized
        _pipeline_buffer: bytearray | None
        _reader_task: asyncio.Task[None]

        def __init__(self, reader: Any, writer: asyncio.StreamWriter, **options: Any) -> None: ...
        def execute(self, command: Any, *args: Any, **options: Any) -> Any: ...
        def close(self) -> None: ...
else:
    _Driver = object

__all__ = ("RedisConnectionStrategy",)

_ALTERS_SESSION = frozenset(
    "ASKING AUTH CLIENT HELLO MONITOR PSYNC QUIT READONLY READWRITE REPLCONF RESET SCRIPT SSUBSCRIBE SYNC".split()
)
_HARMLESS = frozenset(
    [("CLIENT", word) for word in "GETNAME GETREDIR HELP ID INFO KILL LIST PAUSE TRACKINGINFO UNBLOCK UNPAUSE".split()]
    + [("SCRIPT", word) for word in "EXISTS FLUSH HELP KILL LOAD SHOW".split()]
)
_BLOCKS = frozenset("BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN XREAD XREADGROUP".split())
_LETS_GO_WITHIN = 0.5
"""Seconds that a server has to say that it has let go of a command."""


class RedisConnectionStrategy(ConnectionStrategy[Any]):
    """Open, look at and close instances of `aioredis.Redis`, each of which is one connection.

    Args:
        args: Forwarded to `aioredis.create_redis`.
        kwargs: Forwarded to `aioredis.create_redis`.

    Raises:
        TypeError: `aioredis.create_redis` takes no such arguments, or ``connection_cls`` is no
            `aioredis.RedisConnection`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        inspect.signature(aioredis.create_redis).bind(*args, **kwargs)
        connection_cls = _with_session(kwargs.get("connection_cls") or aioredis.RedisConnection)
        self._args = args
        self._kwargs = {**kwargs, "connection_cls": connection_cls}

    async def create_connection(self) -> Any:
        """Open a connection, authenticate and select the database where that is asked for, and get an answer."""
        with _newborn.whole_or_nothing():  # aioredis leaves open what is cancelled while it greets the server
            client: Any = await aioredis.create_redis(*self._args, **self._kwargs)
            try:
                await client.ping()  # for aioredis says nothing to the server unless there is a password or a database
            except aioredis.ReplyError as error:
                if not str(error).startswith("NOPERM"):
                    raise
            _session(client).begin()
        return client

    def connection_is_closed(self, conn: Any) -> bool:
        """Say whether either side has closed the connection."""
        return bool(conn.closed)

    def connection_is_reusable(self, conn: Any, exc: BaseException | None) -> bool:
        """Say whether every command is answered, and the session as it was when it was opened.

        What the block raised doesn't matter: only what is under way on the connection does.
        """
        del exc
        return _session(conn).is_fresh()

    async def validate_connection(self, conn: Any) -> None:
        """Send a ``PING``."""
        await conn.ping()

    async def close_connection(self, conn: Any) -> None:
        """Close the connection, and wait until it is."""
        _session(conn).abort()  # every command was answered, or is given up: there is nothing left to send
        await conn.wait_closed()

    def abort_connection(self, conn: Any) -> None:
        """Close the socket, whatever is under way on it."""
        _session(conn).abort()


class _Session(_Driver):
    """A connection that knows whether it is still as it was when it was opened.

    It is put in front of a connection class of aioredis, through which every command passes, those of pipelines
    included.
    """

    def __init__(self, reader: Any, writer: asyncio.StreamWriter, **options: Any) -> None:
        super().__init__(reader, writer, **options)
        self._transport = writer.transport
        _transport.read_in_pieces(self._transport)
        self._reader_task.add_done_callback(lambda _: self.abort())  # whatever the reader stumbled over
        self.begin()
        _newborn.announce(self)

    def begin(self) -> None:
        """Take the session as it is now for fresh."""
        self._first_db = self.db
        self._altered = self._watches = self._transaction = False

    def is_fresh(self) -> bool:
        """Say whether nothing is under way, and nothing is left of what was done."""
        under_way = self._waiters or self.in_transaction or self.in_pubsub
        left_behind = self._watches or self._altered or self.db != self._first_db
        return not (self.closed or under_way or left_behind)

    def abort(self) -> None:
        """Close the socket at once, and fail what waits for a reply."""
        _transport.abort(self._transport)
        with suppress(RuntimeError):  # the event loop is closed
            self.close()

    def leave(self) -> asyncio.TimerHandle:
        """Say goodbye to the server, which closes the connection when it has let go of what blocks.

        Returns:
            What aborts the connection if the server doesn't.
        """
        self._altered = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:  # TLS, which says goodbye when it closes
            self._transport.close()
        return asyncio.get_running_loop().call_later(_LETS_GO_WITHIN, self.abort)

    def execute(self, command: Any, *args: Any, **options: Any) -> Any:
        """Take note of a command on its way to the server."""
        name = _upper(command)
        self._note(name, args)
        try:
            reply = super().execute(command, *args, **options)
        except BaseException:
            self._altered |= self._pipeline_buffer is not None  # half of it may be among what a pipeline sends
            raise
        return _BlockedReply(self, reply) if name in _BLOCKS and self._pipeline_buffer is None else reply

    def _note(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "WATCH":
            self._watches = True
        elif name == "MULTI":
            self._transaction = True
        elif name in {"DISCARD", "EXEC"} and self._transaction and not args:  # otherwise the server refuses it
            self._transaction = self._watches = False
        elif name == "UNWATCH" and not args:
            self._watches = False
        elif name in _ALTERS_SESSION:
            self._altered |= (name, _upper(args[0]) if args else "") not in _HARMLESS


class _BlockedReply(asyncio.Future[Any]):
    """The reply to a command that may block; when it is cancelled, so is the command, and first.

    No task does this: one that is cancelled before its first step would do nothing.
    """

    def __init__(self, session: _Session, reply: asyncio.Future[Any]) -> None:
        super().__init__(loop=reply.get_loop())
        self._session = session
        self._timer: asyncio.TimerHandle | None = None
        self._reason: Any = None
        reply.add_done_callback(self._settle)

    def cancel(self, msg: Any = None) -> bool:
        """Begin to cancel; a second call waits no longer for the server."""
        if self.done():
            return False
        self._reason = msg
        if self._timer is None and not self._session.closed:
            self._timer = self._session.leave()
        else:
            self._session.abort()
        return True

    def _settle(self, reply: asyncio.Future[Any]) -> None:
        """Pass the reply on, or, now that there is an end to it, the cancellation."""
        error = reply.exception()
        if self._timer is not None:
            self._timer.cancel()
            super().cancel(self._reason)
        elif error is not None:
            self.set_exception(error)
        else:
            self.set_result(reply.result())


@cache
def _with_session(connection_cls: type) -> type:
    """Return a connection class of aioredis with `_Session` in front.

    Raises:
        TypeError: It is none.
    """
    if not issubclass(connection_cls, aioredis.RedisConnection):
        raise TypeError(f"connection_cls must be a subclass of aioredis.RedisConnection, not {connection_cls!r}")
    return type(f"Pooled{connection_cls.__name__}", (_Session, connection_cls), {})


def _session(client: Any) -> _Session:
    return cast("_Session", client.connection)


def _upper(word: Any) -> str:
    text = str(word, "latin-1") if isinstance(word, bytes | bytearray) else str(word)
    return text.strip().upper()
