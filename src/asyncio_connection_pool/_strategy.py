"""What the pool has to know of a kind of connection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asyncio_connection_pool import _overriding

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from asyncio_connection_pool.threads import ThreadConnection

Conn = TypeVar("Conn")
T = TypeVar("T")


class ConnectionStrategy(ABC, Generic[Conn]):
    """How one kind of connection is opened, looked at and closed.

    Three methods are a must: `create_connection`, `connection_is_closed` and
    `close_connection`. The others are optional, and cost nothing where they are not
    overridden. A connection may be any object at all: the pool never hashes it,
    compares it or takes its truth value.

    Instead of writing a subclass one can be made `from_functions`, `from_context_manager`
    or, for a library that blocks, `from_blocking_functions`.

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

    # Made, not written. Who makes none pays no import.

    @staticmethod
    def from_functions(
        *,
        create: Callable[[], Awaitable[T]],
        is_closed: Callable[[T], object],
        close: Callable[[T], object],
        is_reusable: Callable[[T, BaseException | None], object] | None = None,
        is_fatal: Callable[[BaseException], object] | None = None,
        reset: Callable[[T], Awaitable[object]] | None = None,
        validate: Callable[[T], Awaitable[object]] | None = None,
        abort: Callable[[T], object] | None = None,
    ) -> ConnectionStrategy[T]:
        """Make a strategy of functions, each of which is one method.

        Args:
            create: `create_connection`: a coroutine function, without arguments.
            is_closed: `connection_is_closed`: a plain function of a connection.
            close: `close_connection`: a plain or a coroutine function of a connection.
            is_reusable: `connection_is_reusable`: a plain function of a connection and
                what its block raised, or None. It replaces the default, which it may
                ask: `ConnectionStrategy.connection_is_reusable`.
            is_fatal: `failure_is_fatal`: a plain function of an exception.
            reset: `reset_connection`: a coroutine function of a connection.
            validate: `validate_connection`: a coroutine function of a connection.
            abort: `abort_connection`: a plain function of a connection.

        Raises:
            TypeError: One is no function, can't be called with these arguments, or is a
                coroutine function where it has to be a plain one.
        """
        from asyncio_connection_pool._function_strategy import FunctionStrategy  # noqa: PLC0415

        return FunctionStrategy(
            create,
            is_closed,
            close,
            is_reusable=is_reusable,
            is_fatal=is_fatal,
            reset=reset,
            validate=validate,
            abort=abort,
        )

    @staticmethod
    def from_context_manager(
        factory: Callable[[], AbstractAsyncContextManager[T]],
        *,
        is_closed: Callable[[T], object] | None = None,
        is_reusable: Callable[[T, BaseException | None], object] | None = None,
        is_fatal: Callable[[BaseException], object] | None = None,
        reset: Callable[[T], Awaitable[object]] | None = None,
        validate: Callable[[T], Awaitable[object]] | None = None,
        abort: Callable[[T], object] | None = None,
    ) -> ConnectionStrategy[T]:
        """Make a strategy of what makes async context managers, one for each connection.

        Each is entered and left in one task of its own, as cancel scopes and task groups
        (anyio's, for one) demand. Closing a connection leaves its context, and raises what
        that raises. A connection whose context ends by itself is closed from then on.
        Whoever cancels the opening or the closing cancels what the context is doing, and
        waits for its end; aborting cancels, and does not wait.

        Args:
            factory: Called, without arguments, for each new connection, which is what
                entering the context gives.
            is_closed: As for `from_functions`, asked besides. None: nothing else is looked at.
            is_reusable: As for `from_functions`.
            is_fatal: As for `from_functions`.
            reset: As for `from_functions`.
            validate: As for `from_functions`.
            abort: A plain function of a connection, called besides when that is aborted;
                for what has to go even if its event loop is gone.

        Raises:
            TypeError: See `from_functions`.
        """
        from asyncio_connection_pool._context_strategy import ContextStrategy  # noqa: PLC0415

        return ContextStrategy(
            factory,
            is_closed,
            abort,
            is_reusable=is_reusable,
            is_fatal=is_fatal,
            reset=reset,
            validate=validate,
        )

    @staticmethod
    def from_blocking_functions(
        *,
        create: Callable[[], T],
        close: Callable[[T], object],
        is_closed: Callable[[T], object] | None = None,
        is_reusable: Callable[[T, BaseException | None], object] | None = None,
        is_fatal: Callable[[BaseException], object] | None = None,
        reset: Callable[[T], object] | None = None,
        validate: Callable[[T], object] | None = None,
        interrupt: Callable[[T], object] | None = None,
        patience: float = 30,
    ) -> ConnectionStrategy[ThreadConnection[T]]:
        """Make a strategy for a library that blocks, with one thread for each connection.

        What the pool hands out has a coroutine `call(function, *args)`, which calls
        `function(connection, *args)` in that thread. A call whose caller is cancelled runs
        on; a connection given back meanwhile is not used again (C9), but closed as soon as
        the call has ended, and its slot is taken until then. The threads don't keep the
        interpreter from its exit.

        Args:
            create: Opens a connection; called in the thread, as are `close`, `reset` and
                `validate`, which get the connection.
            close: Closes one.
            is_closed: A look at a connection, from the event loop's thread. None: one is
                closed when the pool has closed it.
            is_reusable: As for `from_functions`; asked in the event loop's thread, of a
                connection in which no call runs.
            is_fatal: As for `from_functions`.
            reset: Brings a connection back to its fresh state.
            validate: Proves it alive.
            interrupt: Breaks off the call that runs in a connection that is to be closed.
                Called from the event loop's thread, so it must not block.
            patience: Seconds that closing may take, a call that still runs included; then
                the thread is left to itself, the slot is free, and a `TimeoutError` says so.

        Raises:
            TypeError: See `from_functions`; none may be a coroutine function.
            ValueError: `patience` is negative, infinite or NaN.
        """
        from asyncio_connection_pool._thread_strategy import ThreadStrategy  # noqa: PLC0415

        return ThreadStrategy(
            create,
            close,
            is_closed,
            is_reusable,
            interrupt,
            patience,
            is_fatal=is_fatal,
            reset=reset,
            validate=validate,
        )


async def _make_connection(self: Any) -> Any:
    """Open a connection the way that strategies of releases 1.x do."""
    return await self.make_connection()


def overrides(strategy: ConnectionStrategy[Any], method: str) -> bool:
    """Say whether a strategy has an optional method of its own."""
    return _overriding.overrides(strategy, ConnectionStrategy, method)


def creator(strategy: Any) -> Callable[[], Any]:
    """Find the method that opens a connection, by its name of now or of 1.x."""
    create: Callable[[], Any] | None = getattr(strategy, "create_connection", None)
    return create or strategy.make_connection
