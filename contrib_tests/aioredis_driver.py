"""aioredis, as the shared tests see it. The server is asked over connections of aioredis's own."""

from __future__ import annotations

import asyncio

import aioredis

from asyncio_connection_pool.contrib.aioredis import RedisConnectionStrategy
from strategy_contract import Driver, unique


async def client_list(conn):
    """Read the server's ``CLIENT LIST``, which has grown since aioredis's own parser was written."""
    lines = await conn.execute("CLIENT", "LIST", encoding="utf-8")
    return [dict(field.partition("=")[::2] for field in line.split()) for line in lines.splitlines()]


class AioredisDriver(Driver):
    """A driver for the server at a port of this machine."""

    name = "aioredis 1.3.1"
    lost = (OSError, aioredis.RedisError)

    def __init__(self, port, **options):
        self.port = port
        self.options = options
        self.dirt = DIRT
        self.operations = OPERATIONS
        self.swallows = [transaction]  # aioredis waits for the replies, and forgets the cancellation
        self.refused = {
            "wrong password": (lambda: self.strategy(f"redis://:wrong@127.0.0.1:{self.port}"), aioredis.ReplyError),
            "wrong port": (lambda: self.strategy(("127.0.0.1", 1)), ConnectionRefusedError),
            "wrong host": (lambda: self.strategy("redis://nowhere.invalid/0"), OSError),
            "wrong database": (lambda: self.strategy(db=100_000), aioredis.ReplyError),
            "wrong URL": (lambda: self.strategy("gopher://127.0.0.1"), AssertionError),
        }

    def strategy(self, address=None, **options):
        options = {"encoding": "utf-8", **({} if address else self.options), **options}
        return RedisConnectionStrategy(address or ("127.0.0.1", self.port), **options)

    async def ask(self, *command, **options):
        """Send one command over a connection of its own."""
        conn = await aioredis.create_redis(("127.0.0.1", self.port), **self.options)
        try:
            return await conn.execute(*command, **options)
        finally:
            conn.close()
            await conn.wait_closed()

    async def echo(self, conn, token):
        return await conn.echo(token)

    async def stall(self, conn):
        return await conn.blpop(unique("nothing"), timeout=10)

    async def cut(self, conn):
        host, port = conn.connection._transport.get_extra_info("sockname")
        await self.ask("CLIENT", "KILL", f"{host}:{port}")

    async def reconnect(self):
        pass  # it connects for each question

    async def seen(self):
        conn = await aioredis.create_redis(("127.0.0.1", self.port), **self.options)
        try:
            return len(await client_list(conn)) - 1
        finally:
            conn.close()
            await conn.wait_closed()

    async def session(self, conn):
        info = await conn.execute("CLIENT", "INFO", encoding="utf-8")
        fields = dict(field.partition("=")[::2] for field in info.split())
        return {name: fields[name] for name in ("db", "sub", "psub", "multi", "watch", "name", "flags", "user")}


async def echo(conn, token):
    return await conn.echo(token), token


async def set_and_get(conn, token):
    await conn.set(token, token, expire=1)
    return await conn.get(token), token


async def gather(conn, token):
    return await asyncio.gather(*(conn.echo(f"{token} {n}") for n in range(3))), [f"{token} {n}" for n in range(3)]


async def pipeline(conn, token):
    pipe = conn.pipeline()
    for n in range(3):
        pipe.echo(f"{token} {n}")
    return await pipe.execute(), [f"{token} {n}" for n in range(3)]


async def transaction(conn, token):
    transaction = conn.multi_exec()
    transaction.set(token, token, expire=1)
    transaction.get(token)
    return await transaction.execute(), [True, token]


async def blpop(conn, token):
    return await conn.blpop(token, timeout=1), None


async def push_and_blpop(conn, token):
    await conn.rpush(token, token)
    return await conn.blpop(token), [token, token]


OPERATIONS = [echo, set_and_get, gather, pipeline, transaction, blpop, push_and_blpop]


async def half_a_pipeline(conn):
    pipe = conn.pipeline()
    pipe.get("key")
    refused = pipe.set("key", object())  # aioredis has written the head of this command by the time it refuses it
    await pipe.execute(return_exceptions=True)
    refused.exception()


async def forgotten(conn):
    """Send commands whose replies nobody waits for."""
    for n in range(3):
        conn.execute("ECHO", f"forgotten {n}")


DIRT = {
    "MULTI": lambda conn: conn.execute("MULTI"),
    "MULTI and a command": lambda conn: conn.execute("MULTI") and conn.execute("SET", "key", "value"),
    "WATCH": lambda conn: conn.watch("key"),
    "SELECT": lambda conn: conn.select(3),
    "SUBSCRIBE": lambda conn: conn.subscribe("channel"),
    "PSUBSCRIBE": lambda conn: conn.psubscribe("channel.*"),
    "CLIENT SETNAME": lambda conn: conn.client_setname("somebody"),
    "CLIENT NO-EVICT": lambda conn: conn.execute(b"client", b"no-evict", b"on"),
    "MONITOR": lambda conn: conn.execute("MONITOR"),
    "QUIT": lambda conn: conn.quit(),
    "half a pipeline": half_a_pipeline,
    "forgotten replies": forgotten,
}
