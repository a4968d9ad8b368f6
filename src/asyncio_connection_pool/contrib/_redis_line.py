"""The line of a member: a subscription, by which a Valkey or a Redis knows who is frozen from who is dead."""

from __future__ import annotations

import logging
from typing import Any, Final

from redis.asyncio import ConnectionPool, RedisCluster
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError, ResponseError

log = logging.getLogger("asyncio_connection_pool")

CONNECT_SECONDS: Final = 2.0
"""Seconds that a connection to the coordinator may take to be dialled, where a URL was given."""


class Line:
    """A subscription on the server that has the keys, where the script looks for it.

    A server counts its own subscribers only. So in a cluster the line goes to the master that owns the keys, and
    follows them when another one does; redis-py's own subscriptions there stay where they are, if it has any.

    Args:
        client: A `redis.asyncio.Redis` or `redis.asyncio.RedisCluster`.
        key: One of the keys.
        channel: What is subscribed to.
    """

    def __init__(self, client: Any, key: str, channel: str) -> None:
        """Dial nothing yet."""
        self._client = client
        self._key = key
        self._channel = channel
        self._node: str | None = None
        self._pubsub: Any = None
        self._own_pool: Any = None
        self._refused = False

    @property
    def is_astray(self) -> bool:
        """Whether the keys are on another server than the last subscription."""
        return self._is_clustered and self._node != self._find().name

    @property
    def _is_clustered(self) -> bool:
        return isinstance(self._client, RedisCluster)

    async def hold(self) -> None:
        """Subscribe, or see that the subscription stands. One that the server refuses is not tried again."""
        if self._refused:
            return
        if self.is_astray:
            await self.close()
        patience = CONNECT_SECONDS if self._pubsub is None else 0.0
        try:
            await self._subscribe(patience)
        except ResponseError as error:
            self._refused = True
            log.warning("no subscription to %s: whoever is frozen is taken for dead: %r", self._channel, error)

    async def try_to_hold(self) -> None:
        """Do that, as far as can be known: a client of a cluster learns that keys have moved when it asks for them."""
        if not self._is_clustered:
            return await self.hold()
        await self._client.initialize()
        try:
            await self.hold()
        except (RedisError, OSError):
            await self.close()

    async def _subscribe(self, patience: float) -> None:
        if self._pubsub is None:
            self._pubsub = self._make()
        await self._pubsub.subscribe(self._channel)
        while await self._pubsub.get_message(timeout=patience) is not None:
            patience = 0.0

    def _make(self) -> Any:
        if not self._is_clustered:
            return self._client.pubsub()
        node = self._find()
        self._node = node.name
        self._own_pool = ConnectionPool(connection_class=node.connection_class, **node.connection_kwargs)
        return PubSub(self._own_pool)

    def _find(self) -> Any:
        return self._client.get_node_from_key(self._key)

    async def close(self) -> None:
        """End the subscription."""
        pubsub, self._pubsub = self._pubsub, None
        pool, self._own_pool = self._own_pool, None
        self._node = None
        if pubsub is not None:
            await close(pubsub)
        if pool is not None:
            await pool.disconnect()


async def close(thing: Any) -> None:
    """Close what redis-py calls so, in any of its versions."""
    await (getattr(thing, "aclose", None) or thing.close)()
