"""Connections to nowhere, and strategies that fail, dawdle or hang as they are told to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from asyncio_connection_pool import ConnectionStrategy

NEVER = "never"
"""The behaviour of a call that never ends, unless it is cancelled."""

Behaviour = None | float | str | BaseException | Callable[[], Awaitable[object]]
"""What a call of a fake does: None, succeed at once; a number, succeed after so many seconds; an exception, raise it;
`NEVER`; or a function, such as a `Gate`, await what it returns and then succeed."""


class Gate:
    """A behaviour that ends when, and how, a test says so.

    ::

        gate = Gate()
        strategy = FakeStrategy(create=[gate])
        ...
        await gate.reached()  # somebody is opening a connection
        gate.admit()          # and now it is open
    """

    def __init__(self) -> None:
        """Begin closed, with nobody before it."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._watchers: set[asyncio.Future[None]] = set()
        self._open = False

    @property
    def waiting(self) -> int:
        """Calls that wait before the gate."""
        return sum(not call.done() for call in self._waiting)

    async def __call__(self) -> None:
        """Wait to be admitted."""
        if self._open:
            return
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(call)
        for watcher in self._watchers:
            _end(watcher, None)
        self._watchers.clear()
        await call

    async def reached(self, count: int = 1) -> None:
        """Wait until so many calls, one if no `count` is given, wait before the gate."""
        while self.waiting < count:
            arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.add(arrival)
            try:
                await arrival
            finally:
                self._watchers.discard(arrival)

    def admit(self, error: BaseException | None = None) -> None:
        """Let the call that has waited longest succeed, or fail with `error`.

        Raises:
            AssertionError: None waits.
        """
        while self._waiting:
            call = self._waiting.popleft()
            if not call.done():
                _end(call, error)
                return
        raise AssertionError("nothing waits before this gate: await its reached() first")

    def open(self) -> None:
        """Let all calls succeed, those that come later too."""
        self._open = True
        while self.waiting:
            self.admit()


def _end(call: asyncio.Future[None], error: BaseException | None) -> None:
    if call.done():
        return
    if error is None:
        call.set_result(None)
    else:
        call.set_exception(error)


def _script(method: str, behaviours: Any) -> Iterator[Behaviour]:
    if isinstance(behaviours, str) or not hasattr(behaviours, "__iter__"):
        raise TypeError(
            f"{method} must be a script, an iterable of behaviours such as [{behaviours!r}], not a single one"
        )
    return iter(behaviours)


class FakeConnection:
    """A connection to nowhere."""

    __slots__ = ("closed", "number")

    def __init__(self, number: int) -> None:
        """Begin open."""
        self.number: int = number
        self.closed: bool = False

    def __repr__(self) -> str:
        """Say which one it is."""
        return f"<FakeConnection {self.number}{' closed' if self.closed else ''}>"


class FakeStrategy(ConnectionStrategy[FakeConnection]):
    """A strategy with the three methods that are a must, which behave as scripted.

    Each call of a method does what is next in that method's script, and succeeds at once where the script has ended.

    Args:
        create: The script of `create_connection`.
        close: The script of `close_connection`. A connection whose close fails is closed all the same.
    """

    def __init__(self, *, create: Iterable[Behaviour] = (), close: Iterable[Behaviour] = ()) -> None:
        """Begin with nothing open."""
        self._scripts: dict[str, Iterator[Behaviour]] = {
            "create": _script("create", create),
            "close": _script("close", close),
        }
        self.connections: list[FakeConnection] = []
        """All that were ever opened, in order."""
        self.creating: int = 0
        """Calls of `create_connection` that run."""
        self.most: int = 0
        """The most connections that the server has seen at once, half-open ones included."""

    @property
    def open(self) -> list[FakeConnection]:
        """The connections that the server sees."""
        return [conn for conn in self.connections if not conn.closed]

    async def create_connection(self) -> FakeConnection:
        """Open a connection, as scripted."""
        self.creating += 1
        self.most = max(self.most, self.creating + len(self.open))
        try:
            await self._play("create")
        finally:
            self.creating -= 1
        conn = FakeConnection(len(self.connections))
        self.connections.append(conn)
        return conn

    def connection_is_closed(self, conn: FakeConnection) -> bool:
        """Say what is true."""
        return conn.closed

    async def close_connection(self, conn: FakeConnection) -> None:
        """Close a connection, as scripted; one that hangs stays open."""
        try:
            await self._play("close")
        except Exception:
            conn.closed = True
            raise
        conn.closed = True

    async def _play(self, method: str) -> None:
        behaviour: object = next(self._scripts[method], None)
        if isinstance(behaviour, BaseException):
            raise behaviour
        if behaviour == NEVER:
            await asyncio.get_running_loop().create_future()
        elif isinstance(behaviour, (int, float)):
            await asyncio.sleep(behaviour)
        elif callable(behaviour) and not isinstance(behaviour, type):
            await behaviour()
        elif behaviour is not None:
            raise TypeError(
                "a behaviour must be None, a number of seconds, an exception, NEVER or a function to await, "
                f"not {behaviour!r}"
            )


class FullFakeStrategy(FakeStrategy):
    """A fake with the optional methods too.

    Args:
        create: The script of `create_connection`.
        close: The script of `close_connection`.
        reset: The script of `reset_connection`.
        validate: The script of `validate_connection`.
    """

    def __init__(
        self,
        *,
        create: Iterable[Behaviour] = (),
        close: Iterable[Behaviour] = (),
        reset: Iterable[Behaviour] = (),
        validate: Iterable[Behaviour] = (),
    ) -> None:
        """Begin with nothing open, and nothing dirty."""
        super().__init__(create=create, close=close)
        self._scripts |= {"reset": _script("reset", reset), "validate": _script("validate", validate)}
        self.dirty: list[FakeConnection] = []
        """Connections that are not reusable."""
        self.aborted: list[FakeConnection] = []
        """Connections that were aborted."""

    def connection_is_reusable(self, conn: FakeConnection, exc: BaseException | None) -> bool:
        """Ask the default, and look whether the connection is dirty."""
        return conn not in self.dirty and super().connection_is_reusable(conn, exc)

    async def reset_connection(self, conn: FakeConnection) -> None:
        """Reset a connection, as scripted."""
        await self._play("reset")

    async def validate_connection(self, conn: FakeConnection) -> None:
        """Validate a connection, as scripted."""
        await self._play("validate")

    def abort_connection(self, conn: FakeConnection) -> None:
        """Close a connection at once."""
        self.aborted.append(conn)
        conn.closed = True
