"""Over TLS connections of asyncpg are pooled, reset, cancelled and closed as they are without."""

from __future__ import annotations

import asyncio
import ssl

import asyncpg
import pytest

from asyncio_connection_pool.contrib.asyncpg import create_pool
from asyncpg_driver import AsyncpgDriver
from servers import postgres
from strategy_contract import StrategyContract
from tls_front import tls_front, trusting

MAY_I = bytes([0, 0, 0, 8, 4, 210, 22, 47])  # the SSLRequest of PostgreSQL's protocol


class TlsDriver(AsyncpgDriver):
    """A driver that reaches its server through TLS, and asks it without."""

    def __init__(self, server, ask, front):
        super().__init__(server.dsn, ask, host="localhost", port=front, ssl=trusting())
        self.refused = {
            "no trust": (lambda: self.strategy(ssl=ssl.create_default_context()), ssl.SSLCertVerificationError),
            "wrong database": (lambda: self.strategy(database="nowhere"), asyncpg.InvalidCatalogNameError),
        }


@pytest.fixture(scope="module")
def server():
    with postgres.start() as own:
        yield own


@pytest.fixture
async def driver(server):
    ask = await asyncpg.connect(server.dsn)
    async with tls_front(server.port, asks=MAY_I) as front:
        yield TlsDriver(server, ask, front)
    await ask.close()


class TestContract(StrategyContract):
    """The shared checks."""


async def test_a_storm_of_cancellations_gives_no_wrong_reply(driver):
    async with create_pool(driver.dsn, max_size=2, **driver.options) as pool, asyncio.timeout(60):
        for n in range(200):
            first = asyncio.create_task(pool.fetchval("SELECT $1::text", f"first {n}"))
            await asyncio.sleep(0.0001 * (n % 20))
            first.cancel()
            assert await pool.fetchval("SELECT $1::text", f"second {n}") == f"second {n}"
            await asyncio.wait([first])
