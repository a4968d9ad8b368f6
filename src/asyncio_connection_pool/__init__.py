"""A generic, high-throughput, optionally burstable pool for asyncio."""

from asyncio_connection_pool._budget import Borrower, BurstBudget
from asyncio_connection_pool._codel import CoDel
from asyncio_connection_pool._errors import (
    PoolClosedError,
    PoolError,
    PoolOverloadedError,
    PoolTimeoutError,
)
from asyncio_connection_pool._observe import PoolObserver
from asyncio_connection_pool._outage import Reconnect
from asyncio_connection_pool._pool import ConnectionPool
from asyncio_connection_pool._stats import PoolStats
from asyncio_connection_pool._strategy import ConnectionStrategy

__all__ = (
    "Borrower",
    "BurstBudget",
    "CoDel",
    "ConnectionPool",
    "ConnectionStrategy",
    "PoolClosedError",
    "PoolError",
    "PoolObserver",
    "PoolOverloadedError",
    "PoolStats",
    "PoolTimeoutError",
    "Reconnect",
)
