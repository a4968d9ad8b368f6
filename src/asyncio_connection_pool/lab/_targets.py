"""What a load is sent to: a server of the user's, and something to ask it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from asyncio_connection_pool import ConnectionStrategy
from asyncio_connection_pool.lab._people import Complaint

PATIENCE: Final = 10.0
"""Seconds within which a server has to answer at first."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and one operation on a connection to it."""

    name: str
    """Its URL, without user, password and options."""
    strategy: ConnectionStrategy[Any]
    query: str
    operate: Callable[[Any], Awaitable[object]]
    """Runs the query."""

    async def probe(self) -> None:
        """Open one connection, run the query, and close it.

        Raises:
            Complaint: One of them failed, or took too long.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                conn = await self.strategy.create_connection()
        except Exception as error:
            raise Complaint(f"can't connect to {self.name}: {reason(error)}") from error
        try:
            async with asyncio.timeout(PATIENCE):
                await self.operate(conn)
        except Exception as error:
            raise Complaint(f"{self.name} does not answer {self.query!r}: {reason(error)}") from error
        finally:
            await self.strategy.close_connection(conn)


def find_target(url: str, query: str | None) -> Target:
    """Make a target of a URL.

    Raises:
        Complaint: The URL is none that can be used, or a library is missing.
    """
    scheme = url.partition("://")[0]
    if scheme not in KINDS:
        raise Complaint(f"{url!r}: a URL that begins with {', '.join(f'{name}://' for name in KINDS)} is needed")
    try:
        return KINDS[scheme](url, query)
    except ImportError as error:
        raise Complaint(str(error)) from error
    except ValueError as error:
        raise Complaint(f"{url_name(url)} can't be used: {error}") from error


def _redis(url: str, query: str | None) -> Target:
    from asyncio_connection_pool.contrib.redis import RedisConnectionStrategy  # noqa: PLC0415 - an extra

    query = query or "PING"
    words = shlex.split(query)
    strategy = RedisConnectionStrategy.from_url(url)
    return Target(url_name(url), strategy, query, lambda conn: conn.execute_command(*words))


def _postgresql(url: str, query: str | None) -> Target:
    from asyncio_connection_pool.contrib.asyncpg import PostgresConnectionStrategy  # noqa: PLC0415 - an extra

    sql = query or "SELECT 1"
    return Target(url_name(url), PostgresConnectionStrategy(url), sql, lambda conn: conn.fetch(sql))


KINDS: Final[dict[str, Callable[[str, str | None], Target]]] = {
    "redis": _redis,
    "rediss": _redis,
    "postgresql": _postgresql,
    "postgres": _postgresql,
}


def url_name(url: str) -> str:
    """Leave out of a URL what is nobody's business."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def reason(error: BaseException) -> str:
    """Say why, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
