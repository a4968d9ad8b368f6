"""Over TLS both ways of pooling connections of redis-py are as they are without."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.asyncio import Redis

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib.redis import RedisConnectionPool, RedisConnectionStrategy
from redis_driver import RedisDriver
from redis_pool_user import aclose
from strategy_contract import StrategyContract, unique, until, until_seen
from tls_front import CERTIFICATE, tls_front

CANCELS = 100


class TlsDriver(RedisDriver):
    """A driver that reaches its server through TLS, and asks it without."""

    def __init__(self, port, front):
        super().__init__(port)
        self.front = front
        self.refused = {
            "wrong password": (lambda: self.strategy(username="nobody", password="wrong"), redis.AuthenticationError),
            "no trust": (lambda: RedisConnectionStrategy.from_url(self.url()), redis.ConnectionError),
        }

    def url(self, **query):
        return f"rediss://localhost:{self.front}/0?" + "&".join(f"{name}={value}" for name, value in query.items())

    def strategy(self, **options):
        url = self.url(ssl_ca_certs=CERTIFICATE, decode_responses=True)
        return RedisConnectionStrategy.from_url(url, **options)

    async def cut(self, conn):
        number = await conn.client_id()
        with self.ask() as client:
            client.client_kill_filter(_id=number)


@pytest.fixture
async def driver(own_valkey):
    async with tls_front(own_valkey.port) as front:
        yield TlsDriver(own_valkey.port, front)


@pytest.fixture
async def client(driver):
    """A client of redis-py on our pool of two connections."""
    pool = RedisConnectionPool.from_url(driver.url(ssl_ca_certs=CERTIFICATE, decode_responses=True), max_size=2)
    client = Redis(connection_pool=pool)
    yield client
    await aclose(client)
    await pool.aclose()
    await until_seen(driver, 0)


class TestContract(StrategyContract):
    """The shared checks, but for those that open hundreds of connections: each handshake reads the certificates."""

    test_it_passes_the_checks_that_the_public_kit_has_for_everybody = None


async def echo_with_the_strategy(pool, token):
    async with pool.get_connection() as conn:
        return await conn.echo(token)


async def storm(echo):
    """Cancel one caller after the other in mid-command, and compare what others get."""
    for n in range(CANCELS):
        first = asyncio.create_task(echo(f"first {n}"))
        await asyncio.sleep(0.0001 * (n % 20))
        first.cancel()
        async with asyncio.timeout(30):
            assert await echo(f"second {n}") == f"second {n}"
            await asyncio.wait([first])


async def test_a_storm_of_cancellations_gives_a_client_no_wrong_reply(driver, client):
    await storm(client.echo)
    await until(lambda: not client.connection_pool.stats().in_use)


async def test_a_storm_of_cancellations_gives_a_block_no_wrong_reply(driver):
    async with ConnectionPool(strategy=driver.strategy(), max_size=2) as pool:
        await storm(lambda token: echo_with_the_strategy(pool, token))
        await until(lambda: not pool.stats().in_use)
    await until_seen(driver, 0)


async def test_a_pipeline_and_a_subscription_go_over_tls(client):
    assert await client.pipeline().set("key", "value").get("key").execute() == [True, "value"]
    listener = client.pubsub()
    await listener.subscribe("channel")
    await client.publish("channel", "hello")
    async with asyncio.timeout(30):
        while (message := await listener.get_message(timeout=1)) is None or message["data"] != "hello":
            pass
    await aclose(listener)


async def test_an_abandoned_blpop_eats_no_item(driver, client):
    with driver.ask() as ask:
        for n in range(20):
            queue = unique("queue")
            eater = asyncio.create_task(client.blpop(queue))
            await until(lambda: ask.info("clients")["blocked_clients"] == 1)
            eater.cancel()
            async with asyncio.timeout(30):
                await asyncio.wait([eater])
            await until(lambda: ask.info("clients")["blocked_clients"] == 0)  # what lies between takes its time
            ask.rpush(queue, n)
            assert ask.lpop(queue) == str(n)
