"""What a pool raises of its own; a strategy's exceptions are never wrapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from asyncio_connection_pool._stats import PoolStats

Stage = Literal["waiting", "opening", "validating"]
"""What was going on when the time ran out."""


class PoolError(Exception):
    """Base of the errors that the pool itself raises."""


class PoolClosedError(PoolError):
    """The pool is closed: it serves nobody any more."""


class PoolOverloadedError(PoolError):
    """The queue is as long as `max_waiting` allows, or as slow as a `queue_policy` does."""


class PoolTimeoutError(PoolError, TimeoutError):
    """No connection in time. `stage` says what was being waited for.

    Where connections could not be opened of late, the last such failure is the
    `__cause__`.
    """

    stage: Stage
    """What was being waited for, a connection (`waiting`), its opening or its validation."""

    def __init__(self, *args: object, stage: Stage = "waiting") -> None:
        """Keep the message and the stage."""
        super().__init__(*args)
        self.stage = stage


def numbers(stats: PoolStats) -> str:
    """Say where the slots and the callers are, for a message."""
    rare = {"validating": stats.validating, "resetting": stats.resetting, "closing": stats.closing}
    others = "".join(f"{state} {number} / " for state, number in rare.items() if number)
    return (
        f"in use {stats.in_use} / idle {stats.idle} / opening {stats.opening} / {others}"
        f"waiting {stats.waiting} / limit {stats.limit}"
    )


def age(seconds: float) -> str:
    """Say how long something has lasted."""
    return "under 1 ms" if seconds < 0.001 else f"{seconds:.3g} s"  # noqa: PLR2004 - the unit


def pool_closed(stats: PoolStats) -> PoolClosedError:
    """Describe an acquisition from a pool that is closed."""
    return PoolClosedError(
        f"pool {stats.name!r} is closed ({numbers(stats)}): build a new pool, or close this one later"
    )


def pool_overloaded(stats: PoolStats, max_waiting: int | None) -> PoolOverloadedError:
    """Describe an acquisition that would make the queue too long."""
    return PoolOverloadedError(
        f"pool {stats.name!r} is overloaded: the queue may hold max_waiting="
        f"{max_waiting} ({numbers(stats)}): shed the load, or raise max_size, "
        "burst_limit or max_waiting"
    )


def queue_too_slow(stats: PoolStats, waited: float) -> PoolOverloadedError:
    """Describe a wait that was given up since the queue is overloaded."""
    return PoolOverloadedError(
        f"pool {stats.name!r} is overloaded: this caller had waited {waited:.3g} s when its turn came, and waits "
        f"have been too long for a while ({numbers(stats)}): shed the load, or raise max_size, burst_limit or "
        "the target of the queue_policy"
    )


_ADVICE: dict[Stage, str] = {
    "waiting": ("hold connections for shorter, or raise max_size, burst_limit or the timeout"),
    "opening": "look at the server and the network, or raise the timeout",
    "validating": "look at the server and the network, or raise the timeout",
}


def pool_timeout(
    stats: PoolStats,
    seconds: float,
    stage: Stage,
    last_failure: BaseException | None,
    holders: str = "",
) -> PoolTimeoutError:
    """Describe a wait that took too long, caused by `last_failure` if there is one.

    Args:
        stats: The pool.
        seconds: The time that ran out.
        stage: What was being waited for.
        last_failure: Why the last open failed, if it did.
        holders: Who holds the connections, or for how long.
    """
    cause = "" if last_failure is None else f"; last connect error: {last_failure!r}"
    error = PoolTimeoutError(
        f"pool {stats.name!r} had no connection within {seconds:g} s, stage: {stage} "
        f"({numbers(stats)}){holders}{cause}: {_ADVICE[stage]}",
        stage=stage,
    )
    error.__cause__ = last_failure
    return error


def deadlock(stats: PoolStats, holders: str) -> PoolError:
    """Describe an acquisition that could only ever wait for its own caller."""
    return PoolError(
        f"pool {stats.name!r} is deadlocked: every connection is held by a task that itself waits for one "
        f"({numbers(stats)}; held by {holders}): don't acquire inside a block that holds a connection, or "
        "raise max_size or burst_limit"
    )


def connect_timeout(stats: PoolStats, seconds: float) -> PoolTimeoutError:
    """Describe an open that was given up after so many seconds."""
    return PoolTimeoutError(
        f"pool {stats.name!r} had no connection within {seconds:g} s, its connect_timeout, stage: opening "
        f"({numbers(stats)}): look at the server and the network, or raise connect_timeout",
        stage="opening",
    )


def closed_at_birth(stats: PoolStats, times: int, raised: str) -> PoolError:
    """Describe a strategy whose new connections are never usable; `raised` is what `connection_is_closed` did."""
    says = f"connection_is_closed raised {raised}" if raised else "what connection_is_closed says of a new connection"
    return PoolError(
        f"pool {stats.name!r}: {times} connections in a row were closed as soon as "
        f"create_connection had returned them ({numbers(stats)}): look at the server, or at this: {says}"
    )


def not_a_coroutine(method: str, answer: object) -> TypeError:
    """Describe a method that has to be awaited, and gave something that can't be."""
    return TypeError(
        f"{method} must be a coroutine function; it returned {answer!r} of type {type(answer).__qualname__}"
    )
