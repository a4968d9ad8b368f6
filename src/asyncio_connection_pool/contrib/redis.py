"""Pool clients of redis-py (4.5.5 or later), each on exactly one connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self, cast

from asyncio_connection_pool import ConnectionStrategy

try:
    from redis.asyncio import Redis

    from asyncio_connection_pool.contrib._redis_budget import RedisBurstBudget
    from asyncio_connection_pool.contrib._redis_pool import RedisConnectionPool
    from asyncio_connection_pool.contrib._redis_session import OneConnection
except ImportError as _error:
    raise ImportError(
        f"{__name__} needs redis-py 4.5.5 or later: pip install asyncio-connection-pool[redis]"
    ) from _error

__all__ = ("RedisBurstBudget", "RedisConnectionPool", "RedisConnectionStrategy")


class RedisConnectionStrategy(ConnectionStrategy[Redis]):
    """Open, look at and close clients of redis-py, each of which is one connection.

    Whatever uses a pooled client (commands, pipelines, subscriptions) takes turns on its one connection. A
    client whose connection is lost raises redis-py's ``ConnectionError`` and does not reconnect: that is the
    pool's part. So ``retry=`` applies to opening only. It defaults to none: a wrong host is reported at once.

    A connection is not used again if anything is left on it: a command under way, an unread reply, ``MULTI``
    or ``WATCH``, a subscription, another database or user, a changed ``CLIENT`` setting.

    Args:
        args: Forwarded to `redis.asyncio.Redis`.
        kwargs: Forwarded to `redis.asyncio.Redis`, except for ``connection_pool``, which is refused.

    Raises:
        TypeError: ``connection_pool`` was given.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._build = _builder(Redis, *args, **kwargs)

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Self:
        """Build a strategy from a URL, as `redis.asyncio.Redis.from_url` does.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://``.
            kwargs: Forwarded, as to the class itself.

        Returns:
            The strategy.

        Raises:
            TypeError: ``connection_pool`` was given.
            ValueError: redis-py can't read the URL.
        """
        strategy = cls()
        client_class: Any = Redis  # some of its annotations are incomplete
        strategy._build = _builder(client_class.from_url, url, **kwargs)
        return strategy

    async def create_connection(self) -> Redis:
        """Dial and greet the server, and return a client on that connection."""
        client = self._build()
        one = OneConnection(client.connection_pool)
        client.connection_pool = cast("Any", one)
        client.single_connection_client = False  # else the client itself would keep the turn
        await one.session.open()
        return client

    def connection_is_closed(self, conn: Redis) -> bool:
        """Say whether either side has closed the connection."""
        return not _one(conn).session.is_alive()

    def connection_is_reusable(self, conn: Redis, exc: BaseException | None) -> bool:
        """Say whether the connection is as it was when it was opened."""
        one = _one(conn)
        return super().connection_is_reusable(conn, exc) and not one.is_held() and one.session.is_fresh()

    async def validate_connection(self, conn: Redis) -> None:
        """Send a ``PING``."""
        client: Any = conn
        await client.ping()

    async def close_connection(self, conn: Redis) -> None:
        """Close the connection; the client can't be used again."""
        await _one(conn).disconnect()

    def abort_connection(self, conn: Redis) -> None:
        """Close the socket, whatever is under way on it."""
        _one(conn).session.abort()


def _one(client: Redis) -> OneConnection:
    return cast("OneConnection", client.connection_pool)


def _builder(make: Callable[..., Redis], *args: Any, **kwargs: Any) -> Callable[[], Redis]:
    if "connection_pool" in kwargs:
        raise TypeError("connection_pool: a pooled client is one connection, and brings no pool of its own")
    build = partial(make, *args, **{"retry": None, **kwargs})
    build()  # dials nothing, and says now what is wrong with the arguments
    return build
