"""aiosqlite, with a rollback on release: a transaction that somebody forgot reaches nobody else.

    pip install asyncio-connection-pool aiosqlite
    python notes.py

The exit of a block does not wait for the rollback: the pool does it in the background, and hands the connection out
when it is done.
"""

import asyncio
import tempfile
from pathlib import Path

import aiosqlite

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy


def databases(path):
    """Make a strategy for connections to a database file."""
    return ConnectionStrategy.from_context_manager(
        lambda: aiosqlite.connect(path),
        reset=aiosqlite.Connection.rollback,
    )


async def write(pool, text, *, commit):
    async with pool.get_connection() as db:
        await db.execute("INSERT INTO notes VALUES (?)", (text,))
        if commit:
            await db.commit()


async def read(pool):
    async with pool.get_connection() as db, db.execute("SELECT text FROM notes ORDER BY text") as rows:
        return [text async for (text,) in rows]


async def main():
    with tempfile.TemporaryDirectory() as folder:
        strategy = databases(Path(folder, "notes.db"))
        async with ConnectionPool(strategy=strategy, max_size=2, acquire_timeout=10, close_timeout=5) as pool:
            async with pool.get_connection() as db:
                await db.execute("CREATE TABLE notes (text)")
                await db.commit()
            await write(pool, "kept", commit=True)
            await write(pool, "forgotten", commit=False)
            await write(pool, "kept too", commit=True)
            print(await read(pool))


if __name__ == "__main__":
    asyncio.run(main())
