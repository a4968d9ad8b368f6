"""The pool that a user of redis-py passes as ``Redis(connection_pool=…)``."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from redis.asyncio import Connection, ConnectionPool as RedisPool
from redis.exceptions import ConnectionError as RedisConnectionError, MaxConnectionsError, RedisError

from asyncio_connection_pool import (
    ConnectionPool,
    PoolClosedError,
    PoolError,
    PoolOverloadedError,
    PoolStats,
    PoolTimeoutError,
)
from asyncio_connection_pool.contrib._redis_lent import LEFT, Berth, Lending, Link, link_class

_POOL_OPTIONS = inspect.signature(ConnectionPool).parameters.keys() - {"strategy", "max_size", "acquire_timeout"}


class _NoConnectionError(PoolTimeoutError, RedisConnectionError):
    """What `redis.asyncio.BlockingConnectionPool` raises when its time runs out, and ours."""


class _TooManyError(PoolOverloadedError, MaxConnectionsError):
    """What `redis.asyncio.ConnectionPool` raises when it is exhausted, and ours."""


class _ClosedError(PoolClosedError, RedisConnectionError):
    """The pool below was closed."""


class _OtherError(PoolError, RedisConnectionError):
    """The pool below has found something wrong."""


NOT_LENT = "this connection is not lent by a pool of this kind, or was given back already: {!r}"


class RedisConnectionPool(RedisPool):
    """A pool of redis-py's kind, on a `ConnectionPool`: ``Redis(connection_pool=RedisConnectionPool.from_url(url))``.

    Callers wait in the order of their coming, and a connection is opened, or one that is given back handed over,
    whichever comes first. What `ConnectionPool` raises, for a timeout for instance, is a `redis.ConnectionError` too.

    As with redis-py's own pools, `disconnect` and `aclose` close the connections, and whoever needs one afterwards
    gets a new one. To close the pool for good, ``await pool.pool.close()``.

    Args:
        connection_class: Of redis-py, or derived from one of those.
        max_connections: Another name of `max_size`, which redis-py's pools use.
        max_size: Connections to keep; 50 if not given.
        acquire_timeout: Seconds that a caller may wait for a connection; None: any time.
        timeout: Another name of `acquire_timeout`, which `redis.asyncio.BlockingConnectionPool` uses.
        options: The other options of `ConnectionPool`, ``burst_limit`` and ``shrink_delay`` and so on; and everything
            that redis-py's connections take.
    """

    def __init__(
        self,
        connection_class: type = Connection,
        max_connections: int | None = None,
        *,
        max_size: int | None = None,
        acquire_timeout: float | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        self.timeout: float | None = timeout if acquire_timeout is None else acquire_timeout
        self._options = {name: options.pop(name) for name in _POOL_OPTIONS & options.keys()}
        self._options["acquire_timeout"] = self.timeout
        self._options["max_size"] = max_size if max_size is not None else max_connections or 50
        self._start()
        base: Any = super()
        base.__init__(connection_class=connection_class, max_connections=self.stats().limit, **options)

    def _start(self) -> None:
        self._lending = Lending(self.make_connection)
        self.pool: ConnectionPool[Berth] = ConnectionPool(strategy=self._lending, **self._options)
        """The pool below, for everything that redis-py has no name for."""

    def stats(self) -> PoolStats:
        """Take a snapshot of the counts and totals."""
        return self.pool.stats()

    # What redis-py calls.

    def make_connection(self) -> Any:
        """Make a connection that is not dialled yet."""
        driver_class: Any = self.connection_class
        return link_class(driver_class)(**self.connection_kwargs)

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """Take a connection; what it is for, as redis-py up to 5.2 says, does not matter.

        Raises:
            PoolError: There is none; a `redis.ConnectionError` too.
            BaseException: What the opening of one has raised.
        """
        while True:
            lease = self.pool.get_connection()
            try:
                berth = await lease.__aenter__()
            except PoolError as error:
                raise _of_redis(error).with_traceback(error.__traceback__) from error.__cause__
            link: Any = berth.connection
            reader = link._reader  # None if somebody has closed the connection on its way here
            if reader is not None and not (reader._buffer and link.unread):
                return berth.lend(lease)
            await lease.__aexit__(type(LEFT), LEFT, None)

    async def release(self, connection: Any) -> None:
        """Give a connection back.

        Raises:
            redis.RedisError: It was not taken from here, or was given back before.
        """
        lease = getattr(connection, "lease", None)
        if lease is None:
            raise RedisError(NOT_LENT.format(connection))
        connection.lease = None
        connection.berth.connection = connection
        if connection.is_as_it_was():
            await lease.__aexit__(None, None, None)
        else:
            await lease.__aexit__(type(LEFT), LEFT, None)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the idle connections, and those in use too if it is so wanted; the pool goes on."""
        links = await self._take_idle()
        idle = len(links)
        if inuse_connections:
            here = asyncio.get_running_loop()
            lent = self._lending.connections(idle=False)
            links += [link for link in lent if link not in links and link.berth and link.berth.loop is here]
        try:
            results = await asyncio.gather(*(link.disconnect() for link in links), return_exceptions=True)
        finally:
            for link in links[:idle]:
                await self.release(link)
        for error in filter(None, results):
            raise error

    async def _take_idle(self) -> list[Link]:
        taken: list[Link] = []
        with suppress(PoolTimeoutError):
            for _ in range(self.stats().idle):
                lease = self.pool.get_connection(timeout=0)
                taken.append((await lease.__aenter__()).lend(lease))
        return taken

    async def aclose(self) -> None:
        """Close all connections, as `disconnect` does."""
        pool: Any = super()
        await getattr(pool, "aclose", self.disconnect)()  # 4.x has none

    async def __aenter__(self) -> Self:
        """Do nothing: connections are opened when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self.aclose()

    def reset(self) -> None:
        """Forget all connections; those in use are closed when they are given back."""
        for link in self._lending.connections(idle=True):
            link.drop()
        for link in self._lending.connections(idle=False):
            link.spoil()
        self._start()

    def can_get_connection(self) -> bool:
        """Say whether one is idle, or may be opened."""
        stats = self.stats()
        return bool(stats.idle) or stats.size < stats.limit

    async def re_auth_callback(self, token: Any) -> None:
        """Use other credentials from now on: close the idle connections now, and those in use when they come back."""
        for link in self._lending.connections(idle=False):
            link.set_re_auth_token(token)
        await self.disconnect(inuse_connections=False)

    if not TYPE_CHECKING:  # redis-py has attributes here, which nothing but itself should look at

        @property
        def _available_connections(self) -> list[Link]:
            return list(self._lending.connections(idle=True))

        @_available_connections.setter
        def _available_connections(self, _: object) -> None:
            pass

        @property
        def _in_use_connections(self) -> set[Link]:
            return set(self._lending.connections(idle=False))

        @_in_use_connections.setter
        def _in_use_connections(self, _: object) -> None:
            pass


def _of_redis(error: PoolError) -> PoolError:
    """Make an error one of redis-py's too."""
    kinds = (_NoConnectionError, _TooManyError, _ClosedError, _OtherError)
    kind = next(kind for kind in kinds if isinstance(error, kind.__bases__[0]))
    twin = kind(*error.args)
    twin.__dict__.update(error.__dict__)
    return twin
