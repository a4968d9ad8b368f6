"""For those who write a strategy, or test code that uses a pool.

`VirtualTimeLoop` runs hours of timeouts in no time, and turns a lost wake-up into an error. `FakeStrategy` opens
connections to nowhere, and fails, dawdles or hangs as it is told to.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from asyncio_connection_pool import ConnectionStrategy

__all__ = (
    "NEVER",
    "Behaviour",
    "Deadlock",
    "FakeConnection",
    "FakeStrategy",
    "FullFakeStrategy",
    "VirtualTimeLoop",
    "run",
)

T = TypeVar("T")


class Deadlock(AssertionError):
    """Every task waits, and no timer is armed: this would hang for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, says how far off it is."""

    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Deadlock("every task waits, and no timer is armed")
        self.jump(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing else is to do.

    Raises:
        Deadlock: From whatever runs the loop, when nothing will ever happen again.
    """

    def __init__(self) -> None:
        """Begin at second 0."""
        self._now = 0.0
        selector = _JumpingSelector()
        selector.jump = self.advance
        super().__init__(selector)

    def time(self) -> float:
        """Give the virtual time, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._now += seconds


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine under virtual time, as `asyncio.run` does under real time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop, debug=debug) as runner:
        return runner.run(main)


NEVER = "never"
"""The behaviour of a call that never ends, unless it is cancelled."""

Behaviour = None | float | str | BaseException | Callable[[], Awaitable[object]]
"""What a call of a fake does: None, succeed at once; a number, succeed after so many seconds; an exception, raise it;
`NEVER`; or a function, await what it returns and then succeed."""


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
        self._scripts: dict[str, Iterator[Behaviour]] = {"create": iter(create), "close": iter(close)}
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
        behaviour = next(self._scripts[method], None)
        if isinstance(behaviour, BaseException):
            raise behaviour
        if behaviour == NEVER:
            await asyncio.get_running_loop().create_future()
        elif isinstance(behaviour, (int, float)):
            await asyncio.sleep(behaviour)
        elif callable(behaviour):
            await behaviour()


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
        self._scripts |= {"reset": iter(reset), "validate": iter(validate)}
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
