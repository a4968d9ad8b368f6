"""What the shell of a pool owes its ledger, done to a ledger and to the model of it alike, and compared each time."""

from __future__ import annotations

from asyncio import events
from threading import get_ident

from ledger_model import STATES, Caller, Model


class NothingIdleError(Exception):
    """A caller would have to wait."""


class Desk:
    """As much of a pool as a `Lease` needs: its fast path is the ledger's, written out."""

    def __init__(self, ledger, drop):
        self._ledger = ledger
        self._checkout = self
        self._loop = self
        self._thread = get_ident()
        self._drop = drop
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

    Ledger: type
    Lease: type
    Waiter: type
    sweep_at: int

    def begin(self, limits, **options):
        self.ledger = self.Ledger(*limits, name="pool", **options)
        self.model = Model(*limits, **options)
        self.desk = Desk(self.ledger, self.drop_idle)
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
        assert ledger.surplus_since == model.surplus_since
        assert model.held > model.limit or ledger.sheds == model.sheds()
        queue = ledger.queue
        most = 2 * queue.length + self.sweep_at
        assert len(queue._uncovered) <= len(queue._entries) <= most, "the dead are swept out"

    def refill(self):
        """Open while the queue needs it."""
        while True:
            must, may = self.model.must_open(), self.model.may_open()
            order = self.ledger.next_open()
            if order is None:
                assert not must
                return
            slot, waiter = order
            assert may
            assert self.model.live
            caller = self.model.open_for()
            assert waiter is caller.waiter, "C5"
            caller.opened_for = True
            self.model.reserve(slot)
            self.compare()

    def fail_first(self, error):
        """Raise what went wrong to the caller that has waited longest (C6)."""
        waiter = self.ledger.next_waiter()
        caller = self.model.first()
        assert waiter is (caller and caller.waiter)
        if caller is not None:
            caller.promise.set_exception(error)
        self.compare()

    def place(self, link):
        placed = self.ledger.place(link.slot)
        expected = self.model.place(link, self.now)
        assert placed == (expected.waiter if isinstance(expected, Caller) else expected)
        self.compare()
        if isinstance(expected, Caller):
            expected.promise.set_result(link.slot)
            self.served.append(expected)
        elif expected is None:
            self.begin_to_watch()

    def begin_to_watch(self):
        if self.model.keeps_surplus:
            dated = self.ledger.date_idle(self.now, last=True)
            assert dated == self.model.date(self.model.stack[-1:], self.now)
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
        link = self.model.take()
        assert link.slot is slot, "C4"
        self.model.totals["acquired_at_once"] -= 1
        self.drop(link)

    def free(self, link, reason=None):
        self.ledger.free(link.slot, reason)
        self.model.free(link, reason)
        self.compare()
        self.ledger.free(link.slot, reason)
        self.compare()

    def doom(self, link, reason):
        self.ledger.doom(link.slot, reason)
        link.doom = link.doom or reason

    def retire(self, since):
        while (slot := self.ledger.pop_surplus(since)) is not None:
            link = self.model.pop_surplus(since)
            assert link is not None
            assert slot is link.slot
            self.compare()
        assert self.model.pop_surplus(since) is None
        self.compare()
