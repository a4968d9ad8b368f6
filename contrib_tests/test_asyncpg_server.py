"""The throw-away PostgreSQL does what the tests of faults ask of it."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from servers import postgres


@pytest.fixture(scope="module")
def server():
    with postgres.start(max_connections=20) as server:
        yield server


async def query(dsn, sql):
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetchval(sql)
    finally:
        await conn.close()


async def test_it_answers_by_tcp_on_loopback_and_by_unix_socket(server):
    assert await query(server.dsn, "SELECT 1") == 1
    assert await query(server.socket_dsn, "SELECT 1") == 1
    assert await query(server.dsn, "SHOW listen_addresses") == "127.0.0.1"
    assert await query(server.dsn, "SHOW max_connections") == "20"


async def test_its_data_survives_a_kill_and_a_restart(server):
    conn = await asyncpg.connect(server.dsn)
    await conn.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
    await conn.execute("CHECKPOINT")
    await asyncio.to_thread(server.kill)
    async with asyncio.timeout(30):
        while not conn.is_closed():
            await asyncio.sleep(0.01)
    await asyncio.to_thread(server.restart)
    assert await query(server.dsn, "SELECT answer FROM kept") == 42


async def test_freezing_it_freezes_its_children_too(server):
    conn = await asyncpg.connect(server.dsn)
    server.freeze()
    with pytest.raises(TimeoutError):
        await conn.fetchval("SELECT 1", timeout=0.2)
    server.thaw()
    conn.terminate()
    assert await query(server.dsn, "SELECT 1") == 1
