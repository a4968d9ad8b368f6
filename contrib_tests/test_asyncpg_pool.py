"""Code that was written for asyncpg's pool runs on ours, with one changed line."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest

from asyncio_connection_pool import PoolTimeoutError
from asyncio_connection_pool.contrib.asyncpg import PostgresPool, create_pool
from servers import postgres
from strategy_contract import SOON, unique


@pytest.fixture(scope="module")
def server():
    with postgres.connect() as either:
        yield either


@pytest.fixture(params=[asyncpg.create_pool, create_pool], ids=["asyncpg", "ours"])
def make(request, server):
    """Make a pool of asyncpg's, or of ours: every test with this one is true of both."""
    return lambda **options: request.param(
        server.dsn, **({"min_size": 0} if request.param is not create_pool else {}), **options
    )


async def test_a_pool_is_awaited(make):
    pool = await make(max_size=2)
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


async def test_a_pool_is_entered(make):
    async with make(max_size=2) as pool:
        assert await pool.fetchval("SELECT 1") == 1


async def test_queries_run_on_the_pool_itself(make):
    table = unique("t").replace("-", "_")
    async with make(max_size=2) as pool:
        assert await pool.execute(f"CREATE TABLE {table} (n int, s text)") == "CREATE TABLE"
        assert await pool.executemany(f"INSERT INTO {table} VALUES ($1, $2)", [(1, "a"), (2, "b")], timeout=5) is None
        rows = await pool.fetch(f"SELECT * FROM {table} WHERE n > $1 ORDER BY n", 0, timeout=5)
        assert [dict(row) for row in rows] == [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}]
        assert tuple(await pool.fetchrow(f"SELECT * FROM {table} WHERE n = $1", 2)) == (2, "b")
        assert await pool.fetchrow(f"SELECT * FROM {table} WHERE n = $1", 3) is None
        assert await pool.fetchval(f"SELECT * FROM {table} WHERE n = $1", 1, column=1) == "a"
        assert await pool.execute(f"DROP TABLE {table}") == "DROP TABLE"


async def test_records_are_of_the_class_that_is_asked_for(make):
    class Own(asyncpg.Record):
        pass

    async with make(max_size=1, record_class=Own) as pool:
        assert isinstance(await pool.fetchrow("SELECT 1"), Own)
    async with make(max_size=1) as pool:
        assert isinstance((await pool.fetch("SELECT 1", record_class=Own))[0], Own)
        assert isinstance(await pool.fetchrow("SELECT 1", record_class=Own), Own)


async def test_a_timeout_is_one_of_the_query(make):
    async with make(max_size=1) as pool:
        with pytest.raises(TimeoutError):
            await pool.fetchval("SELECT pg_sleep(60)", timeout=0.05)
        assert await pool.fetchval("SELECT 1") == 1


async def test_a_connection_is_acquired_for_a_block(make):
    async with make(max_size=1) as pool:
        async with pool.acquire() as conn, conn.transaction():
            assert await conn.fetchval("SELECT txid_current()") == await conn.fetchval("SELECT txid_current()")
        async with pool.acquire(timeout=1) as conn:
            assert not conn.is_in_transaction()


async def test_a_connection_is_acquired_and_released(make):
    async with make(max_size=1) as pool:
        for _ in range(3):
            conn = await pool.acquire()
            try:
                assert await conn.fetchval("SELECT 1") == 1
                with pytest.raises(TimeoutError):
                    await pool.acquire(timeout=0.01)
            finally:
                await pool.release(conn)


async def test_what_a_query_raises_arrives_and_costs_nothing(make):
    async with make(max_size=1) as pool:
        for _ in range(3):
            with pytest.raises(asyncpg.UndefinedTableError):
                await pool.fetch("SELECT * FROM nowhere")
            with pytest.raises(asyncpg.UniqueViolationError):
                async with pool.acquire():
                    raise asyncpg.UniqueViolationError
        assert await pool.fetchval("SELECT 1") == 1


async def test_new_connections_are_initialised(make):
    async def init(conn):
        await conn.set_type_codec("json", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)

    async with make(max_size=1, init=init) as pool:
        for _ in range(2):
            assert await pool.fetchval("SELECT $1::json", {"a": [1]}) == {"a": [1]}


async def test_many_callers_share_few_connections(make):
    async with make(max_size=3) as pool:
        numbers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(200)))
        assert numbers == list(range(200))


async def test_settings_are_gone_with_their_user(make):
    async with make(max_size=1) as pool:
        before = await pool.fetchval("SHOW work_mem")
        await pool.execute("SET work_mem = '1234kB'")
        assert await pool.fetchval("SHOW work_mem") == before


async def test_a_role_is_gone_with_its_user(server):
    """asyncpg's own pool leaves it to the next one."""
    async with create_pool(server.dsn, max_size=1) as pool:
        before = await pool.fetchrow("SELECT current_user, session_user")
        await pool.execute("SET ROLE pg_monitor")
        assert await pool.fetchrow("SELECT current_user, session_user") == before
        assert pool.stats().created == 1


async def test_our_options_are_those_of_the_pool_below(server):
    async with create_pool(server.dsn, max_size=1, burst_limit=2, name="db", acquire_timeout=0.05) as pool:
        assert isinstance(pool, PostgresPool)
        assert (pool.pool.max_size, pool.pool.burst_limit, pool.stats().name) == (1, 2, "db")
        async with pool.acquire(timeout=SOON), pool.acquire(timeout=SOON):
            with pytest.raises(PoolTimeoutError):
                await pool.fetch("SELECT 1")
        assert pool.stats().closed["surplus"] == 1


async def test_what_was_not_acquired_is_not_released(server):
    async with create_pool(server.dsn, max_size=1) as pool:
        conn = await pool.acquire()
        await pool.release(conn)
        with pytest.raises(asyncpg.InterfaceError, match="acquire"):
            await pool.release(conn)


async def test_a_close_can_be_bounded(server):
    pool = create_pool(server.dsn, max_size=1)
    conn = await pool.acquire()
    await pool.close(timeout=0.01)
    assert conn.is_closed()
    await pool.release(conn)


async def test_a_cancelled_acquisition_leaves_nothing_behind(server):
    async with create_pool(server.dsn, max_size=1) as pool:
        for ticks in range(30):
            task = asyncio.create_task(acquire_and_release(pool))
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        async with asyncio.timeout(SOON):
            assert await pool.fetchval("SELECT 1") == 1
        assert not pool._leases


async def acquire_and_release(pool):
    conn = await pool.acquire()
    await pool.release(conn)


@pytest.mark.parametrize("options", [{"max_queries": 5}, {"max_size": 0}, {"max_size": 2, "burst_limit": 1}])
def test_what_neither_the_pool_nor_asyncpg_takes_is_refused_at_once(options):
    with pytest.raises((TypeError, ValueError)):
        create_pool("postgresql://localhost", **options)
