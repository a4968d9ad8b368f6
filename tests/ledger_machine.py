"""A machine that plays the shell of a pool to a ledger, and compares it with `ledger_model` after each call.

Each of its methods is one event of a pool's life: a caller comes, an open fails, a block ends. What it does is what
the shell owes the ledger; when it opens what the queue needs, for instance, is when the shell does.
"""

from __future__ import annotations

import math
import operator
from contextvars import copy_context

from hypothesis.stateful import RuleBasedStateMachine, invariant

from ledger_events import beginning, event
from ledger_model import Caller, Promise
from ledger_shell import Shell

CONTEXT = copy_context()
# Unhashable and false, and all equal; one of them is the connection of several blocks (one that multiplexes, say).
SAME = []
CONNECTIONS = [lambda: SAME, list]
WHICH = range(6)
SOME = range(1, 4)
EITHER = [False, True]
LIMITS = [(max_size, above) for max_size in (2, 3, 4, 1, 0) for above in (None, 1, 2, 0)]
POLICIES = [
    {},
    {"shrink_delay": 5},
    {"validate_after": 3},
    {"validate_after": 2, "max_lifetime": 20, "shrink_delay": 3},
    {"max_lifetime": 8},
    {"max_uses": 2},
    {"max_idle": 4, "min_size": 1},
    {"burst_delay": 3},
    {"burst_delay": 4, "min_size": 2, "validate_after": 4},
    {"min_size": 3},
    {"codel": {"target": 1, "interval": 3}},
    {"codel": {"target": 1, "interval": 5, "observe": True}},
]
OVERLOADS = [
    {"codel": {"target": 1, "interval": interval, "observe": observe}}
    for interval in (3, 5, 8)
    for observe in (False, False, True)
]
POOL = {
    "limits": LIMITS,
    "max_waiting": [None, None, 0, 2],
    "max_connecting": [None, 1, 2],
    "policies": POLICIES,
    "plain": [True, True, False],
    "busy": range(6),  # callers that are served at the beginning
}


def mostly(usual, *others):
    """Choose what is usual about as often as all the others together, and first where it is shrunk."""
    return [*[usual] * max(len(others), 3), *others]


RARELY = mostly(False, True)


def needs(*places):
    """Ask for a connection in one of these places."""
    return lambda self: self.model.at(*places)


def pick(which, items):
    return items[which % len(items)]


def as_limits(limits, min_size=0):
    """Make what a pool accepts as `max_size` and `burst_limit` of any two numbers."""
    max_size, above = limits
    max_size = max(max_size, min_size)
    if max_size == 0:
        return 0, max(above or 0, 1)
    return max_size, None if above is None else max_size + above


class Life(Shell):
    """What can happen to a ledger; subclasses say which classes they are about."""

    @beginning(**POOL)
    def build(self, *, limits, max_waiting, max_connecting, policies, plain, busy):
        codel = policies.get("codel")
        self.age = 0
        self.begin(
            as_limits(limits, policies.get("min_size", 0)),
            max_waiting=max_waiting,
            max_connecting=max_connecting,
            policies=self.Policies(**{name: value for name, value in policies.items() if name != "codel"}),
            queue_policy=codel and self.CoDel(**codel),
            plain=plain,
        )
        for _ in range(busy):
            self.come(patient=True, closed=0)
            self.all_goes_well(list)

    def after_each_event(self):
        ledger, model = self.ledger, self.model
        self.time_passes(1)
        self.age += 1
        if ledger.idle and model.live:
            assert all(model.stale(link, self.now) for link in model.stack), "C3"
            assert model.supply >= len(model.live), "C3"
        assert not model.must_open(self.now), "somebody waits, there is room, and nobody opens"
        if model.surplus_due is not None:
            assert model.policies.shrink_delay, "C8"
            assert model.held <= model.limit, "C8"
            for link in model.stack:
                assert max(link.slot.idle_since, ledger.changed_at) >= link.rests, "dated before it was surplus"

    def time_passes(self, seconds):
        """Begin what the clock alone makes due."""
        self.now += seconds
        policies = self.model.policies
        if policies.burst_delay or policies.min_size:
            self.refill()

    # Callers come.

    @event(
        lambda self: len(self.model.line) < 4 and (self.model.links or not self.model.shut),
        count=SOME,
        patient=mostly(True, False),
        closed=mostly(0, 1, 2),
    )
    def callers_come(self, count, patient, closed):
        for _ in range(count):
            self.come(patient=patient, closed=closed)

    def come(self, *, patient, closed):
        self.desk.closed = closed
        lease = self.lease(None)
        served = self.desk.run(lease.__aenter__())
        link = self.taken if self.desk._careful else self.model.take(self.now)
        assert served == (link is not None)
        if served:
            if self.model.watch:
                self.model.watch.somebody_had_not_to_wait()
            assert lease._slot is link.slot, "C4"
            link.lease = lease
            self.compare()
        else:
            self.wait(patient=patient)

    def wait(self, *, patient):
        refusals = self.model.refusals(patient=patient)
        refusal = self.ledger.refusal(patient=patient)
        assert refusal in refusals
        self.model.refuse(refusal)
        self.compare()
        if refusal is None:
            caller = Caller(self.Waiter(Promise(), CONTEXT, self.now), self.now)
            self.ledger.park(caller.waiter)
            if not self.model.line:
                self.model.queue_since = self.now
            self.model.line.append(caller)
            self.model.calm = False
            self.compare()
            self.refill()

    # Callers go.

    @event(lambda self: self.served, count=SOME)
    def served_callers_go_on(self, count):
        for caller in self.served[:count]:
            accepted = self.ledger.accept(caller.waiter, caller.link.slot, self.now)
            assert accepted == self.model.accept(caller, self.now)
            self.compare()
            if accepted:
                caller.link.lease = self.lease(caller.link.slot)
        del self.served[:count]

    @event(lambda self: self.served, which=WHICH, closed=RARELY)
    def served_caller_was_cancelled_in_the_same_tick(self, which, closed):
        caller = self.served.pop(which % len(self.served))
        self.step_aside(caller, expected=False)
        if caller.link.place != "gone":
            self.offer(caller.link, closed=closed)

    @event(lambda self: self.model.live, which=WHICH, how=["timeout", "cancel", "cancel in this tick"])
    def waiting_caller_leaves(self, which, how):
        caller = pick(which, self.model.live)
        if how == "timeout":
            self.run_out_of_time(caller)
            return
        caller.promise.cancel()
        self.compare()
        self.leaving.append(caller)
        if how == "cancel":
            self.cancelled_caller_takes_its_next_step(-1)

    @event(lambda self: self.leaving, which=WHICH)
    def cancelled_caller_takes_its_next_step(self, which):
        caller = self.leaving.pop(which % len(self.leaving))
        self.step_aside(caller, expected=self.model.leave(caller))

    def run_out_of_time(self, caller):
        self.ledger.time_out(caller.waiter)
        caller.promise.set_exception(TimeoutError())
        self.model.leave(caller)
        self.model.totals["timeouts"] += 1
        self.compare()
        self.step_aside(caller, expected=False)

    def step_aside(self, caller, *, expected):
        assert self.ledger.abandon(caller.waiter) == expected
        self.compare()
        assert not self.ledger.abandon(caller.waiter)
        self.compare()

    # Opens end.

    @event(needs("opening"), which=WHICH, count=SOME, conn=CONNECTIONS, closed=RARELY)
    def opens_succeed(self, which, count, conn, closed):
        for _ in range(min(count, len(self.model.at("opening")))):
            self.succeed(pick(which, self.model.at("opening")), conn, closed=closed)

    def succeed(self, link, conn, *, closed):
        self.ledger.opened(link.slot, conn())
        self.model.totals["created"] += 1
        lifetime = self.model.policies.max_lifetime
        if lifetime is not None:
            self.limit_life(link, self.now + lifetime, "expired")
        self.compare()
        self.offer(link, closed=closed)
        self.refill()

    @event(needs("opening", "handed"), conn=CONNECTIONS)
    def all_goes_well(self, conn):
        for link in self.model.at("opening"):
            self.succeed(link, conn, closed=False)
        self.served_callers_go_on(len(self.served))

    @event(needs("opening"), which=WHICH, how=["failure", "cancelled by somebody outside", "timeout"])
    def open_fails(self, which, how):
        link = pick(which, self.model.at("opening"))
        if how == "failure":
            self.ledger.open_failed(link.slot)
            self.model.free(link)
        elif how == "timeout":
            self.ledger.break_off(link.slot)
            link.place = "given up"
        if how == "cancelled by somebody outside":
            self.free(link)
        else:
            self.model.totals["create_failures"] += 1
            self.compare()
            self.fail_first(OSError())
        self.refill()

    @event(needs("given up"), which=WHICH, yielded=EITHER)
    def open_that_was_given_up_ends(self, which, yielded):
        link = pick(which, self.model.at("given up"))
        self.ledger.unwound(link.slot, yielded=yielded)
        if yielded:
            link.slot.conn = None
            link.place = "closing"
            self.model.totals["created"] += 1
            self.model.closed["broken_off"] += 1
        else:
            self.model.free(link)
        self.compare()
        self.refill()

    # Blocks and resets end.

    @event(needs("in use"), which=WHICH, count=SOME, closed=RARELY)
    def blocks_end(self, which, count, closed):
        for _ in range(min(count, len(self.model.at("in use")))):
            self.end_block(pick(which, self.model.at("in use")), closed=closed)

    def end_block(self, link, *, closed):
        self.model.release(link)
        may_put_back = self.model.may_put_back(link)
        put_back = self.desk.run(link.lease.__aexit__(None, None, None))
        assert put_back == may_put_back
        if put_back:
            self.model.rest(link, self.now)
            self.compare()
        else:
            self.wear(link)
            self.offer(link, closed=closed)

    @event(needs("in use"), which=WHICH, reusable=EITHER, closed=RARELY)
    def block_ends_where_the_strategy_is_asked(self, which, reusable, closed):
        link = pick(which, self.model.at("in use"))
        self.model.release(link)
        self.wear(link)
        if not reusable:
            self.doom(link, "dirty")
        self.offer(link, closed=closed)

    @event(needs("in use"), which=WHICH)
    def block_ends_and_a_reset_begins(self, which):
        link = pick(which, self.model.at("in use"))
        self.model.release(link)
        self.wear(link)
        if link.doom or self.ledger.sheds:
            self.place(link)
        else:
            self.ledger.begin_reset(link.slot)
            link.place = "resetting"
            self.compare()

    @event(needs("resetting"), which=WHICH, failed=RARELY, closed=RARELY)
    def reset_ends(self, which, failed, closed):
        link = pick(which, self.model.at("resetting"))
        if failed:
            self.doom(link, "reset_failed")
        self.offer(link, closed=closed)

    @event(needs("validating"), which=WHICH, how=mostly("well", "failed", "closed", "late"))
    def validation_ends(self, which, how):
        link = pick(which, self.model.at("validating"))
        if how == "late":
            assert self.ledger.begin_close(link.slot, "validation_failed")
            self.model.begin_close(link, "validation_failed")
            self.compare()
        else:
            if how == "failed":
                self.doom(link, "validation_failed")
            self.offer(link, closed=how == "closed")
        self.refill()

    @event(lambda self: self.age % 3 == 0 and self.model.at("in use", "handed", "idle"), which=WHICH, times=SOME)
    def connection_is_discarded(self, which, times):
        conn = getattr(pick(which, self.model.at("in use") + self.model.links).slot, "conn", "not open yet")
        for _ in range(times):
            self.discard(conn)

    def discard(self, conn):
        same = [link for link in self.model.at("in use", "handed") if link.slot.conn is conn]
        sound = [link for link in same if not link.doom]
        assert self.ledger.discard(conn) == bool(same)
        doomed = [link for link in sound if link.slot.doom == "discarded"]
        assert len(doomed) == bool(sound), "each call is for one"
        for link in doomed:
            link.doom = "discarded"
        self.compare()

    @event(needs("closing"), count=SOME)
    def closes_end(self, count):
        for link in self.model.at("closing")[:count]:
            self.free(link)
            self.refill()

    # Surplus and limits.

    @event(lambda self: self.model.policies.shrink_delay and self.model.stack, which=WHICH, late=[0, 1, -1])
    def surplus_has_idled_long_enough(self, which, late):
        last = pick(which, self.model.stack)
        self.pop("pop_surplus", max(last.date, self.model.changed) + self.model.policies.shrink_delay + late)
        self.refill()

    @event(lambda self: self.model.policies.max_idle is not None and self.model.stack, which=WHICH, late=[0, 1, -1])
    def connection_has_idled_for_too_long(self, which, late):
        self.pop("pop_idle", pick(which, self.model.stack).date + self.model.policies.max_idle + late)
        self.refill()

    @event(lambda self: self.model.policies != self.Policies() or self.model.watch, seconds=SOME)
    def nothing_happens_for_a_while(self, seconds):
        self.time_passes(seconds)

    @event(lambda self: self.age % 5 == 3 and self.model.links, which=WHICH, after=range(4))
    def connection_is_to_go(self, which, after):
        """Evicted, at once or after a while."""
        links = [link for link in self.model.links if link.place not in {"opening", "given up", "closing"}]
        if links:
            link = pick(which, links)
            self.limit_life(link, self.now + after, "evicted")
            self.compare()

    @event(lambda self: any(link.expires <= self.now for link in self.model.links), which=WHICH)
    def time_of_a_connection_has_come(self, which):
        self.retire(pick(which, [link for link in self.model.links if link.expires <= self.now]))
        self.refill()

    @event(lambda self: self.model.policies.min_size, paused=RARELY)
    def pool_is_filled(self, paused):
        self.ledger.fills = self.model.fills = True
        self.ledger.paused = self.model.paused = paused
        self.refill()

    @event(lambda self: self.age % 7 == 4, allowance=[0, 1, 2, None])
    def server_recovers(self, allowance):
        self.ledger.allowance = self.model.allowance = allowance
        self.refill()

    @event(lambda self: self.age % 4 == 1, limits=LIMITS)
    def limits_change(self, limits):
        limits = as_limits(limits, self.model.policies.min_size)
        self.ledger.limits_changed(self.now)
        self.model.changed = self.now
        self.ledger.set_limits(*limits)
        self.model.max_size, self.model.burst_limit = limits
        self.model.calm = False
        self.ceiling = max(self.model.limit, len(self.model.links))
        self.compare()
        self.pop("pop_surplus", -math.inf if self.model.policies.shrink_delay else math.inf)
        self.refill()

    # The end.

    @event(lambda self: self.age > 15 and self.age % 8 == 5 and not self.model.shut)
    def pool_is_closed(self):
        waiters, slots = self.ledger.close()
        callers, idle = self.model.close()
        assert waiters == [caller.waiter for caller in callers]
        assert slots == [link.slot for link in idle]
        for caller in callers:
            caller.promise.set_exception(RuntimeError())
        self.compare()

    @event(lambda self: self.model.shut and not self.model.links, **POOL)
    def another_pool_is_built(self, **pool):
        self.build(**pool)

    @event(lambda self: self.age > 15 and self.age % 8 == 2 and self.model.links)
    def event_loop_is_gone(self):
        self.former_links += self.model.at("in use")
        self.former_callers += self.served + self.leaving + self.model.live
        self.served, self.leaving = [], []
        expected = [link.slot.conn for link in self.model.forget()]
        conns = self.ledger.forget()
        assert len(conns) == len(expected)
        assert all(map(operator.is_, conns, expected))
        self.compare()

    @event(lambda self: self.model.shut and self.model.at("in use", "handed"))
    def close_runs_out_of_time(self):
        self.former_links += self.model.at("in use")
        for link in self.model.at("in use", "handed"):
            self.free(link, "pool_closed")

    @event(lambda self: self.former_links)
    def block_ends_whose_connection_was_taken_away(self):
        link = self.former_links.pop()
        assert link.slot.state == "gone"
        assert not self.desk.run(link.lease.__aexit__(None, None, None))
        self.compare()

    @event(lambda self: self.former_callers)
    def caller_of_the_former_loop_is_collected(self):
        caller = self.former_callers.pop()
        self.step_aside(caller, expected=False)
        if caller.link is not None:
            assert not self.ledger.accept(caller.waiter, caller.link.slot, self.now)
            self.compare()


class Machine(Life, RuleBasedStateMachine):
    """One whose events Hypothesis chooses."""

    holds = invariant()(Life.after_each_event)


def about(kit, kind):
    """Make a kind of life about the classes of the modules of `kit`."""
    classes = {
        "CoDel": kit.codel.CoDel,
        "Ledger": kit.ledger.Ledger,
        "Lease": kit.lease.Lease,
        "Policies": kit.policies.Policies,
        "Waiter": kit.queue.Waiter,
        "sweep_at": kit.queue.SWEEP_AT,
    }
    return type(kind.__name__, (kind,), classes)
