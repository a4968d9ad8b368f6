"""What the pool has to know of a kind of connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Conn = TypeVar("Conn")


class ConnectionStrategy(ABC, Generic[Conn]):
    """How one kind of connection is opened, looked at and closed.

    Three methods are a must: `create_connection`, `connection_is_closed` and
    `close_connection`. The others are optional, and cost nothing where they are not
    overridden. A connection may be any object at all: the pool never hashes it,
    compares it or takes its truth value.

    A subclass that defines `make_connection` in place of `create_connection` works
    as well: that was the method's name in releases 1.x.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let `make_connection` stand in for a missing `create_connection`."""
        super().__init_subclass__(**kwargs)
        lacks_create = cls.create_connection is ConnectionStrategy[Any].create_connection
        if lacks_create and hasattr(cls, "make_connection"):
            cls.create_connection = _make_connection  # type: ignore[method-assign]

    @abstractmethod
    async def create_connection(self) -> Conn:
        """Open a connection.

        It runs in a task of the pool, with the `contextvars` of the caller on whose
        behalf it was started. It may be cancelled (`connect_timeout`, `close()`), and
        then leaves nothing half-open behind.

        Returns:
            The new connection, which the pool will hand out and use again.

        Raises:
            BaseException: Whatever it likes: that is raised, as it is, from
                `get_connection()` of the caller that has waited longest.
        """

    @abstractmethod
    def connection_is_closed(self, conn: Conn) -> bool:
        """Say whether a connection can no longer be used; anything true means so.

        Asked before each hand-out, so it has to be cheap, and it does not await.
        A closed connection no longer counts: say so only of what the server can no
        longer see. For what is open but unfit there is `connection_is_reusable`.

        Raises:
            Exception: Means that the connection is closed; it is suppressed.
        """

    @abstractmethod
    async def close_connection(self, conn: Conn) -> None:
        """Close a connection. A plain function is accepted too.

        Raises:
            Exception: The connection counts as closed all the same. It is raised at
                the exit of the block whose connection was surplus, else logged.
        """

    def connection_is_reusable(self, conn: Conn, exc: BaseException | None) -> bool:
        """Say whether a connection that is given back may be handed out again.

        Asked at each return where it is overridden, else only when the block raised.
        It has to be cheap, and it does not await. The default trusts a connection
        after an ordinary `Exception`, but not after what breaks an operation off
        half-way, since the reply to it may still arrive.

        Args:
            conn: The connection.
            exc: What the block raised, or None.

        Returns:
            False for a connection that has to be closed; so does raising.
        """
        del conn
        broken_off = isinstance(exc, (TimeoutError, BaseExceptionGroup))
        return exc is None or (isinstance(exc, Exception) and not broken_off)

    def failure_is_fatal(self, exc: BaseException) -> bool:
        """Say whether a failure means that all connections opened before it are of no use.

        As a failover does, or a server that shuts down. Asked of what `create_connection` or a
        block raised. If so every open connection is retired, in use or not.
        """
        del exc
        return False

    async def reset_connection(self, conn: Conn) -> None:
        """Bring a used connection back to its fresh state, in a task of the pool.

        Raises:
            BaseException: It can't be done: the connection is closed.
        """

    async def validate_connection(self, conn: Conn) -> None:
        """Prove by a round trip that an idle connection is alive.

        Raises:
            BaseException: It is not: the connection is closed.
        """

    def abort_connection(self, conn: Conn) -> None:
        """Close a connection at once, without awaiting.

        Called when `close_connection` took longer than `close_timeout`, when
        `close(timeout)` runs out, and when the event loop is gone. Not overridden:
        `close_connection` is left to run, and its slot is free.
        """


async def _make_connection(self: Any) -> Any:
    """Open a connection the way that strategies of releases 1.x do."""
    return await self.make_connection()


def overrides(strategy: ConnectionStrategy[Any], method: str) -> bool:
    """Say whether a strategy has an optional method of its own."""
    own = getattr(strategy, method, None)
    if own is None:
        return False
    return getattr(own, "__func__", own) is not getattr(ConnectionStrategy, method)


def creator(strategy: Any) -> Callable[[], Any]:
    """Find the method that opens a connection, by its name of now or of 1.x."""
    create: Callable[[], Any] | None = getattr(strategy, "create_connection", None)
    return create or strategy.make_connection
