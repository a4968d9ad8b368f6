"""For those who write a strategy, or test code that uses a pool.

`VirtualTimeLoop` runs hours of timeouts in no time, and turns a lost wake-up into an error. `FakeStrategy` opens
connections to nowhere, and fails, dawdles or hangs as it is told to, by a `Gate` if need be. `check_strategy` holds a
strategy to its part of the contract, against the real server.
"""

from asyncio_connection_pool.testing._cancel import cancel_at
from asyncio_connection_pool.testing._contract import check_strategy
from asyncio_connection_pool.testing._fakes import (
    NEVER,
    Behaviour,
    FakeConnection,
    FakeStrategy,
    FullFakeStrategy,
    Gate,
)
from asyncio_connection_pool.testing._time import Deadlock, VirtualTimeLoop, run

__all__ = (
    "NEVER",
    "Behaviour",
    "Deadlock",
    "FakeConnection",
    "FakeStrategy",
    "FullFakeStrategy",
    "Gate",
    "VirtualTimeLoop",
    "cancel_at",
    "check_strategy",
    "run",
)
