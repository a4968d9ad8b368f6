"""The state machine of a pool: who has which slot, and who waits for one.

Everything that changes the state of a pool is in this file (but for the fast path:
see below), and nothing else is: no loop, no clock, no code of the user's.

**The idea.** A *slot* is the right to have one connection open. There are at most
`limit` of them, and each is in exactly one state::

                 next_open            place           begin_reset
      (free) ───────────► OPENING ───────────► READY ◄───────────► RESETTING
                             │                   │       place
                   break_off │                   │ begin_close
                             ▼                   │
      (free) ◄─────────── CLOSING ◄──────────────┘
                 free

A connection that is ready is idle if it lies on the stack `idle`, else in use.

A connection that its strategy calls closed leaves from any state at once (`free`).
Waiters stand in one queue. *Supply*, an open or a reset in flight, ends in `place`,
which gives the connection to the head of the queue, else to the idle stack. Nothing
ties a supply to a caller. So a caller that goes away leaves nothing behind but its
place in the queue, and a connection goes to whoever has waited longest, wherever it
comes from.

**Decisions are reservations.** A method that decides that something be done (open
one, close this, hand that over) books it in the same step and returns the order. The
shell carries orders out, and owes the ledger their outcome: `next_open` is settled
by `opened` and `place`, or by `free`; `begin_close` by `free`; a waiter that `place`
returned by `accept`, or by `place` again.

**Invariants**, after each method:

1. ``len(slots) == held + closing <= limit``, but right after `limit` was lowered;
2. ``held == idle + in use + opening + resetting``, where *in use* is never stored:
   it is what remains, so that the fast path has one thing less to write;
3. waiters and idle connections never coexist;
4. opens run while live waiters outnumber those in flight and there is room;
5. ``created == sum(closed) + held - opening``, but between `opened` and `place`;
6. where `calm` is set nobody waits, and ``held <= kept``: so a return need look at nothing
   else. `park`, `add` and `set_limits` clear it, and the next `place` that finds nobody sets it.

**The fast path is elsewhere.** To pop an idle connection and to push it back are
transitions too. They are written out in `_lease.py`, where a call of a method here
would cost as much as all that it does (`benchmarks/README.md` has the figures). They
touch `idle` and `at_once`, and nothing else.

**Rejected.** *Giving a released connection to the stack and waking a waiter to take
it*: somebody else takes it first, and the waiter starves, as with asyncio.Queue.
*A task for each acquisition*: a task that is cancelled before its first step runs none
of its code, and its slot is lost. *An open on behalf of one caller*: who is cancelled
takes the open along, or has to hand it over in `except`, where every await can be
cancelled again. *A lock*: all of the above is one step long: there is nothing to lock.
"""

from __future__ import annotations

from heapq import nlargest
from typing import Final, Literal, TypeVar

from asyncio_connection_pool._codel import CoDel, Overload
from asyncio_connection_pool._policies import Policies
from asyncio_connection_pool._queue import Waiter
from asyncio_connection_pool._retirement import Retirement
from asyncio_connection_pool._slot import CLOSING, OPENING, READY, RESETTING, VALIDATING, Slot
from asyncio_connection_pool._stats import CloseReason, PoolStats

Conn = TypeVar("Conn")

NO_POLICIES: Final = Policies()

Refusal = Literal["closed", "overloaded", "not now"]
"""Why an acquisition may not even queue."""


class Ledger(Retirement[Conn]):
    """Slots, idle stack and queue of one pool. See the essay above."""

    def __init__(
        self,
        max_size: int,
        burst_limit: int | None,
        *,
        name: str,
        max_waiting: int | None = None,
        max_connecting: int | None = None,
        policies: Policies = NO_POLICIES,
        queue_policy: CoDel | None = None,
        plain: bool = True,
    ) -> None:
        """Begin with no slot taken and nobody waiting; the options are those of `ConnectionPool`.

        `plain` is whether the strategy leaves a return no step but to lay the connection by.
        """
        super().__init__(max_size, burst_limit, max_connecting, policies, plain=plain)
        self.name = name
        self.max_waiting = max_waiting
        self.shut = False
        self._overload = None if queue_policy is None else Overload(queue_policy)
        self.refused: list[Waiter] = []
        """Callers that `place` found to have waited too long, for the shell to tell."""

    @property
    def queue_policy(self) -> CoDel | None:
        """What is done about a queue that is too slow."""
        return None if self._overload is None else self._overload.policy

    # The queue.

    def refusal(self, *, patient: bool) -> Refusal | None:
        """Say why a caller that found nothing idle may not queue, and count it.

        `max_waiting` counts those for whom nothing is being or can be opened or validated,
        and those that were cancelled in this very tick.
        """
        if self.shut:
            return "closed"
        if not patient:
            self.totals.timeouts += 1
            return "not now"
        if self.max_waiting is None:
            return None
        uncovered = self.queue.length + 1 - self.supply - len(self.idle) - max(self.room, 0)
        if uncovered > self.max_waiting:
            self.totals.rejections += 1
            return "overloaded"
        return None

    def park(self, waiter: Waiter) -> None:
        """Queue a caller behind all others (C3)."""
        if not self.queue.length:
            self.queue.since = waiter.since
            self.calm = False
        self.queue.push(waiter)

    def next_waiter(self) -> Waiter | None:
        """Take the caller that has waited longest out of the queue."""
        return self.queue.pop()

    def abandon(self, waiter: Waiter) -> bool:
        """Strike a caller off that no longer waits; false if it had been served."""
        return self.queue.remove(waiter)

    def time_out(self, waiter: Waiter) -> None:
        """Strike a caller off whose time ran out."""
        self.totals.timeouts += self.queue.remove(waiter)

    def accept(self, waiter: Waiter, slot: Slot[Conn], now: float) -> bool:
        """Settle a hand-over: the caller has taken its connection, if that is not gone."""
        if not slot.handed:
            return False
        slot.handed = False
        self.handed -= 1
        slot.taken_at = now
        totals, waited = self.totals, now - waiter.since
        totals.wait_seconds_total += waited
        if waited > totals.wait_seconds_max:  # noqa: PLR1730 - a call costs more than all the rest
            totals.wait_seconds_max = waited
        if slot.fresh:
            slot.fresh = False
            totals.acquired_after_opening += 1
        else:
            totals.acquired_after_waiting += 1
        return True

    # Supply.

    def next_validation(self) -> Slot[Conn] | None:
        """Reserve an idle connection to validate, if the queue needs one."""
        if self.queue.length <= self.supply or not self.idle:
            return None
        slot = self.idle.pop()
        self.move(slot, VALIDATING)
        return slot

    def next_open(self, now: float) -> tuple[Slot[Conn], Waiter | None] | None:
        """Reserve a slot to open a connection in, if the queue or `min_size` needs one.

        Returns:
            The slot, and the caller on whose behalf it is, if any.
        """
        if self.room <= 0 or self.shut:
            return None
        if self.queue.length > self.supply:
            burst_due = self.burst_due
            if burst_due is None or burst_due <= now:
                waiter = self.queue.cover()
                if waiter is not None:
                    return self.add(), waiter
        return (self.add(), None) if self.lacks and not self.paused else None

    def opened(self, slot: Slot[Conn], conn: Conn) -> None:
        """Book the connection that an open has yielded; `place` is next."""
        slot.conn = conn
        self.totals.created += 1

    def open_failed(self, slot: Slot[Conn]) -> None:
        """Book an open that raised."""
        self.totals.create_failures += 1
        self.free(slot)

    def break_off(self, slot: Slot[Conn]) -> None:
        """Give an open up: it is no supply any more, but its slot is taken (C1)."""
        self.move(slot, CLOSING)
        self.broken_off += 1
        self.totals.create_failures += 1

    def unwound(self, slot: Slot[Conn], *, yielded: bool) -> None:
        """Settle an open that was given up: is there a connection to close now?"""
        self.broken_off -= 1
        if yielded:
            self.totals.created += 1
            self.totals.closed["broken_off"] += 1
        else:
            self.free(slot)

    def _next_in_time(self, overload: Overload, now: float) -> Waiter | None:
        """Take the next caller out of the queue that has not waited too long."""
        while (waiter := self.next_waiter()) is not None:
            if not overload.refuses(now - waiter.since, now):
                return waiter
            if overload.policy.observe:
                self.totals.would_be_rejections += 1
                return waiter
            self.totals.rejections += 1
            self.refused.append(waiter)
        overload.relax()
        return None

    def hand_over(self, slot: Slot[Conn]) -> Waiter | None:
        """Find a caller for a connection that was just returned.

        It is what `place` does most often, for a pool without policies.

        Returns:
            The waiter to give it to, or None: the connection is for `place`.
        """
        if slot.doom or self.held > self.limit or (waiter := self.queue.pop()) is None:
            return None
        slot.handed = True
        self.handed += 1
        return waiter

    def place(self, slot: Slot[Conn], now: float = 0) -> Waiter | CloseReason | None:
        """Find the next use of a connection that is nobody's or was just returned.

        Args:
            slot: Its slot.
            now: The time, where there is a queue policy.

        Returns:
            The waiter to give it to, or the reason why it is to be closed, or None
            if it is idle now.
        """
        if slot.state is not READY:
            self.move(slot, READY)
        self.unhand(slot)
        if slot.doom or self.held > self.limit:
            return self.begin_close(slot, slot.doom or ("surplus" if self.held > self.most else "revoked"))
        waiter = self.next_waiter() if self._overload is None else self._next_in_time(self._overload, now)
        if waiter is not None:
            self.handed += 1
            slot.handed = True
            return waiter
        if self.held > self.max_size and not self.policies.shrink_delay:
            return self.begin_close(slot, "surplus")
        slot.fresh = False
        self.idle.append(slot)
        self.calm = self.held <= self.kept
        return None

    def begin_reset(self, slot: Slot[Conn]) -> None:
        """Take a returned connection out of use to clean it."""
        self.move(slot, RESETTING)

    # The end of a pool.

    def close(self) -> tuple[list[Waiter], list[Slot[Conn]]]:
        """Close the pool: refuse all callers, and doom every connection (C12).

        Returns:
            Those who wait, and the idle connections, which are to be closed.
        """
        self.shut = True
        waiters = list(iter(self.next_waiter, None))
        idle = self.idle.copy()
        self.idle.clear()
        for slot in idle:
            self.begin_close(slot, "pool_closed")
        for slot in self.slots:
            slot.doom = slot.doom or "pool_closed"
        return waiters, idle

    def forget(self) -> list[Conn]:
        """Forget every slot and every waiter: their event loop is gone (C11).

        Returns:
            The connections.
        """
        slots = list(self.slots)
        conns = [slot.conn for slot in slots if hasattr(slot, "conn")]
        for slot in slots:
            counts = slot.state not in (OPENING, CLOSING)
            self.free(slot, "forgotten" if counts else None)
        self.idle.clear()
        self.queue.clear()
        self.paused = False
        self.allowance = None
        self._overload = None if self.queue_policy is None else Overload(self.queue_policy)
        self.broken_off = 0
        return conns

    def held_for(self, now: float, most: int) -> list[tuple[float, bool]]:
        """Say for how many seconds connections are held, the longest first, while there is a queue.

        Since the queue came to be nothing was taken from the idle stack, so what was handed over since
        is dated. The rest was taken before: then the flag is true, and it is held for longer.
        """
        if not self.queue.length or self.idle:
            return []
        since = self.queue.since
        in_use = (slot for slot in self.slots if slot.state is READY and not slot.handed)
        ages = ((now - max(slot.taken_at, since), slot.taken_at < since) for slot in in_use)
        return nlargest(most, ages)

    def stats(self) -> PoolStats:
        """Take a snapshot, in constant time."""
        in_use = self.in_use
        return PoolStats(
            name=self.name,
            max_size=self.max_size,
            burst_limit=self.burst_limit,
            limit=self.most,
            min_size=self.policies.min_size,
            idle=len(self.idle),
            in_use=in_use,
            opening=self.opening,
            validating=self.validating,
            resetting=self.resetting,
            closing=self.closing,
            size=len(self.slots),
            waiting=self.queue.length,
            acquired_at_once=self.at_once,
            **self.totals.fields(self.at_once, unreleased=in_use - self.handed),
        )
