"""What a pool says of itself: one immutable snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

CloseReason = Literal[
    "surplus",
    "dead",
    "dirty",
    "discarded",
    "reset_failed",
    "validation_failed",
    "expired",
    "worn_out",
    "idle",
    "evicted",
    "revoked",
    "broken_off",
    "pool_closed",
    "forgotten",
]
"""Why a connection left the pool; see `PoolStats.closed`."""

CLOSE_REASONS: tuple[CloseReason, ...] = get_args(CloseReason)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot of a pool, taken in constant time by `ConnectionPool.stats()`.

    The counts by state add up to `size`, which is never above `limit` (C1) but
    right after the limit was lowered. The totals run since the pool was built.
    """

    name: str
    """The pool's name."""
    max_size: int
    """Connections that are kept when nobody needs them."""
    burst_limit: int | None
    """Connections that may be open under load, where that is more."""
    limit: int
    """Connections that may be open at all, `burst_limit` where set, else `max_size`."""
    min_size: int
    """Connections that are kept open even when nobody needs them."""

    idle: int
    """Connections at rest, ready to be handed out."""
    in_use: int
    """Connections handed out."""
    opening: int
    """Connections that `create_connection` is opening."""
    validating: int
    """Idle connections that are being proven alive before they are handed out."""
    resetting: int
    """Returned connections that `reset_connection` is cleaning."""
    closing: int
    """Connections that are being closed; the server may still see them."""
    size: int
    """Slots that are taken, by connections in any of these states."""
    waiting: int
    """Callers in the queue."""

    acquired_at_once: int
    """Acquisitions served from the idle connections, without waiting."""
    acquired_after_waiting: int
    """Acquisitions that waited and got a connection that somebody gave back."""
    acquired_after_opening: int
    """Acquisitions that waited and got a connection fresh from `create_connection`."""
    released: int
    """Acquisitions that have ended."""
    created: int
    """Connections that `create_connection` has yielded."""
    create_failures: int
    """Calls of `create_connection` that raised, or that `connect_timeout` broke off."""
    closed: Mapping[CloseReason, int]
    """Connections that left the pool, by reason.

    `surplus` (above `max_size` and not needed), `dead` (`connection_is_closed` said so),
    `dirty` (`connection_is_reusable` said no), `discarded` (by `discard()`), `reset_failed`,
    `validation_failed`, `expired` (`max_lifetime`), `worn_out` (`max_uses`), `idle`
    (`max_idle`), `evicted` (by `evict()`), `revoked` (its permit was, by the `burst_budget`),
    `broken_off` (opened after all, but later than `connect_timeout`), `pool_closed`, `forgotten`
    (its event loop was closed, or the process forked).
    """
    timeouts: int
    """Acquisitions that ended in a `PoolTimeoutError` of their own `timeout`."""
    rejections: int
    """Acquisitions that `max_waiting` or a `queue_policy` refused."""
    would_be_rejections: int
    """Acquisitions that a `queue_policy` which only observes would have refused."""
    wait_seconds_total: float
    """Seconds that served acquisitions have waited, in all."""
    wait_seconds_max: float
    """Seconds that the served acquisition that waited longest has waited."""

    @property
    def acquired(self) -> int:
        """Acquisitions that were served, at once or later."""
        return self.acquired_at_once + self.acquired_after_waiting + self.acquired_after_opening


@dataclass(slots=True)
class Totals:
    """The running totals of a pool, as its ledger keeps them; see `PoolStats`."""

    acquired_after_waiting: int = 0
    acquired_after_opening: int = 0
    created: int = 0
    create_failures: int = 0
    closed: dict[CloseReason, int] = field(default_factory=lambda: dict.fromkeys(CLOSE_REASONS, 0))
    timeouts: int = 0
    rejections: int = 0
    would_be_rejections: int = 0
    wait_seconds_total: float = 0.0
    wait_seconds_max: float = 0.0

    def fields(self, at_once: int, *, unreleased: int) -> dict[str, Any]:
        """Give the totals as arguments for `PoolStats`.

        Args:
            at_once: Acquisitions that did not wait, which the ledger counts itself.
            unreleased: Acquisitions that have begun and not ended. What was released
                follows from it, so that nobody has to count it on the fast path.
        """
        totals = {name: getattr(self, name) for name in self.__slots__}
        totals["closed"] = self.closed.copy()
        acquired = at_once + self.acquired_after_waiting + self.acquired_after_opening
        return totals | {"released": acquired - unreleased}
