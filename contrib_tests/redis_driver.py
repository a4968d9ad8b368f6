"""redis-py, as the shared tests see it. The server is asked over a connection of redis-py's synchronous client."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial

import redis

from asyncio_connection_pool.contrib.redis import RedisConnectionStrategy
from servers.process import free_port
from strategy_contract import Driver, unique

SESSION = ("db", "sub", "psub", "multi", "watch", "name", "flags", "user", "resp")


class RedisDriver(Driver):
    """A driver for the server at a port of this machine."""

    name = f"redis-py {redis.__version__}"
    lost = (redis.ConnectionError, redis.TimeoutError)
    swallows = ()

    def __init__(self, port, **options):
        self.port = port
        self.options = options
        self.dirt = DIRT
        self.operations = OPERATIONS
        self.refused = {
            "wrong password": (partial(self.strategy, username="nobody", password="wrong"), redis.AuthenticationError),
            "wrong port": (partial(self.strategy, port=free_port()), redis.ConnectionError),
            "wrong host": (partial(self.strategy, host="nowhere.invalid"), redis.ConnectionError),
            "wrong database": (partial(self.strategy, db=100_000), redis.ResponseError),
            "wrong socket": (lambda: RedisConnectionStrategy.from_url("unix:///nowhere"), redis.ConnectionError),
        }

    def strategy(self, **options):
        return RedisConnectionStrategy(
            **{"host": "127.0.0.1", "port": self.port, "decode_responses": True, **self.options, **options}
        )

    @contextmanager
    def ask(self):
        """Yield a synchronous client on a connection of its own."""
        client = redis.Redis(port=self.port, decode_responses=True, **self.options)
        try:
            yield client
        finally:
            client.connection_pool.disconnect()  # client.close() does not, up to redis-py 4

    def blocked(self):
        """Count the connections that wait at the server for an item."""
        with self.ask() as client:
            return client.info("clients")["blocked_clients"]

    async def echo(self, conn, token):
        return await conn.echo(token)

    async def stall(self, conn):
        return await conn.blpop(unique("nothing"), timeout=10)

    async def cut(self, conn):
        host, port = conn.connection_pool.session._transport.get_extra_info("sockname")
        with self.ask() as client:
            client.client_kill_filter(addr=f"{host}:{port}")

    async def seen(self):
        with self.ask() as client:
            return len(client.client_list()) - 1

    async def session(self, conn):
        info = await conn.execute_command("CLIENT INFO")
        fields = info if isinstance(info, dict) else dict(field.partition("=")[::2] for field in info.split())
        return {name: fields[name] for name in SESSION}

    async def reconnect(self):
        pass  # it connects for each question


async def echo(conn, token):
    return await conn.echo(token), token


async def set_and_get(conn, token):
    await conn.set(token, token, ex=1)
    return await conn.get(token), token


async def gather(conn, token):
    return await asyncio.gather(*(conn.echo(f"{token} {n}") for n in range(3))), [f"{token} {n}" for n in range(3)]


async def pipeline(conn, token):
    pipe = conn.pipeline(transaction=False)
    for n in range(3):
        pipe.echo(f"{token} {n}")
    return await pipe.execute(), [f"{token} {n}" for n in range(3)]


async def transaction(conn, token):
    return await conn.pipeline().set(token, token, ex=1).get(token).execute(), [True, token]


async def watched_transaction(conn, token):
    async with conn.pipeline() as pipe:
        await pipe.watch(token)
        before = await pipe.get(token)
        pipe.multi()
        return [before, await pipe.set(token, token, ex=1).execute()], [None, [True]]


async def blpop(conn, token):
    return await conn.blpop(token, timeout=1), None


async def push_and_blpop(conn, token):
    await conn.rpush(token, token)
    return list(await conn.blpop(token)), [token, token]


OPERATIONS = [echo, set_and_get, gather, pipeline, transaction, watched_transaction, blpop, push_and_blpop]


async def forgotten_reply(conn):
    """Send a command whose reply nobody reads."""
    connection = await conn.connection_pool.get_connection("_")
    await connection.send_command("ECHO", "forgotten")
    await conn.connection_pool.release(connection)


DIRT = {
    "MULTI": lambda conn: conn.execute_command("MULTI"),
    "WATCH": lambda conn: conn.execute_command("WATCH", "key"),
    "SELECT": lambda conn: conn.select(3),
    "SUBSCRIBE": lambda conn: conn.pubsub().subscribe("channel"),
    "PSUBSCRIBE": lambda conn: conn.pubsub().psubscribe("channel.*"),
    "CLIENT SETNAME": lambda conn: conn.client_setname("somebody"),
    "CLIENT NO-EVICT": lambda conn: conn.execute_command(b"client", b"no-evict", b"on"),
    "MONITOR": lambda conn: conn.monitor().connect(),
    "QUIT": lambda conn: conn.execute_command("QUIT"),
    "RESET": lambda conn: conn.execute_command("RESET"),
    "forgotten reply": forgotten_reply,
}
