"""Nothing that a caller pays for grows with the number of waiters or connections (C14): counted, not timed."""

from __future__ import annotations

import random
from collections import deque
from contextvars import copy_context

import pytest

import ledger_mutants
from ledger_model import Promise

MANY = 3000
CONTEXT = copy_context()


class CountingDeque(deque):
    """Counts the entries that are looked at, put in and taken out."""

    touched = 0

    def __iter__(self):
        for entry in super().__iter__():
            CountingDeque.touched += 1
            yield entry

    def __getitem__(self, index):
        CountingDeque.touched += 1 + min(abs(index), len(self) - abs(index)) // 64
        return super().__getitem__(index)

    def append(self, entry):
        CountingDeque.touched += 1
        super().append(entry)

    def popleft(self):
        CountingDeque.touched += 1
        return super().popleft()


class NoWalk:
    """Refuses to be walked over."""

    def refuse(self, *args):
        raise AssertionError("this takes longer the more connections there are")

    __iter__ = __contains__ = index = remove = insert = refuse


class Stack(NoWalk, list):
    pass


class Table(NoWalk, dict):
    pass


def load(*changes):
    kit = ledger_mutants.load(*changes)
    kit.queue.deque = CountingDeque
    CountingDeque.touched = 0
    return kit


@pytest.fixture
def kit():
    return load()


class Crowd:
    """A ledger with many callers."""

    def __init__(self, kit, limit, **options):
        self.kit = kit
        self.ledger = kit.ledger.Ledger(limit, None, name="pool", **options)
        self.ledger.idle, self.ledger.slots = Stack(), Table()
        self.waiters = []
        self.opening = deque()
        self.calls = 0

    def come(self, count=MANY):
        for _ in range(count):
            assert self.ledger.refusal(patient=True) is None
            waiter = self.kit.queue.Waiter(Promise(), CONTEXT, 0.0)
            self.ledger.park(waiter)
            self.waiters.append(waiter)
            self.calls += 1
            self.refill()

    def refill(self):
        while (order := self.ledger.next_open(0.0)) is not None:
            self.calls += 1
            self.opening.append(order[0])

    def leave(self, waiters):
        for waiter in waiters:
            waiter.future.cancel()
            assert self.ledger.abandon(waiter)
            self.calls += 1

    def serve(self, slot):
        """Place a connection, and let its caller go on."""
        self.calls += 1
        waiter = self.ledger.place(slot)
        if waiter is not None:
            waiter.future.set_result(slot)
            assert self.ledger.accept(waiter, slot, 0.0)
        return waiter

    def check(self, each=6):
        self.ledger.stats()
        assert CountingDeque.touched <= each * self.calls


def test_acquiring_while_as_many_are_being_opened(kit):
    crowd = Crowd(kit, MANY)
    crowd.come()
    assert len(crowd.opening) == MANY
    crowd.check()


def test_opening_fails_for_one_caller_after_the_other(kit):
    crowd = Crowd(kit, MANY // 10)
    crowd.come()
    while crowd.opening:
        crowd.ledger.open_failed(crowd.opening.popleft())
        crowd.ledger.next_waiter().future.set_exception(OSError())
        crowd.calls += 1
        crowd.refill()
    assert crowd.ledger.queue.length == 0
    crowd.check()


def test_one_connection_is_handed_from_caller_to_caller(kit):
    crowd = Crowd(kit, 1)
    crowd.come()
    slot = crowd.opening.pop()
    crowd.ledger.opened(slot, None)
    while crowd.serve(slot) is not None:
        pass
    assert crowd.ledger.stats().acquired == MANY
    crowd.check()


def test_many_connections_come_to_rest(kit):
    crowd = Crowd(kit, MANY)
    crowd.come()
    crowd.leave(crowd.waiters)
    for slot in crowd.opening:
        crowd.ledger.opened(slot, None)
        assert crowd.serve(slot) is None
    assert crowd.ledger.stats().idle == MANY
    crowd.check()


@pytest.mark.parametrize("order", ["first come, first gone", "last come, first gone", "at random", "every other"])
def test_callers_leave(kit, order):
    crowd = Crowd(kit, 10)
    crowd.come()
    waiters = {
        "first come, first gone": crowd.waiters,
        "last come, first gone": crowd.waiters[::-1],
        "at random": random.Random(1).sample(crowd.waiters, MANY),
        "every other": crowd.waiters[::2] + crowd.waiters[1::2],
    }
    crowd.leave(waiters[order])
    assert crowd.ledger.queue.length == 0
    crowd.check()


def test_as_many_leave_as_come(kit):
    crowd = Crowd(kit, 1)
    crowd.come()
    for _ in range(MANY):
        crowd.come(1)
        crowd.leave([crowd.waiters.pop()])
    crowd.check()


def test_connections_die_behind_callers_that_left(kit):
    crowd = Crowd(kit, 10)
    crowd.come()
    crowd.leave(crowd.waiters[MANY // 2 + 10 :])
    while crowd.opening:
        slot = crowd.opening.popleft()
        crowd.ledger.opened(slot, None)
        if crowd.serve(slot) is not None:
            crowd.ledger.free(slot, "dead")
            crowd.refill()
    assert crowd.ledger.queue.length == 0
    crowd.check()


def test_the_dead_do_not_outlive_the_living(kit):
    crowd = Crowd(kit, 1)
    crowd.come()
    crowd.leave(crowd.waiters[MANY // 2 + 1 :])
    slot = crowd.opening.pop()
    crowd.ledger.opened(slot, None)
    while crowd.ledger.queue.length:
        crowd.serve(slot)
        assert len(crowd.ledger.queue._entries) <= 2 * crowd.ledger.queue.length + kit.queue.SWEEP_AT


def test_a_sweep_at_each_leave_would_be_found():
    kit = load(("_queue", "if self._left <= self.length + SWEEP_AT:", "if False:"))
    with pytest.raises(AssertionError):
        test_callers_leave(kit, "at random")
