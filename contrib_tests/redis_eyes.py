"""What a Redis server itself says of its connections, asked over a connection that is not counted."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable

import redis

from asyncio_connection_pool.contrib.redis import RedisConnectionStrategy
from strategy_contract import SOON


class Eyes:
    """Sees the connections that the strategies made here have open, and nobody else's."""

    def __init__(self, url):
        self.url = url
        self.label = f"pooled-{uuid.uuid4().hex}"
        self.ask = redis.Redis.from_url(url, decode_responses=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ask.close()
        self.ask.connection_pool.disconnect()

    def strategy(self, url=None, **options):
        """Make a strategy whose connections carry a label that tells them from all others."""
        options = {"client_name": self.label, "decode_responses": True, **options}
        return RedisConnectionStrategy.from_url(url or self.url, **options)

    def open_connections(self):
        """Return what the server lists of the labelled connections."""
        return [client for client in self.ask.client_list() if client["name"] == self.label]

    def ids(self):
        """Return the server's ids of the labelled connections."""
        return {client["id"] for client in self.open_connections()}

    def cut(self):
        """Have the server close every labelled connection."""
        for client in self.open_connections():
            self.ask.client_kill_filter(_id=client["id"])


async def until(condition: Callable[[], object], seconds: float = SOON):
    """Let the loop run until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.001)
