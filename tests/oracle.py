"""What has to be true of a pool at every moment, whatever has happened to it."""

from __future__ import annotations

import math
from collections import Counter

from asyncio_connection_pool import ConnectionPool


def check(pool: ConnectionPool) -> None:
    """Count everything anew, and compare with what the ledger says (C1, C3, and its invariants)."""
    ledger = pool._ledger
    states = Counter(slot.state for slot in ledger.slots)
    stats = pool.stats()
    assert "gone" not in states
    assert len(ledger.slots) == ledger.held + ledger.closing == stats.size
    assert stats.size <= stats.limit, "C1"
    assert len(ledger.idle) == len(set(ledger.idle)) == stats.idle
    assert states["ready"] == stats.idle + stats.in_use
    assert states["opening"] == stats.opening
    assert states["resetting"] == stats.resetting
    assert states["validating"] == stats.validating
    assert states["closing"] == stats.closing
    parts = (stats.idle, stats.in_use, stats.opening, stats.validating, stats.resetting, stats.closing)
    assert stats.size == sum(parts)
    live = sum(waiter.live for waiter in ledger.queue._entries)
    assert live <= stats.waiting
    assert not ledger.idle or live <= stats.opening + stats.validating, "C3"
    assert not (ledger.idle and live) or ledger.policies.validate_after is not None, "C3"
    alive = stats.idle + stats.in_use + stats.resetting + stats.validating
    assert stats.created == sum(stats.closed.values()) + alive
    assert not ledger.calm or (not ledger.queue.length and ledger.held <= ledger.kept), "laid by too easily"
    connecting = ledger.opening + ledger.broken_off
    bounds = (most for most in (ledger.max_connecting, ledger.allowance) if most is not None)
    room = stats.size < ledger.limit and all(connecting < most for most in bounds)
    supplied = live <= stats.opening + stats.validating or not room
    assert pool.closed or supplied or ledger.burst_due is not None, "a waiter nobody opens for"
    in_pause = ledger.allowance == 0 and not pool.closed
    assert not in_pause or pool._supply.maintenance._retry_at < math.inf, "an outage that nobody looks at"


def check_settled(pool: ConnectionPool) -> None:
    """Nobody uses the pool, waits for it or works for it any more: nothing may be left over."""
    check(pool)
    stats = pool.stats()
    assert stats.in_use == stats.opening == stats.resetting == stats.validating == stats.closing == stats.waiting == 0
    assert stats.released == stats.acquired
    assert stats.idle <= stats.max_size or pool._ledger.policies.shrink_delay
