"""aioredis, as the shared tests see it. The server is asked over connections of aioredis's own."""

from __future__ import annotations

import aioredis

from asyncio_connection_pool.contrib.aioredis import RedisConnectionStrategy
from strategy_contract import Driver, unique


async def client_list(conn):
    """Read the server's ``CLIENT LIST``, which has grown since aioredis's own parser was written."""
    lines = await conn.execute("CLIENT", "LIST", encoding="utf-8")
    return [dict(field.partition("=")[::2] for field in line.split()) for line in lines.splitlines()]


class AioredisDriver(Driver):
    """A driver for the server at a port of this machine."""

    def __init__(self, port, **options):
        self.port = port
        self.options = options
        self.dirt = DIRT
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
        return await conn.blpop(unique("nothing"), timeout=2)

    async def cut(self, conn):
        number = await conn.execute("CLIENT", "ID")
        await self.ask("CLIENT", "KILL", "ID", number)

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
