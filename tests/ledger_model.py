"""A second account of a pool, written from the contract: plain lists, and everything counted anew when asked.

It decides what the ledger has to decide, by the slowest and plainest means there are.
"""

from __future__ import annotations

import math
from collections import Counter

from asyncio_connection_pool._stats import CLOSE_REASONS

STATES = {
    "opening": "opening",
    "given up": "closing",  # an open that was broken off, and still runs
    "idle": "ready",
    "in use": "ready",
    "handed": "ready",  # its caller has not taken its next step yet
    "resetting": "resetting",
    "validating": "validating",
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
        self.date = 0.0  # since when it is idle, for the policies that ask for it
        self.expires = math.inf
        self.fate = "expired"
        self.uses = 0
        self.taken = -math.inf


class Watch:
    """What `CoDel` promises, from the list of all that happened to the queue."""

    def __init__(self, policy):
        self.policy = policy
        self.long = []  # turns since the last short one at which a caller had waited for longer than the target
        self.overload = []  # when it began, and each refusal since; or nothing

    def somebody_had_not_to_wait(self):
        self.long = []

    def refuses(self, waited, now):
        """Is the caller whose turn it is too late?"""
        if self.overload and now >= self.overload[-1] + self.policy.interval:
            self.overload, self.long = [], []
        self.long = [*self.long, now] if waited > self.policy.target else []
        if self.long and not self.overload and now >= self.long[0] + self.policy.interval:
            self.overload = [now]
        late = bool(self.overload) and waited > 2 * self.policy.target
        self.overload += [now] * late
        return late


class Model:
    """What is true of the pool."""

    def __init__(self, max_size, burst_limit, *, max_waiting, max_connecting, policies, queue_policy, plain):
        self.max_size = max_size
        self.burst_limit = burst_limit
        self.max_waiting = max_waiting
        self.max_connecting = max_connecting
        self.policies = policies
        self.queue_policy = queue_policy
        self.watch = queue_policy and Watch(queue_policy)
        self.plain = plain and not self.ages
        self.calm = False  # since the last connection came to rest nothing has changed that a return has to look at
        self.fills = False
        self.paused = False
        self.allowance = None
        self.changed = 0.0  # when the limits were
        self.queue_since = 0.0
        self.shut = False
        self.links = []
        self.stack = []
        self.line = []
        self.totals = Counter()
        self.closed = dict.fromkeys(CLOSE_REASONS, 0)
        self.waits = [0.0]

    @property
    def ages(self):
        """Does a connection that is returned have to be looked at for its age, its uses, or the time?"""
        policies = self.policies
        given = (policies.max_lifetime, policies.max_uses, policies.max_idle, policies.validate_after)
        return any(value is not None for value in given)

    @property
    def careful(self):
        """Does an idle connection have to be looked at before it is handed out?"""
        return self.policies.max_lifetime is not None or self.policies.validate_after is not None

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
        for most in (self.max_connecting, self.allowance):
            if most is not None:
                free = min(free, most - len(self.at("opening", "given up")))
        return max(free, 0)

    @property
    def supply(self):
        """Connections in flight that were begun for the queue."""
        return len(self.at("opening", "validating"))

    @property
    def lacks(self):
        return self.fills and self.held < self.policies.min_size

    @property
    def full(self):
        least = min(self.policies.min_size, self.limit)
        return len(self.at("idle", "in use", "handed", "resetting", "validating")) >= least

    @property
    def surplus_due(self):
        if self.held <= self.max_size or not self.stack:
            return None
        return max(self.stack[0].date, self.changed) + self.policies.shrink_delay

    @property
    def idle_due(self):
        longest = self.policies.max_idle
        spared = longest is None or self.held <= self.policies.min_size or not self.stack
        return None if spared else self.stack[0].date + longest

    @property
    def burst_due(self):
        """When the next caller for whom to open has waited long enough, if it waits for just that."""
        delay = self.policies.burst_delay
        if not delay or len(self.links) < self.max_size or not self.may_open() or not self.live:
            return None
        return self.open_for().since + delay

    def stale(self, link, now):
        after = self.policies.validate_after
        return after is not None and now - link.date > after

    def held_for(self, now, most):
        """For how long each of those longest in use is held: since it was handed over, or since there is a queue."""
        if not self.line or self.stack:
            return []
        since = [(max(link.taken, self.queue_since), link.taken < self.queue_since) for link in self.at("in use")]
        return sorted(((now - when, older) for when, older in since), reverse=True)[:most]

    # Callers.

    def take(self, now):
        """The last that was used comes first (C4), unless it has to be validated before."""
        if not self.stack or self.stale(self.stack[-1], now):
            return None
        self.totals["acquired_at_once"] += 1
        link = self.stack.pop()
        link.place = "in use"
        if self.careful:
            self.look_at_age(link, now)
        return link

    def untake(self):
        """Nobody was served after all."""
        self.totals["acquired_at_once"] -= 1

    def refusals(self, *, patient):
        """The answers that are right for a newcomer; they differ only in a tick in which somebody was cancelled."""
        if self.shut:
            return {"closed"}
        if not patient:
            return {"not now"}
        if self.max_waiting is None:
            return {None}
        opened_for = self.supply + self.room + len(self.stack)
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
        link.taken = now
        self.waits.append(now - caller.since)
        return True

    # Connections.

    def must_validate(self):
        return bool(self.stack) and len(self.live) > self.supply

    def may_validate(self):
        return bool(self.stack) and len(self.line) > self.supply

    def must_open(self, now):
        due = self.burst_due
        return self.room > 0 and len(self.live) > self.supply and (due is None or due <= now)

    def may_open(self):
        """A caller cancelled in the very tick may cost one open too many (C6)."""
        return self.room > 0 and len(self.line) > self.supply

    def must_fill(self):
        return self.room > 0 and not self.shut and self.lacks and not self.paused

    def open_for(self):
        """The first on whose behalf none was opened yet, else the first of all (C5)."""
        return next((caller for caller in self.live if not caller.opened_for), self.live[0])

    def reserve(self, slot):
        link = Link(slot)
        self.links.append(link)
        self.calm = False
        return link

    def release(self, link):
        """Its block has ended."""
        self.totals["released"] += 1

    def wear(self, link, now):
        link.uses += 1
        if self.policies.max_uses is not None and link.uses >= self.policies.max_uses:
            link.doom = link.doom or "worn_out"
        self.look_at_age(link, now)

    def look_at_age(self, link, now):
        if link.expires <= now:
            link.doom = link.doom or link.fate

    def limit_life(self, link, expires, fate):
        sooner = expires < link.expires
        if sooner:
            link.expires, link.fate = expires, fate
        return sooner

    def retire(self, link):
        """Its time has come."""
        if link.place == "closing":
            return False
        link.doom = link.doom or link.fate
        idle = link.place == "idle"
        if idle:
            self.stack.remove(link)
            self.begin_close(link, link.fate)
        return idle

    def may_put_back(self, link):
        assert not self.calm or (self.plain and not self.line and self.held <= self.max_size)
        return self.calm and link.doom is None

    def rest(self, link, now):
        link.place = "idle"
        link.fresh = False
        link.rests = now
        self.stack.append(link)

    def first_in_time(self, now):
        """Take the first that waits, and all before it that have waited too long.

        Returns:
            The one to serve, and those to refuse.
        """
        late = []
        while (caller := self.first()) is not None and self.watch and self.watch.refuses(now - caller.since, now):
            if self.queue_policy.observe:
                self.totals["would_be_rejections"] += 1
                break
            self.totals["rejections"] += 1
            late.append(caller)
        if caller is None and self.watch:
            self.watch.somebody_had_not_to_wait()
        return caller, late

    def place(self, link, now):
        """Close it, or give it to the first who waits, or keep it (C3, C8, C9); and say who is refused."""
        if link.doom or self.held > self.limit:
            return self.begin_close(link, link.doom or "surplus"), []
        caller, late = self.first_in_time(now)
        return self.use(link, caller, now), late

    def use(self, link, caller, now):
        if caller is not None:
            link.place = "handed"
            caller.link = link
            return caller
        if self.held > self.max_size and not self.policies.shrink_delay:
            return self.begin_close(link, "surplus")
        self.rest(link, now)
        self.calm = self.plain and self.held <= self.max_size
        return None

    def sheds(self):
        """Would one that is returned now be closed as surplus (C8)? Asked within the limit only."""
        return not self.line and self.held > self.max_size and not self.policies.shrink_delay

    def begin_close(self, link, reason):
        link.place = "closing"
        self.closed[reason] += 1
        return reason

    def dates(self):
        """Does it matter since when the last is idle?"""
        policies = self.policies
        always = policies.max_idle is not None or policies.validate_after is not None
        return always or bool(policies.shrink_delay and self.surplus_due is not None)

    def pop_surplus(self, now):
        """The one that was used longest ago goes first; above the limit, there is no delay."""
        if self.surplus_due is None or (self.surplus_due > now and self.held <= self.limit):
            return None
        return self.pop_oldest("surplus")

    def pop_idle(self, now):
        return None if self.idle_due is None or self.idle_due > now else self.pop_oldest("idle")

    def pop_oldest(self, reason):
        link = self.stack.pop(0)
        self.begin_close(link, reason)
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
        self.paused, self.allowance = False, None
        self.watch = self.queue_policy and Watch(self.queue_policy)
        return connected

    # Reading.

    def stats(self):
        """What `PoolStats` has to say, field by field."""
        totals = ("acquired_at_once", "acquired_after_waiting", "acquired_after_opening", "released")
        totals += ("created", "create_failures", "timeouts", "rejections", "would_be_rejections")
        return {
            "max_size": self.max_size,
            "burst_limit": self.burst_limit,
            "limit": self.limit,
            "idle": len(self.at("idle")),
            "in_use": len(self.at("in use", "handed")),
            "opening": len(self.at("opening")),
            "validating": len(self.at("validating")),
            "resetting": len(self.at("resetting")),
            "closing": len(self.at("closing", "given up")),
            "size": len(self.links),
            "waiting": len(self.line),
            **{name: self.totals[name] for name in totals},
            "closed": self.closed,
            "wait_seconds_total": sum(self.waits),
            "wait_seconds_max": max(self.waits),
        }
