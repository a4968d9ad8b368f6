"""Who takes part where a real server is at the other end: our strategies, our pools for drivers, and the drivers' own.

Each is an async context manager over the URL of a server, with the size that its pool keeps and the most that it opens,
and gives a `Client`: one operation, and how many connections were opened and closed so far.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

SHORT_GET, LONG_GET = ("get", "key"), ("blpop", "nothing", 0.005)
SHORT_QUERY, LONG_QUERY = "SELECT 1", "SELECT pg_sleep(0.005)"
"""What is over at once, and what takes the server 5 ms."""


@dataclass(frozen=True, slots=True)
class Client:
    """What a benchmark does with a pool of connections to a server."""

    short: Callable[[], Awaitable[object]]
    long: Callable[[], Awaitable[object]]
    count: Callable[[], tuple[int, int]]
    """Connections opened and closed so far."""


class Connect(Protocol):
    """What makes a client."""

    def __call__(self, url: str, size: int, most: int, **options: Any) -> AbstractAsyncContextManager[Client]:
        """Connect to the server at `url`, keeping `size` connections and opening `most` under load."""
        ...


def _counts(pool: Any) -> Callable[[], tuple[int, int]]:
    def count() -> tuple[int, int]:
        stats = pool.stats()
        return stats.created, sum(stats.closed.values())

    return count


@asynccontextmanager
async def redis_strategy(url: str, size: int, most: int, **options: Any) -> AsyncIterator[Client]:
    """Our pool of redis-py clients that have one connection each."""
    from asyncio_connection_pool import ConnectionPool
    from asyncio_connection_pool.contrib.redis import RedisConnectionStrategy

    strategy = RedisConnectionStrategy.from_url(url)
    async with ConnectionPool(strategy=strategy, max_size=size, burst_limit=most, **options) as pool:

        def command(*words: Any) -> Callable[[], Awaitable[object]]:
            async def run() -> object:
                async with pool.get_connection() as client:
                    return await client.execute_command(*words)

            return run

        yield Client(command(*SHORT_GET), command(*LONG_GET), _counts(pool))


@asynccontextmanager
async def redis_drop_in(url: str, size: int, most: int, **options: Any) -> AsyncIterator[Client]:
    """redis-py's client on our pool."""
    from asyncio_connection_pool.contrib.redis import RedisConnectionPool

    pool = RedisConnectionPool.from_url(url, max_size=size, burst_limit=most, **options)
    async with _redis_client(pool, _counts(pool.pool)) as client:
        yield client


@asynccontextmanager
async def redis_own(url: str, size: int, most: int) -> AsyncIterator[Client]:
    """redis-py's client on its own pool that waits; it closes nothing by itself."""
    from redis.asyncio import BlockingConnectionPool, Connection

    opened = 0

    class Counted(Connection):
        async def _connect(self) -> None:
            nonlocal opened
            opened += 1
            await super()._connect()

    pool = BlockingConnectionPool.from_url(url, max_connections=most, timeout=None, connection_class=Counted)
    async with _redis_client(pool, lambda: (opened, 0)) as client:
        yield client


@asynccontextmanager
async def _redis_client(pool: Any, count: Callable[[], tuple[int, int]]) -> AsyncIterator[Client]:
    from redis.asyncio import Redis

    client = Redis(connection_pool=pool)
    await client.set("key", "value")
    try:
        yield Client(lambda: client.execute_command(*SHORT_GET), lambda: client.execute_command(*LONG_GET), count)
    finally:
        await pool.disconnect()


@asynccontextmanager
async def postgres_strategy(url: str, size: int, most: int, **options: Any) -> AsyncIterator[Client]:
    """Our pool of asyncpg connections."""
    from asyncio_connection_pool import ConnectionPool
    from asyncio_connection_pool.contrib.asyncpg import PostgresConnectionStrategy

    strategy = PostgresConnectionStrategy(url)
    async with ConnectionPool(strategy=strategy, max_size=size, burst_limit=most, **options) as pool:

        def query(text: str) -> Callable[[], Awaitable[object]]:
            async def run() -> object:
                async with pool.get_connection() as conn:
                    return await conn.fetchval(text)

            return run

        yield Client(query(SHORT_QUERY), query(LONG_QUERY), _counts(pool))


@asynccontextmanager
async def postgres_facade(url: str, size: int, most: int, **options: Any) -> AsyncIterator[Client]:
    """Our pool with the face of asyncpg's."""
    from asyncio_connection_pool.contrib.asyncpg import create_pool

    async with create_pool(url, max_size=size, burst_limit=most, **options) as pool:
        yield Client(lambda: pool.fetchval(SHORT_QUERY), lambda: pool.fetchval(LONG_QUERY), _counts(pool.pool))


@asynccontextmanager
async def asyncpg_own(url: str, size: int, most: int) -> AsyncIterator[Client]:
    """asyncpg's own pool."""
    import asyncpg  # type: ignore[import-untyped]

    opened = 0

    async def connect(*arguments: Any, **options: Any) -> Any:
        nonlocal opened
        opened += 1
        return await asyncpg.connect(*arguments, **options)

    async with asyncpg.create_pool(url, min_size=size, max_size=most, connect=connect) as pool:
        yield Client(
            lambda: pool.fetchval(SHORT_QUERY),
            lambda: pool.fetchval(LONG_QUERY),
            lambda: (opened, opened - pool.get_size()),
        )


@asynccontextmanager
async def psycopg_own(url: str, size: int, most: int) -> AsyncIterator[Client]:
    """psycopg's own pool, without transactions; it resets nothing when a connection is given back."""
    from psycopg_pool import AsyncConnectionPool

    options = {"autocommit": True}
    async with AsyncConnectionPool(url, min_size=size, max_size=most, timeout=60, kwargs=options, open=False) as pool:
        await pool.wait()

        def query(text: str) -> Callable[[], Awaitable[object]]:
            async def run() -> object:
                async with pool.connection() as conn:
                    cursor = await conn.execute(text)
                    return await cursor.fetchone()

            return run

        def count() -> tuple[int, int]:
            stats = pool.get_stats()
            opened = stats["connections_num"]
            return opened, opened - stats["pool_size"]

        yield Client(query(SHORT_QUERY), query(LONG_QUERY), count)


VALKEY: Mapping[str, Connect] = {
    "ours, strategy": redis_strategy,
    "ours, for redis-py": redis_drop_in,
    "redis-py": redis_own,
}
POSTGRES: Mapping[str, Connect] = {
    "ours, strategy": postgres_strategy,
    "ours, for asyncpg": postgres_facade,
    "asyncpg": asyncpg_own,
    "psycopg_pool": psycopg_own,
}
