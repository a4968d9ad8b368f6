"""Pool connections of asyncpg (0.29 or later): a strategy, and a face that looks like asyncpg's own pool.

asyncpg waits for the end of a cancelled query before it sends the next one, so a connection survives a cancellation,
and costs less to bring back than a new one. Every connection is reset between two users, in a task of the pool's.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from asyncio_connection_pool.contrib._newborn import whole_or_nothing

try:
    from asyncio_connection_pool.contrib._asyncpg_budget import PostgresBurstBudget
    from asyncio_connection_pool.contrib._asyncpg_session import Insisting, Watch, asyncpg, with_session
except ImportError as _error:
    raise ImportError(
        f"{__name__} needs asyncpg 0.29 or later: pip install asyncio-connection-pool[asyncpg]"
    ) from _error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from asyncio_connection_pool import PoolStats

    _Lease = AbstractAsyncContextManager[Any, bool | None]

__all__ = ("PostgresBurstBudget", "PostgresConnectionStrategy", "PostgresPool", "create_pool")

_POOL_OPTIONS = inspect.signature(ConnectionPool).parameters.keys() - {"strategy"}


class PostgresConnectionStrategy(ConnectionStrategy[Any]):
    """Open, reset and close instances of `asyncpg.Connection`.

    The reset is that of asyncpg's own pool (it rolls back, unlocks, closes cursors, ends ``LISTEN`` and undoes
    ``SET``), and undoes ``SET ROLE`` and ``SET SESSION AUTHORIZATION`` too, in the same round trip. What it leaves is
    left by asyncpg's pool as well: type codecs, statements made by ``PREPARE``, and, unless told otherwise, temporary
    tables.

    Args:
        dsn: Forwarded to `asyncpg.connect`.
        reset: Whether to reset a connection that is given back. If not, one that is left in a transaction, or in
            the middle of an operation, is closed, and whatever else was done to it is there for the next user.
        drop_temp_tables: Whether the reset drops temporary tables.
        init: Awaited with each new connection, to set type codecs and the like.
        patience: Seconds that a reset or a close may take; then the connection is terminated.
        connect_kwargs: Forwarded to `asyncpg.connect`.

    Raises:
        TypeError: `asyncpg.connect` takes no such arguments, or ``connection_class`` is no `asyncpg.Connection`.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        reset: bool = True,
        drop_temp_tables: bool = False,
        init: Callable[[Any], Awaitable[object]] | None = None,
        patience: float = 10,
        **connect_kwargs: Any,
    ) -> None:
        inspect.signature(asyncpg.connect).bind(dsn, **connect_kwargs)
        connection_class = connect_kwargs.get("connection_class") or asyncpg.Connection
        self._dsn = dsn
        self._connect_kwargs = {**connect_kwargs, "connection_class": with_session(connection_class, drop_temp_tables)}
        self._init = init
        self._watch = Watch(patience)
        self._resets = reset
        if not reset and type(self).reset_connection is PostgresConnectionStrategy.reset_connection:
            # The pool sees that there is nothing to do.
            self.reset_connection = super().reset_connection  # type: ignore[method-assign]

    async def create_connection(self) -> Any:
        """Open a connection, and initialise it."""
        with whole_or_nothing():
            conn: Any = await asyncpg.connect(self._dsn, **self._connect_kwargs)
            if self._init is not None:
                await self._init(conn)
        return conn

    def connection_is_closed(self, conn: Any) -> bool:
        """Say whether either side has closed the connection."""
        return bool(conn.is_closed())

    def connection_is_reusable(self, conn: Any, exc: BaseException | None) -> bool:
        """Say whether the reset can be left to see to it, or, without one, whether nothing is under way."""
        if self._resets:
            return not conn.is_closed()
        broken_off = conn.is_closed() or conn.is_in_transaction() or conn.is_busy()
        return super().connection_is_reusable(conn, exc) and not broken_off

    async def reset_connection(self, conn: Any) -> None:
        """Roll back what is open, and bring the session back to what it was at first, or terminate it."""
        try:
            with Insisting(conn, self._watch) as insisting:
                await conn.bring_back()
            if insisting.repeated:
                raise asyncpg.InterfaceError("a cancellation was sent twice: the second may yet hit the next query")
        except BaseException:
            conn.abort()
            raise

    async def validate_connection(self, conn: Any) -> None:
        """Send the shortest of queries."""
        await conn.execute("SELECT 1", timeout=self._watch.patience)

    async def close_connection(self, conn: Any) -> None:
        """Cancel what is under way, and wait until the server has closed the connection, or terminate it."""
        try:
            with suppress(TimeoutError), Insisting(conn, self._watch):
                await conn.close()
        finally:
            conn.abort()

    def abort_connection(self, conn: Any) -> None:
        """Terminate the connection. A statement that runs ends when the server notices that nobody is there."""
        conn.abort()


class PostgresPool:
    """What users of `asyncpg.create_pool` call, over a `ConnectionPool`: awaited, entered or simply used.

    Args:
        dsn: Forwarded to `PostgresConnectionStrategy`.
        max_size: Connections to keep.
        burst_limit: Connections that may be open under load; None: `max_size` is the limit.
        options: The other options of `ConnectionPool`, ``name`` and the timeouts and so on, and those of
            `PostgresConnectionStrategy`, so everything that `asyncpg.connect` takes.
    """

    def __init__(
        self, dsn: str | None = None, *, max_size: int = 10, burst_limit: int | None = None, **options: Any
    ) -> None:
        pool_options = {name: options.pop(name) for name in _POOL_OPTIONS & options.keys()}
        strategy = PostgresConnectionStrategy(dsn, **options)
        self.pool: ConnectionPool[Any] = ConnectionPool(
            strategy=strategy, max_size=max_size, burst_limit=burst_limit, **pool_options
        )
        """The pool below, for everything that asyncpg has no name for."""
        self._leases: dict[int, _Lease] = {}

    async def fetch(self, query: str, *args: Any, timeout: float | None = None, record_class: Any = None) -> list[Any]:
        """Run a query on a pooled connection, and return its rows."""
        async with self.pool.get_connection() as conn:
            rows: list[Any] = await conn.fetch(query, *args, timeout=timeout, record_class=record_class)
            return rows

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None, record_class: Any = None) -> Any:
        """Run a query on a pooled connection, and return its first row, or None."""
        async with self.pool.get_connection() as conn:
            return await conn.fetchrow(query, *args, timeout=timeout, record_class=record_class)

    async def fetchval(self, query: str, *args: Any, column: int = 0, timeout: float | None = None) -> Any:
        """Run a query on a pooled connection, and return one value of its first row, or None."""
        async with self.pool.get_connection() as conn:
            return await conn.fetchval(query, *args, column=column, timeout=timeout)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run one or more statements on a pooled connection, and return the status of the last."""
        async with self.pool.get_connection() as conn:
            status: str = await conn.execute(query, *args, timeout=timeout)
            return status

    async def executemany(self, command: str, args: Iterable[Any], *, timeout: float | None = None) -> None:
        """Run a statement on a pooled connection once for each tuple of arguments."""
        async with self.pool.get_connection() as conn:
            await conn.executemany(command, args, timeout=timeout)

    def acquire(self, *, timeout: float | None = None) -> _Acquisition:
        """Take a connection: ``async with pool.acquire() as conn``, or ``await`` it, and `release` it later.

        Args:
            timeout: Seconds; None: the ``acquire_timeout`` of the pool.
        """
        lease = self.pool.get_connection() if timeout is None else self.pool.get_connection(timeout=timeout)
        return _Acquisition(lease, self._leases)

    async def release(self, connection: Any) -> None:
        """Give back a connection that was taken by ``await pool.acquire()``.

        Raises:
            asyncpg.InterfaceError: It was not, or is given back already.
        """
        lease = self._leases.pop(id(connection), None)
        if lease is None:
            raise asyncpg.InterfaceError(f"this connection is not one of `await pool.acquire()`: {connection!r}")
        await lease.__aexit__(None, None, None)

    def stats(self) -> PoolStats:
        """Take a snapshot of the counts and totals."""
        return self.pool.stats()

    async def close(self, timeout: float | None = None) -> None:
        """Close the pool and its connections, when all of them are given back, or after so many seconds."""
        await self.pool.close(timeout)

    def __await__(self) -> Generator[Any, None, Self]:
        """Open the pool."""
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        """Open the pool."""
        await self.pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the pool, and wait for all connections to be given back."""
        await self.close()


class _Acquisition:
    """What `PostgresPool.acquire` returns: to be entered, or to be awaited."""

    __slots__ = ("_lease", "_leases")

    def __init__(self, lease: _Lease, leases: dict[int, _Lease]) -> None:
        self._lease = lease
        self._leases = leases

    async def __aenter__(self) -> Any:
        return await self._lease.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._lease.__aexit__(exc_type, exc, traceback)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._keep().__await__()

    async def _keep(self) -> Any:
        conn = await self._lease.__aenter__()
        self._leases[id(conn)] = self._lease
        return conn


create_pool = PostgresPool
"""The name that users of asyncpg know."""
