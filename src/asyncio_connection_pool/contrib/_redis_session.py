"""One connection of redis-py that is dialled once, and knows whether it is still as it was then.

redis-py's own client is a pool. Left alone it opens a second connection for a pipeline, dials again behind
one's back, and can't tell whether a raw ``MULTI`` or ``SELECT`` was left behind. Hence two pieces: `Session`,
a connection that keeps account of the commands and replies that pass through it, and `OneConnection`, which
stands where the pool of a client was.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError, RedisError

from asyncio_connection_pool.contrib import _transport

if TYPE_CHECKING:

    class _Driver:
        """What is used here of redis-py's connections; it is the same in every version from 4.5.5 on."""

        db: int | str
        retry: Retry
        is_connected: bool
        _reader: asyncio.StreamReader | None
        _writer: asyncio.StreamWriter | None

        def __init__(self, **options: Any) -> None: ...
        async def connect(self) -> None: ...
        async def _connect(self) -> None: ...
        async def disconnect(self, *args: Any, **options: Any) -> None: ...
        def pack_command(self, *args: Any) -> list[bytes]: ...
        async def send_command(self, *args: Any, **options: Any) -> None: ...
        async def send_packed_command(self, *args: Any, **options: Any) -> None: ...
        async def read_response(self, *args: Any, **options: Any) -> Any: ...
else:
    _Driver = object

OPENS_TRANSACTION = frozenset({"MULTI", "WATCH"})
ENDS_TRANSACTION = frozenset({"DISCARD", "EXEC", "UNWATCH"})
# These change what the server remembers of a connection. That is not undone: the connection is not used again.
ALTERS_SESSION = frozenset(
    {"ASKING", "AUTH", "HELLO", "MONITOR", "QUIT", "READONLY", "READWRITE", "RESET"}
    | {"PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE"}
    | {"PSYNC", "REPLCONF", "SYNC"}
    | {"CLIENT", "SCRIPT", "SELECT"}
)
# … unless one of these follows.
HARMLESS_CLIENT = frozenset(
    {"GETNAME", "GETREDIR", "HELP", "ID", "INFO", "KILL", "LIST", "PAUSE", "UNBLOCK", "UNPAUSE"}
)
HARMLESS_SCRIPT = frozenset({"EXISTS", "FLUSH", "HELP", "KILL", "LOAD", "SHOW"})
# These may wait at the server, and then take what is meant for somebody else.
BLOCKS = frozenset({"BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN", "XREADGROUP"})
NOTED = BLOCKS | OPENS_TRANSACTION | ENDS_TRANSACTION | ALTERS_SESSION

LETS_GO_WITHIN = 0.5
"""Seconds that a server has to say that it has let go of a command that blocks."""

LOST = (
    "the connection of this client is closed, and a pooled client is never reconnected: leave the block, and take"
    " another from the pool"
)
HELD = (
    "this client has one connection, and a pipeline, a subscription or a monitor of this very task holds it: finish"
    " that first, or take a second client from the pool"
)


class Session(_Driver):
    """A connection that is dialled once, and keeps account of what was done with it.

    It is put in front of one of redis-py's connection classes, through which every command and every reply
    passes, those of pipelines and subscriptions included.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._transport: asyncio.WriteTransport | None = None
        self._heard = False  # the server has answered something
        self._sealed = False  # it was dialled, and will not be dialled again
        self._start_account()

    async def open(self) -> None:
        """Dial and greet the server; leave nothing open if that fails or is cancelled."""
        try:
            await self.connect()
            if not self._heard:  # redis-py 4 may have sent nothing, and then the server may yet refuse
                await self.send_command("PING")
                await self.read_response()
        except BaseException:
            self.abort()
            raise
        self._sealed = True
        self.retry = Retry(NoBackoff(), 0)  # every retry of redis-py's dials again
        self._start_account()

    def is_alive(self) -> bool:
        """Say whether neither side has closed the connection, as far as that is known here."""
        reader, transport = self._reader, self._transport
        if not self.is_connected or reader is None or transport is None or transport.is_closing():
            return False
        return not getattr(reader, "_eof", False)  # at_eof() is false while something is unread

    def is_fresh(self) -> bool:
        """Say whether the connection is alive, and nothing is left of what was done with it."""
        unread = getattr(self._reader, "_buffer", b"")
        return self.is_alive() and not (self._altered or self._transaction or self._unanswered or unread)

    def abort(self) -> None:
        """Close the socket at once, even if its event loop is gone."""
        if self._transport is not None:
            _transport.abort(self._transport)
        self._reader = self._writer = None

    async def disconnect(self, *args: Any, **options: Any) -> None:
        """Close the connection. redis-py does so itself after any trouble, and when a command is cancelled."""
        try:
            if self._blocks and self.is_alive():
                await self._take_leave()
            await super().disconnect(*args, **options)
        finally:
            self.abort()  # else the socket would stay open until the server takes what is yet unsent

    async def _take_leave(self) -> None:
        """Wait until the server has let go of a command that blocks: given up, it must not eat an item any more."""
        reader, transport = cast("asyncio.StreamReader", self._reader), cast("asyncio.WriteTransport", self._transport)
        with suppress(OSError, RuntimeError):  # the connection is lost; somebody else is reading from it
            async with asyncio.timeout(LETS_GO_WITHIN):
                transport.write_eof() if transport.can_write_eof() else transport.close()
                while await reader.read(65536):
                    pass

    async def _connect(self) -> None:
        if self._sealed:
            raise RedisConnectionError(LOST)
        await super()._connect()
        self._transport = cast("asyncio.StreamWriter", self._writer).transport
        _transport.read_in_pieces(self._transport)

    def pack_command(self, *args: Any) -> list[bytes]:
        """Take note of a command on its way to the server."""
        packed = super().pack_command(*args)
        self._unanswered += 1
        name, *words = _text(args[0]).upper().split()  # a command of two words may come as one string
        if name in NOTED:
            self._note(name, [*words, *args[1:]])
        return packed

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        """Send commands; raise a cancellation that is swallowed on the way.

        redis-py sends within `asyncio.wait_for`, which up to Python 3.11 loses a cancellation that lands in the
        very step in which the sending ends.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        try:
            cancellations = task.cancelling()
            await super().send_packed_command(*args, **options)
            if task.cancelling() > cancellations:
                await self.disconnect(nowait=True)
                raise asyncio.CancelledError
        finally:
            del task  # an error that the task keeps has this frame

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Take note of a reply."""
        try:
            return await super().read_response(*args, **options)
        finally:
            self._heard = True
            self._unanswered -= 1
            if not self._unanswered:
                self._blocks = False

    def _start_account(self) -> None:
        self._unanswered = 0  # commands whose reply has not been read
        self._blocks = False  # one of them may be waiting at the server
        self._altered = False  # the server remembers something of this connection
        self._transaction: set[str] = set()

    def _note(self, name: str, arguments: list[Any]) -> None:
        if name in BLOCKS:
            self._blocks = True
        elif name in OPENS_TRANSACTION:
            self._transaction.add(name)
        elif name == "UNWATCH" and not arguments:
            self._transaction.discard("WATCH")
        elif name in ENDS_TRANSACTION and not arguments:  # with arguments the server refuses it
            self._transaction.clear()
        elif not self._is_harmless(name, _text(arguments[0]) if arguments else ""):
            self._altered = True

    def _is_harmless(self, name: str, argument: str) -> bool:
        if name == "SELECT":
            return argument == str(self.db)
        return argument.upper() in {"CLIENT": HARMLESS_CLIENT, "SCRIPT": HARMLESS_SCRIPT}.get(name, ())


class OneConnection:
    """Stands where the pool of a client was: one connection, whose users take turns, first come, first served.

    What else a client asks of its pool (options, encoders) is answered by the one that redis-py made.
    """

    def __init__(self, pool: Any) -> None:
        pool.connection_class = _session_class(pool.connection_class)
        self._pool = pool
        self.session: Session = pool.make_connection()
        self._turn = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def is_held(self) -> bool:
        """Say whether somebody has the turn: a command, or a pipeline or subscription that was not closed."""
        return self._turn.locked()

    async def get_connection(self, *_: Any, **__: Any) -> Session:
        """Wait for one's turn; what it is for, as redis-py up to 5.0 says, does not matter."""
        task = asyncio.current_task()
        if self._holder is task:
            raise RedisError(HELD)
        await self._turn.acquire()
        self._holder = task
        return self.session

    async def release(self, _: Session) -> None:
        """Pass the turn on."""
        self._holder = None
        self._turn.release()

    async def disconnect(self, *_: Any, **__: Any) -> None:
        """Close the connection for good."""
        await self.session.disconnect()

    aclose = disconnect


@cache
def _session_class(driver_class: type) -> type:
    """Put `Session` in front of one of redis-py's connection classes: TCP, TLS or unix socket."""
    return type(f"Pooled{driver_class.__name__}", (Session, driver_class), {})


def _text(argument: Any) -> str:
    """Read a part of a command as redis-py would send it."""
    if isinstance(argument, int | float):
        return repr(argument)
    return argument if isinstance(argument, str) else bytes(argument).decode("latin-1")
