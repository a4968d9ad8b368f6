"""The rivals that are installed from the package index, each over connections to nowhere.

A rival takes part if it can be imported; `pip install --group bench` brings all of them. Each is built with its
defaults, but for timeouts that would end a benchmark. Those that know no burst keep `max_size` connections and have up
to `burst_limit`, if they tell the two apart; else they have `burst_limit`. Where a rival's own context manager exists,
that is what is called, with nothing in between.

Nothing is imported before it is asked for.
"""

import importlib.util
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

Dial = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """Open a connection in no time."""


class Adapted:
    """A rival's pool under the names that the benchmarks use."""

    __slots__ = ("close", "get_connection")

    def __init__(self, get_connection: Callable[[], Any], close: Callable[[], Awaitable[Any]]) -> None:
        """Take the rival's own methods."""
        self.get_connection = get_connection
        self.close = close


class Lease:
    """For a rival that has two coroutines, to acquire and to release, and no context manager."""

    __slots__ = ("_acquire", "_conn", "_release")

    def __init__(self, acquire: Callable[[], Awaitable[Any]], release: Callable[[Any], Awaitable[Any]]) -> None:
        """Nothing is taken before the block is entered."""
        self._acquire = acquire
        self._release = release

    async def __aenter__(self) -> Any:
        """Acquire."""
        conn = self._conn = await self._acquire()
        return conn

    async def __aexit__(self, *error: object) -> None:
        """Release."""
        await self._release(self._conn)


async def generic_connection_pool(max_size: int, burst_limit: int | None = None, dial: Dial = at_once) -> Any:
    """Build generic-connection-pool's, which pools by endpoint: there is one."""
    from generic_connection_pool.asyncio import BaseConnectionManager, ConnectionPool

    class Manager(BaseConnectionManager[str, object]):
        async def create(self, endpoint: str) -> object:
            await dial()
            return object()

        async def dispose(self, endpoint: str, conn: object) -> None:
            pass

    size = burst_limit or max_size
    pool = ConnectionPool(Manager(), min_idle=max_size, max_size=size, total_max_size=size)
    return Adapted(lambda: pool.connection("nowhere"), pool.close)


async def connpool(max_size: int, burst_limit: int | None = None, dial: Dial = at_once) -> Any:
    """Build connpool's."""
    from connpool import AsyncCallableFactory, AsyncConnectionPool, PoolConfig

    async def create() -> object:
        await dial()
        return object()

    config = PoolConfig(max_size=burst_limit or max_size, acquire_timeout=None)
    pool = await AsyncConnectionPool(AsyncCallableFactory(create), config).open()
    return Adapted(pool.connection, pool.close)


async def anopool(max_size: int, burst_limit: int | None = None, dial: Dial = at_once) -> Any:
    """Build anopool's, mended: its 0.1.0b0 catches the wrong exception, so that nobody ever gets a connection."""
    import asyncio
    import queue

    from anopool import AsyncManager, AsyncPool

    class Manager(AsyncManager[object]):
        async def create(self) -> object:
            await dial()
            return object()

    class Empty(queue.Empty, asyncio.QueueEmpty):
        pass

    class Idle(queue.SimpleQueue):  # type: ignore[type-arg]
        def get_nowait(self) -> object:
            try:
                return super().get_nowait()
            except queue.Empty:
                raise Empty from None

    pool = AsyncPool(Manager(), max_size=burst_limit or max_size)
    pool._state.idle = Idle()
    await pool.open()
    return Adapted(pool.acquire, pool.close)


async def redis_py(max_size: int, burst_limit: int | None = None, dial: Dial = at_once) -> Any:
    """Build redis-py's that waits."""
    from redis.asyncio import BlockingConnectionPool

    class Connection:
        connected = False

        def __init__(self, **options: object) -> None:
            pass

        async def connect(self) -> None:
            if not self.connected:
                await dial()
                self.connected = True

        async def can_read(self) -> bool:
            return False

        def should_reconnect(self) -> bool:
            return False

        async def re_auth(self) -> None:
            pass

        async def disconnect(self, **options: object) -> None:
            self.connected = False

    options: Any = {"connection_class": Connection}
    pool = BlockingConnectionPool(max_connections=burst_limit or max_size, timeout=None, **options)
    return Adapted(lambda: Lease(pool.get_connection, pool.release), pool.disconnect)


async def sqlalchemy(max_size: int, burst_limit: int | None = None, dial: Dial = at_once) -> Any:
    """Build SQLAlchemy's, which its async engines use: plain code, run in greenlets."""
    from sqlalchemy.pool import AsyncAdaptedQueuePool
    from sqlalchemy.util import await_only, greenlet_spawn

    class Connection:
        def rollback(self) -> None:
            pass

        def close(self) -> None:
            pass

    def create() -> Connection:
        await_only(dial())
        return Connection()

    overflow = (burst_limit or max_size) - max_size
    pool = AsyncAdaptedQueuePool(create, pool_size=max_size, max_overflow=overflow, timeout=None)

    async def acquire() -> Any:
        return await greenlet_spawn(pool.connect)

    async def release(conn: Any) -> None:
        await greenlet_spawn(conn.close)

    async def close() -> None:
        await greenlet_spawn(pool.dispose)

    return Adapted(lambda: Lease(acquire, release), close)


async def psycopg_pool(max_size: int, burst_limit: int | None = None, dial: Dial = at_once) -> Any:
    """Build psycopg_pool's."""
    from psycopg.pq import TransactionStatus
    from psycopg_pool import AsyncConnectionPool

    class Connection:
        class pgconn:  # noqa: N801
            transaction_status = TransactionStatus.IDLE

        @classmethod
        async def connect(cls, conninfo: str, **options: object) -> "Connection":
            await dial()
            return cls()

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *error: object) -> None:
            pass

        async def close(self) -> None:
            pass

    pool: Any = AsyncConnectionPool(
        min_size=max_size,
        max_size=burst_limit or max_size,
        timeout=3600,
        open=False,
        connection_class=Connection,  # type: ignore[type-var]
    )
    await pool.open()
    return Adapted(pool.connection, pool.close)


async def asyncpg(max_size: int, burst_limit: int | None = None, dial: Dial = at_once) -> Any:
    """Build asyncpg's."""
    from asyncpg import Connection, create_pool

    class Protocol:
        queries_count = 0

        def _is_cancelling(self) -> bool:
            return False

    class Nowhere(Connection):  # type: ignore[misc]
        __slots__ = ("closed",)

        def __init__(self) -> None:
            self._protocol = Protocol()
            self.closed = False

        def is_closed(self) -> bool:
            return self.closed

        async def reset(self, *, timeout: float | None = None) -> None:
            pass

        def _on_release(self, stacklevel: int = 1) -> None:
            pass

        def _set_proxy(self, proxy: object) -> None:
            pass

        def __del__(self) -> None:
            pass

        async def close(self, *, timeout: float | None = None) -> None:
            self.terminate()

        def terminate(self) -> None:
            self.closed = True
            holder = self._pool_holder() if callable(self._pool_holder) else self._pool_holder
            if holder is not None:
                holder._release_on_close()

    async def connect(*args: object, **options: object) -> Connection:
        await dial()
        return Nowhere()

    pool = await create_pool(
        min_size=max_size, max_size=burst_limit or max_size, connect=connect, connection_class=Nowhere
    )
    return Adapted(pool.acquire, pool.close)


RIVALS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "generic-connection-pool": generic_connection_pool,
    "connpool": connpool,
    "anopool": anopool,
    "redis-py": redis_py,
    "SQLAlchemy": sqlalchemy,
    "psycopg_pool": psycopg_pool,
    "asyncpg": asyncpg,
}
MODULES = {"redis-py": "redis", "psycopg_pool": "psycopg_pool", "SQLAlchemy": "sqlalchemy"}


def installed() -> Mapping[str, Any]:
    """Return those that can be imported."""
    return {name: build for name, build in RIVALS.items() if importlib.util.find_spec(module(name)) is not None}


def module(name: str) -> str:
    """Return the name under which a rival is imported."""
    return MODULES.get(name, name.replace("-", "_"))
