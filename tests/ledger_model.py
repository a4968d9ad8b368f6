"""A second account of a pool, written from the contract: plain lists, and everything counted anew when asked.

It decides what the ledger has to decide, by the slowest and plainest means there are.
"""

from __future__ import annotations

from collections import Counter

from asyncio_connection_pool._stats import CLOSE_REASONS

STATES = {
    "opening": "opening",
    "given up": "closing",  # an open that was broken off, and still runs
    "idle": "ready",
    "in use": "ready",
    "handed": "ready",  # its caller has not taken its next step yet
    "resetting": "resetting",
    "closing": "closing",
    "gone": "gone",
}
"""Where a connection is, and what the ledger calls that."""


class Promise:
    """As much of a future as a waiter needs, without an event loop."""

    def __init__(self):
        self._outcome = None

    def done(self):
        return self._outcome is not None

    def cancelled(self):
        return self._outcome == "cancelled"

    def cancel(self):
        self._settle("cancelled")

    def set_result(self, result):
        self._settle(("served", result))

    def set_exception(self, exception):
        self._settle(("refused", exception))

    def _settle(self, outcome):
        assert self._outcome is None, "a caller is answered once"
        self._outcome = outcome


class Caller:
    """Somebody who waits; `link` is what it was handed, if anything."""

    def __init__(self, waiter, since):
        self.waiter = waiter
        self.promise = waiter.future
        self.since = since
        self.link = None
        self.opened_for = False

    @property
    def live(self):
        return not self.promise.done()


class Link:
    """A connection, from the reservation of its slot to the end; `lease` is its block, if it is in one."""

    def __init__(self, slot):
        self.slot = slot
        self.lease = None
        self.place = "opening"
        self.doom = None
        self.fresh = True
        self.rests = 0.0  # since when it is idle
        self.date = 0.0  # since when it is surplus


class Model:
    """What is true of the pool."""

    def __init__(self, max_size, burst_limit, *, max_waiting, max_connecting, keeps_surplus, plain):
        self.max_size = max_size
        self.burst_limit = burst_limit
        self.max_waiting = max_waiting
        self.max_connecting = max_connecting
        self.keeps_surplus = keeps_surplus
        self.plain = plain
        self.shut = False
        self.links = []
        self.stack = []
        self.line = []
        self.totals = Counter()
        self.closed = dict.fromkeys(CLOSE_REASONS, 0)
        self.waits = [0.0]

    # Counting.

    def at(self, *places):
        return [link for link in self.links if link.place in places]

    @property
    def limit(self):
        return self.max_size if self.burst_limit is None else self.burst_limit

    @property
    def held(self):
        """C8's sum: every connection but those on their way out."""
        return len(self.links) - len(self.at("closing", "given up"))

    @property
    def live(self):
        """Those who wait; others in the line were cancelled in this very tick."""
        return [caller for caller in self.line if caller.live]

    @property
    def room(self):
        """How many more connections could be opened now (C1)."""
        free = self.limit - len(self.links)
        if self.max_connecting is not None:
            free = min(free, self.max_connecting - len(self.at("opening", "given up")))
        return max(free, 0)

    @property
    def surplus_since(self):
        return self.stack[0].date if self.held > self.max_size and self.stack else None

    # Callers.

    def take(self):
        """The last that was used comes first (C4)."""
        if not self.stack:
            return None
        self.totals["acquired_at_once"] += 1
        link = self.stack.pop()
        link.place = "in use"
        return link

    def refusals(self, *, patient):
        """The answers that are right for a newcomer; they differ only in a tick in which somebody was cancelled."""
        if self.shut:
            return {"closed"}
        if not patient:
            return {"not now"}
        if self.max_waiting is None:
            return {None}
        opened_for = len(self.at("opening")) + self.room
        queues = {len(waiting) + 1 - opened_for > self.max_waiting for waiting in (self.live, self.line)}
        return {"overloaded" if too_many else None for too_many in queues}

    def refuse(self, refusal):
        self.totals["timeouts"] += refusal == "not now"
        self.totals["rejections"] += refusal == "overloaded"

    def first(self):
        """Take the caller that has waited longest out of the line, and all before it, who were cancelled (C3)."""
        while self.line:
            caller = self.line.pop(0)
            if caller.live:
                return caller
        return None

    def leave(self, caller):
        """Was the caller in the line still?"""
        there = caller in self.line
        if there:
            self.line.remove(caller)
        return there

    def accept(self, caller, now):
        """One whose connection was taken away in the same tick gets an error, and nothing is counted."""
        link = caller.link
        if link.place == "gone":
            return False
        link.place = "in use"
        self.totals["acquired_after_opening" if link.fresh else "acquired_after_waiting"] += 1
        link.fresh = False
        self.waits.append(now - caller.since)
        return True

    # Connections.

    def must_open(self):
        return self.room > 0 and len(self.live) > len(self.at("opening"))

    def may_open(self):
        """A caller cancelled in the very tick may cost one open too many (C6)."""
        return self.room > 0 and len(self.line) > len(self.at("opening"))

    def open_for(self):
        """The first on whose behalf none was opened yet, else the first of all (C5)."""
        return next((caller for caller in self.live if not caller.opened_for), self.live[0])

    def reserve(self, slot):
        link = Link(slot)
        self.links.append(link)
        return link

    def release(self, link):
        """Its block has ended."""
        self.totals["released"] += 1

    def may_put_back(self, link):
        return self.plain and not self.line and link.doom is None and self.held <= self.max_size

    def rest(self, link, now):
        link.place = "idle"
        link.fresh = False
        link.rests = now
        self.stack.append(link)

    def place(self, link, now):
        """Close it, or give it to the first who waits, or keep it (C3, C8, C9)."""
        if link.doom or self.held > self.limit:
            return self.begin_close(link, link.doom or "surplus")
        caller = self.first()
        if caller is not None:
            link.place = "handed"
            caller.link = link
            return caller
        if self.held > self.max_size and not self.keeps_surplus:
            return self.begin_close(link, "surplus")
        self.rest(link, now)
        return None

    def sheds(self):
        """Would one that is returned now be closed as surplus (C8)? Asked within the limit only."""
        return not self.line and self.held > self.max_size and not self.keeps_surplus

    def begin_close(self, link, reason):
        link.place = "closing"
        self.closed[reason] += 1
        return reason

    def date(self, links, now):
        if self.surplus_since is None:
            return False
        for link in links:
            link.date = now
        return True

    def pop_surplus(self, since):
        """The one that was used longest ago goes first; above the limit, there is no delay."""
        if self.surplus_since is None or (self.surplus_since > since and self.held <= self.limit):
            return None
        link = self.stack.pop(0)
        self.begin_close(link, "surplus")
        return link

    def free(self, link, reason=None):
        if link.place == "in use" and reason in {"pool_closed", "forgotten"}:
            self.release(link)  # it was taken away from its holder
        link.place = "gone"
        self.links.remove(link)
        if reason is not None:
            self.closed[reason] += 1

    # The end.

    def close(self):
        self.shut = True
        waiters, self.line = self.live, []
        idle, self.stack = self.stack, []
        for link in idle:
            self.begin_close(link, "pool_closed")
        for link in self.links:
            link.doom = link.doom or "pool_closed"
        return waiters, idle

    def forget(self):
        """Give those that are open, for the shell to abort (C11); those that are closing were counted before."""
        connected = [link for link in self.links if link.place not in {"opening", "given up"}]
        for link in list(self.links):
            self.free(link, "forgotten" if link in connected and link.place != "closing" else None)
        self.stack, self.line = [], []
        return connected

    # Reading.

    def stats(self):
        """What `PoolStats` has to say, field by field."""
        totals = ("acquired_at_once", "acquired_after_waiting", "acquired_after_opening", "released")
        totals += ("created", "create_failures", "timeouts", "rejections")
        return {
            "max_size": self.max_size,
            "burst_limit": self.burst_limit,
            "limit": self.limit,
            "idle": len(self.at("idle")),
            "in_use": len(self.at("in use", "handed")),
            "opening": len(self.at("opening")),
            "validating": 0,
            "resetting": len(self.at("resetting")),
            "closing": len(self.at("closing", "given up")),
            "size": len(self.links),
            "waiting": len(self.line),
            **{name: self.totals[name] for name in totals},
            "closed": self.closed,
            "wait_seconds_total": sum(self.waits),
            "wait_seconds_max": max(self.waits),
        }
