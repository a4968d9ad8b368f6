"""What a pool tells its observers: one immutable object for each thing that happens.

Each has the name of its pool in `pool`; times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asyncio_connection_pool._errors import Stage
from asyncio_connection_pool._stats import CloseReason

__all__ = (
    "Acquired",
    "Bursting",
    "Closed",
    "CreateFailed",
    "Created",
    "Rejected",
    "Released",
    "Reset",
    "TimedOut",
)


@dataclass(frozen=True, slots=True)
class Acquired:
    """A caller has got its connection."""

    pool: str
    waited: float
    """Seconds in the queue; 0 where a connection was idle."""
    how: Literal["at_once", "after_waiting", "after_opening"]
    """From the idle ones; given back by another caller; or fresh from `create_connection`."""


@dataclass(frozen=True, slots=True)
class Released:
    """A caller has given its connection back, whatever becomes of that."""

    pool: str
    held: float
    """Seconds from entry to exit of its block."""


@dataclass(frozen=True, slots=True)
class Created:
    """`create_connection` has yielded a connection."""

    pool: str
    seconds: float
    """How long that took."""


@dataclass(frozen=True, slots=True)
class CreateFailed:
    """`create_connection` raised, or took longer than `connect_timeout`."""

    pool: str
    seconds: float
    """How long it ran."""
    error: BaseException
    """What it raised, or the `PoolTimeoutError` where it took too long."""


@dataclass(frozen=True, slots=True)
class Reset:
    """`reset_connection` has brought a connection back that a caller had used.

    Not told of a reset that failed or was cancelled: its connection is `Closed`.
    """

    pool: str
    seconds: float
    """For how long the connection served nobody, from its return until it could be handed out again."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection leaves the pool, and is being closed."""

    pool: str
    reason: CloseReason
    """See `PoolStats.closed`."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A caller's own time ran out."""

    pool: str
    seconds: float
    """The timeout that it had."""
    stage: Stage
    """What it was waiting for."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A caller was refused with a `PoolOverloadedError`."""

    pool: str
    by: Literal["max_waiting", "queue_policy"]
    """The option that refused it."""


@dataclass(frozen=True, slots=True)
class Bursting:
    """A burst has begun (more than `max_size` are open), has reached the limit, or has ended.

    Told once per burst each, in a pool that has a `burst_limit`.
    """

    pool: str
    phase: Literal["began", "limit_reached", "ended"]
    """Which of the three."""
    size: int
    """Connections that were open in that moment."""
    max_size: int
    burst_limit: int
