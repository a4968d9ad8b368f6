"""What the shell of a pool owes its ledger, done to a ledger and to the model of it alike, and compared each time."""

from __future__ import annotations

from asyncio import events
from threading import get_ident

from ledger_model import STATES, Caller, Model


class NothingIdleError(Exception):
    """A caller would have to wait."""


class Desk:
    """As much of a pool as a `Lease` needs: its fast path is the ledger's, written out."""

    def __init__(self, ledger, drop, take, *, careful):
        self._ledger = ledger
        self._careful = careful
        self._idle = [] if self._careful else ledger.idle
        self._checkout = self
        self._loop = self
        self._thread = get_ident()
        self._drop = drop
        self.take = take
        self.closed = 0
        """How many that come next are closed."""

    def _loop_runs(self):
        return True

    def _is_closed(self, conn):
        self.closed -= 1
        return self.closed >= 0

    def refuse_idle(self, slot, answer):
        assert answer
        self._ledger.untake()
        self._drop(slot)

    def park(self, timeout):
        raise NothingIdleError

    def give_back(self, slot, exc):
        raise NothingIdleError

    def run(self, coroutine):
        """Run what does not wait; say whether it came to its end."""
        events._set_running_loop(self)
        try:
            coroutine.send(None)
        except StopIteration:
            return True
        except NothingIdleError:
            return False
        finally:
            events._set_running_loop(None)
        raise AssertionError("the fast path waits (C2)")


class Shell:
    """A ledger, its model, and all that belongs to an event but the event itself."""

    CoDel: type
    Ledger: type
    Lease: type
    Policies: type
    Waiter: type
    sweep_at: int

    def begin(self, limits, **options):
        self.ledger = self.Ledger(*limits, name="pool", **options)
        self.model = Model(*limits, **options)
        self.desk = Desk(self.ledger, self.drop_idle, self.take_with_care, careful=self.model.careful)
        self.now = 1.0
        self.ceiling = self.model.limit
        self.served = []  # handed a connection, and their next step is to come
        self.leaving = []  # cancelled, and their next step is to come
        self.former_callers = []  # waited for a pool that was forgotten
        self.former_links = []  # in use when it was forgotten, or given up on

    def lease(self, slot):
        lease = self.Lease()
        lease._pool, lease._slot = self.desk, slot
        return lease

    def compare(self):
        ledger, model = self.ledger, self.model
        stats, expected = ledger.stats(), model.stats()
        assert {name: getattr(stats, name) for name in expected} == expected
        assert stats.size <= self.ceiling, "C1"
        self.ceiling = max(stats.limit, stats.size)
        assert [link.slot for link in model.links] == list(ledger.slots)
        assert [link.slot for link in model.stack] == ledger.idle
        for link in model.links:
            slot = link.slot
            assert (slot.state, slot.doom, slot.fresh) == (STATES[link.place], link.doom, link.fresh)
        assert ledger.shut == model.shut
        assert ledger.broken_off == len(model.at("given up"))
        assert (ledger.surplus_due, ledger.idle_due) == (model.surplus_due, model.idle_due)
        assert ledger.burst_due == model.burst_due
        assert (ledger.lacks, ledger.full) == (model.lacks, model.full)
        assert (max(ledger.room, 0), ledger.supply) == (model.room, model.supply)
        assert model.held > model.limit or ledger.sheds == model.sheds()
        assert ledger.held_for(self.now, 2) == model.held_for(self.now, 2)
        queue = ledger.queue
        most = 2 * queue.length + self.sweep_at
        assert queue._covered <= len(queue._entries) == queue.length + queue._left <= most, "the dead are swept out"

    def refill(self):
        """Validate and open while the queue needs it, and open while the pool is to be filled."""
        while self.validate_one():
            pass
        while self.open_one():
            pass

    def validate_one(self):
        must, may = self.model.must_validate(), self.model.may_validate()
        slot = self.ledger.next_validation()
        assert must <= (slot is not None) <= may
        if slot is not None:
            link = self.model.stack.pop()
            assert link.slot is slot
            link.place = "validating"
        self.compare()
        return slot is not None

    def open_one(self):
        must, may, must_fill = self.model.must_open(self.now), self.model.may_open(), self.model.must_fill()
        order = self.ledger.next_open(self.now)
        if order is None:
            assert not must
            assert not must_fill
            return False
        slot, waiter = order
        if waiter is None:
            assert must_fill
            assert not must
        else:
            assert may
            assert self.model.live
            assert (self.model.burst_due or 0) <= self.now
            caller = self.model.open_for()
            assert waiter is caller.waiter, "C5"
            caller.opened_for = True
        self.model.reserve(slot)
        self.compare()
        return True

    def fail_first(self, error):
        """Raise what went wrong to the caller that has waited longest (C6)."""
        waiter = self.ledger.next_waiter()
        caller = self.model.first()
        assert waiter is (caller and caller.waiter)
        if caller is not None:
            caller.promise.set_exception(error)
        self.compare()

    def place(self, link):
        if self.desk._careful:
            self.look_at_age(link)
        times = [self.now] if self.model.queue_policy else []
        placed = self.hand_over(link) or self.ledger.place(link.slot, *times)
        expected, late = self.model.place(link, self.now)
        assert placed == (expected.waiter if isinstance(expected, Caller) else expected)
        assert self.ledger.refused == [caller.waiter for caller in late]
        self.ledger.refused = []
        self.compare()
        for caller in late:
            caller.promise.set_exception(OSError())
            self.step_aside(caller, expected=False)
        if isinstance(expected, Caller):
            expected.promise.set_result(link.slot)
            self.served.append(expected)
        elif expected is None:
            self.date(link)

    def hand_over(self, link):
        """Take the short way to the first in line, where a pool takes it."""
        returned = link.place == "in use" and not (link.doom or link.slot.handed)
        if returned and self.model.plain and self.model.line and not (self.desk._careful or self.model.queue_policy):
            return self.ledger.hand_over(link.slot)
        return None

    def date(self, link):
        """Have a connection that has just become idle be so from now on, if that matters."""
        if self.model.dates():
            self.ledger.date(link.slot, self.now)
            link.date = self.now
            self.compare()

    def offer(self, link, *, closed):
        """Ask if it is closed where somebody may be about to get it (C7); else place it."""
        if closed and self.model.line and not link.doom:
            self.drop(link)
            self.refill()
        else:
            self.place(link)

    def drop(self, link):
        self.free(link, "dead")

    def drop_idle(self, slot):
        link = self.model.take(self.now)
        assert link.slot is slot, "C4"
        self.model.untake()
        self.drop(link)

    def take_with_care(self):
        """Take what a caller gets at once, where policies have a say in that."""
        while (slot := self.ledger.take(self.now)) is not None:
            link = self.model.take(self.now)
            assert link is not None
            assert link.slot is slot, "C4"
            self.compare()
            closed = link.doom is None and self.desk._is_closed(slot.conn)
            if not (link.doom or closed):
                self.taken = link
                return slot
            self.ledger.untake()
            self.model.untake()
            if closed:
                self.drop(link)
            else:
                self.place(link)
        assert self.model.take(self.now) is None
        self.taken = None
        return None

    def free(self, link, reason=None):
        self.ledger.free(link.slot, reason)
        self.model.free(link, reason)
        self.compare()
        self.ledger.free(link.slot, reason)
        self.compare()

    def doom(self, link, reason):
        self.ledger.doom(link.slot, reason)
        link.doom = link.doom or reason

    def look_at_age(self, link):
        self.ledger.look_at_age(link.slot, self.now)
        self.model.look_at_age(link, self.now)

    def wear(self, link):
        """Look at a connection that is given back, if there is anything to look at."""
        if self.model.ages:
            self.ledger.wear(link.slot, self.now)
            self.model.wear(link, self.now)

    def limit_life(self, link, expires, fate):
        assert self.ledger.limit_life(link.slot, expires, fate) == self.model.limit_life(link, expires, fate)

    def retire(self, link):
        assert self.ledger.retire(link.slot) == self.model.retire(link)
        self.compare()

    def pop(self, what, now):
        """Begin to close what has idled for long enough."""
        ledger_pops, model_pops = getattr(self.ledger, what), getattr(self.model, what)
        while (slot := ledger_pops(now)) is not None:
            link = model_pops(now)
            assert link is not None
            assert slot is link.slot
            self.compare()
        assert model_pops(now) is None
        self.compare()
