"""Pools that are broken on purpose: what each does wrong, the clause it breaks, and where that is found."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import NamedTuple

from asyncio_connection_pool._checkout import Checkout
from asyncio_connection_pool._closing import Closing
from asyncio_connection_pool._lease import Lease
from asyncio_connection_pool._ledger import Ledger
from asyncio_connection_pool._limits import Limits
from asyncio_connection_pool._maintenance import Maintenance
from asyncio_connection_pool._questions import Questions
from asyncio_connection_pool._queue import WaitQueue
from asyncio_connection_pool._retirement import Retirement
from asyncio_connection_pool._slot import Slots
from asyncio_connection_pool._supply import Supply
from asyncio_connection_pool._tasks import PoolTasks


class Mutant(NamedTuple):
    clause: str
    config: str
    owner: type
    method: str
    make: Callable
    """Makes the broken method of the one that works."""


MUTANTS: dict[str, Mutant] = {}


def mutant(clause: str, config: str, owner: type, method: str):
    """Take a function that breaks a method for a mutant, whose name is the function's."""

    def keep(make):
        MUTANTS[make.__name__] = Mutant(clause, config, owner, method, make)
        return make

    return keep


@mutant("C1", "burst, a queue of two", Limits, "room")
def what_is_closing_does_not_count(old):
    return property(lambda self: old.fget(self) + self.closing)


@mutant("C3", "one slot, a queue of two", WaitQueue, "pop")
def the_last_comer_is_served_first(old):
    def pop(self):
        self._entries.reverse()
        try:
            return old(self)
        finally:
            self._entries.reverse()

    return pop


@mutant("C4", "idle connections are cut", Slots, "__init__")
def idle_connections_are_a_queue(old):
    class Queue(list):
        def append(self, slot):
            self.insert(0, slot)

    def begin(self, *args, **kwargs):
        old(self, *args, **kwargs)
        self.idle = Queue()

    return begin


@mutant("", "burst, from nothing", Ledger, "open_failed")
def a_failed_create_keeps_its_slot(old):
    def open_failed(self, slot):
        self.totals.create_failures += 1

    return open_failed


@mutant("C6", "burst, from nothing", Supply, "refuse")
def a_failed_create_is_only_logged(old):
    return lambda self, error: self.log("failed", error)


@mutant("C7", "idle connections are cut", Supply, "_fit_to_hand_over")
def a_hand_over_asks_nothing(old):
    return lambda self, slot: True


@mutant("nobody opens for", "burst, a queue of two", Closing, "_finish")
def nothing_is_opened_after_a_close(old):
    def _finish(self, close, error):
        close.then = None
        old(self, close, error)

    return _finish


@mutant("C5", "nothing is kept", Closing, "wait")
def a_cancelled_caller_takes_the_close_along(old):
    async def wait(self, close):
        await close.task

    return wait


@mutant("C8", "resized", Supply, "adjust")
def a_lower_max_size_closes_nothing(old):
    return lambda self: self.refill()


@mutant("C8", "surplus idles for a while", Maintenance, "_retired")
def the_shrinker_closes_nothing(old):
    return lambda self, now: ()


@mutant("C9", "burst, everything fails", Questions, "reusable")
def a_dirty_connection_is_reused(old):
    return lambda self, conn, exc: True


@mutant("C9", "burst, everything fails", Ledger, "discard")
def a_discarded_connection_is_reused(old):
    return lambda self, conn: True


@mutant("C10", "one slot, a queue of two", Supply, "lay_by")
def a_hand_over_in_vain_is_lost(old):
    return lambda self, slot: None


@mutant("C10", "burst, from nothing", Lease, "__aenter__")
def a_cancellation_is_swallowed(old):
    async def enter(self):
        try:
            return await old(self)
        except asyncio.CancelledError:
            return await old(self)

    return enter


@mutant("C10", "pool tasks are killed", PoolTasks, "start")
def a_task_settles_its_accounts_itself(old):
    """Then one that is cancelled before its first step settles nothing."""

    def start(self, work, settle, **kwargs):
        begun = []

        async def run():
            begun.append(work)
            return await work

        return old(self, run(), lambda task: settle(task) if begun else work.close(), **kwargs)

    return start


@mutant("C12", "the pool is closed", Ledger, "close")
def close_forgets_the_first_waiter(old):
    def close(self):
        waiters, idle = old(self)
        return waiters[1:], idle

    return close


@mutant("C12", "the pool is closed", Ledger, "close")
def close_forgets_the_idle(old):
    def close(self):
        waiters, idle = old(self)
        for slot in idle:
            self.free(slot)
        return waiters, []

    return close


@mutant("C13", "timeouts", Checkout, "accept")
def a_served_caller_leaves_its_timer(old):
    def accept(self, waiter, slot):
        waiter.timer = None
        old(self, waiter, slot)

    return accept


@mutant("after its time", "timeouts", Supply, "_break_off")
def connect_timeout_is_forgotten(old):
    return lambda self, slot: None


@mutant("C9", "kept, and growing old", Retirement, "retire")
def what_is_evicted_idles_on(old):
    return lambda self, slot: False


@mutant("C9", "worn and validated", Retirement, "doom")
def what_fails_its_validation_is_handed_out(old):
    return lambda self, slot, reason: None


@mutant("nobody looks at", "an outage", Maintenance, "_retry")
def an_outage_is_never_over(old):
    def _retry(self):
        self._retry_at = math.inf

    return _retry


@mutant("C10", "an overload", Supply, "_refuse_late")
def who_waits_for_too_long_is_forgotten(old):
    return lambda self: self._ledger.refused.clear()
