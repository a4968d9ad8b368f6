"""asyncpg, as the shared tests see it."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress

import asyncpg

from asyncio_connection_pool.contrib.asyncpg import PostgresConnectionStrategy
from strategy_contract import Driver

SESSION = """
    SELECT current_user::text, session_user::text,
           (SELECT json_object_agg(name, setting ORDER BY name)::text FROM pg_settings WHERE source = 'session') AS set,
           (SELECT array_agg(c) FROM pg_listening_channels() c) AS listening,
           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
           (SELECT array_agg(name) FROM pg_cursors WHERE is_holdable) AS cursors,
           now() = statement_timestamp() AS alone
"""

NOTICES_A_LOST_CLIENT = "SET client_connection_check_interval = '50ms'"
"""Else a statement whose client has gone runs to its end."""


class AsyncpgDriver(Driver):
    """A driver for a server; `ask` is a connection of its own, over which it asks the server."""

    name = f"asyncpg {asyncpg.__version__}"
    lost = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    swallows = ()

    def __init__(self, dsn, ask, **options):
        self.dsn = dsn
        self.ask = ask
        self.options = {"command_timeout": None, **options}
        self.dirt = DIRT
        self.operations = OPERATIONS
        self.refused = {
            "wrong port": (lambda: self.strategy(port=1), ConnectionRefusedError),
            "wrong host": (lambda: self.strategy(host="nowhere.invalid"), OSError),
            "wrong database": (lambda: self.strategy(database="nowhere"), asyncpg.InvalidCatalogNameError),
            "wrong user": (lambda: self.strategy(user="nobody"), asyncpg.InvalidAuthorizationSpecificationError),
            "wrong DSN": (lambda: PostgresConnectionStrategy("gopher://127.0.0.1"), ValueError),
            "wrong setting": (lambda: self.strategy(server_settings={"nonsense": "1"}), asyncpg.UndefinedObjectError),
        }

    def strategy(self, **options):
        return PostgresConnectionStrategy(self.dsn, **{**self.options, **options})

    async def reconnect(self):
        await self.ask.close()
        self.ask = await asyncpg.connect(self.dsn)

    async def echo(self, conn, token):
        return await conn.fetchval("SELECT $1::text", token)

    async def stall(self, conn):
        return await conn.execute(f"{NOTICES_A_LOST_CLIENT}; SELECT pg_sleep(10)")

    async def cut(self, conn):
        await self.ask.fetchval("SELECT pg_terminate_backend($1)", conn.get_server_pid())

    async def seen(self):
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return await self.ask.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {others}")

    async def session(self, conn):
        return dict(await conn.fetchrow(SESSION))


@asynccontextmanager
async def connected(server, **options):
    """Make a driver for a server of our own."""
    driver = AsyncpgDriver(server.dsn, await asyncpg.connect(server.dsn), **options)
    try:
        yield driver
    finally:
        await driver.ask.close()


async def echo(conn, token):
    return await conn.fetchval("SELECT $1::text", token), token


async def new_statement(conn, token):
    return await conn.fetchval(f"SELECT '{token}'"), token


async def simple_query(conn, token):
    return await conn.execute(f"SELECT '{token}'"), "SELECT 1"


async def many_rows(conn, token):
    rows = await conn.fetch("SELECT $1::text || n FROM generate_series(1, 100) n", token)
    return [row[0] for row in rows], [f"{token}{n}" for n in range(1, 101)]


async def transaction(conn, token):
    async with conn.transaction():
        await conn.execute("SELECT set_config('my.token', $1, true)", token)
        return await conn.fetchval("SELECT current_setting('my.token')"), token


async def cursor(conn, token):
    async with conn.transaction():
        rows = [row[0] async for row in conn.cursor("SELECT $1::text FROM generate_series(1, 60)", token)]
        return rows, [token] * 60


async def many_arguments(conn, token):
    await conn.executemany("SELECT set_config('my.token', $1, false)", [(f"{token} {n}",) for n in range(10)])
    return await conn.fetchval("SELECT current_setting('my.token')"), f"{token} 9"


async def sleep(conn, token):
    return await conn.fetchval("SELECT $1::text FROM pg_sleep(0.02)", token), token


OPERATIONS = [echo, new_statement, simple_query, many_rows, transaction, cursor, many_arguments, sleep]


async def enter_transaction(conn):
    await conn.transaction().start()


async def listen(conn):
    await conn.add_listener("channel", print)


async def fail_in_transaction(conn):
    await conn.execute("BEGIN")
    with suppress(asyncpg.DivisionByZeroError):
        await conn.execute("SELECT 1 / 0")


DIRT = {
    "BEGIN": lambda conn: conn.execute("BEGIN"),
    "a transaction object": enter_transaction,
    "a failed transaction": fail_in_transaction,
    "SET": lambda conn: conn.execute("SET work_mem = '1234kB'; SET my.own = 'secret'"),
    "SET, by a function": lambda conn: conn.fetch("SELECT set_config('search_path', 'nowhere', false)"),
    "SET SESSION CHARACTERISTICS": lambda conn: conn.execute(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"
    ),
    "SET ROLE": lambda conn: conn.execute("SET ROLE pg_monitor"),
    "SET SESSION AUTHORIZATION": lambda conn: conn.execute("SET SESSION AUTHORIZATION pg_monitor"),
    "SET ROLE in SET SESSION AUTHORIZATION": lambda conn: conn.execute(
        "SET SESSION AUTHORIZATION pg_read_all_data; SET ROLE pg_read_all_data"
    ),
    "LISTEN": lambda conn: conn.execute("LISTEN channel"),
    "add_listener": listen,
    "an advisory lock": lambda conn: conn.fetch("SELECT pg_advisory_lock(1), pg_advisory_lock_shared(2, 3)"),
    "a cursor WITH HOLD": lambda conn: conn.execute("DECLARE own CURSOR WITH HOLD FOR SELECT 1"),
    "SET in a transaction": lambda conn: conn.execute("BEGIN; SET ROLE pg_monitor; SET my.own = 'secret'; LISTEN c"),
}
