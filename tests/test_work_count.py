"""The work that the pool makes does not creep up: instructions, calls and bytes, counted for what callers do most."""

from __future__ import annotations

import pytest

import work_counting
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy

TOLERANCE = 0.1
UNKNOWN = 0.3
"""More is tolerated of an interpreter that the table does not know: it is compared with the newest that it knows."""


def complaints(name: str, work: work_counting.Work) -> list[str]:
    """Say what is more, or less, than the table has."""
    table = work_counting.expected()
    newest = max(table, key=lambda version: int(version.partition(".")[2]))
    tolerance = TOLERANCE if work_counting.VERSION in table else UNKNOWN
    expected = table.get(work_counting.VERSION, table[newest])[name]
    return [
        f"{name}: {work[kind]:g} {kind}, expected {number:g}"
        for kind, number in expected.items()
        if abs(work[kind] - number) > tolerance * number
    ]


@pytest.mark.parametrize("name", work_counting.SCENARIOS)
def test_the_work_is_what_the_table_has(name):
    """If less is done than that, or more for a good reason: `python tests/work_counting.py --write`, on each Python."""
    assert complaints(name, work_counting.count(name)) == []


@pytest.mark.parametrize("name", work_counting.SCENARIOS)
def test_the_work_is_the_same_each_time(name):
    assert work_counting.count(name) == pytest.approx(work_counting.count(name), rel=0.01)


@pytest.mark.parametrize("name", work_counting.SCENARIOS)
def test_a_thousand_rounds_leave_nothing_behind(name):
    assert work_counting.growth(name, 1_000) < 100


def test_the_ledger_has_no_more_attributes_than_are_read_fast():
    """With thirty, CPython 3.13 stops to share the keys of an object's dictionary, and each hand-over gets slower."""
    ledger = ConnectionPool(strategy=FakeStrategy(), max_size=1)._ledger
    assert len(vars(ledger)) < 30


def test_one_object_left_behind_by_each_round_would_be_found():
    class Pool(ConnectionPool):
        def get_connection(self):
            self.__dict__.setdefault("seen", []).append(object())
            return super().get_connection()

    assert work_counting.growth("acquire and release", 1_000, Pool) > 900


def test_the_table_knows_every_scenario():
    assert {frozenset(row) for row in work_counting.expected().values()} == {frozenset(work_counting.SCENARIOS)}


def test_one_more_call_on_the_fast_path_would_be_found():
    class Pool(ConnectionPool):
        def get_connection(self):
            return super().get_connection()

    assert complaints("acquire and release", work_counting.count("acquire and release", Pool))


def test_one_more_object_on_the_fast_path_would_be_found():
    class Wrapper:
        def __init__(self, lease):
            self.lease = lease
            self.__aenter__ = lease.__aenter__
            self.__aexit__ = lease.__aexit__

    class Pool(ConnectionPool):
        def get_connection(self):
            return Wrapper(super().get_connection())

    found = complaints("acquire and release", work_counting.count("acquire and release", Pool))
    assert any("bytes" in complaint for complaint in found)


@pytest.mark.parametrize("name", ["queue and hand over", "queue and cancel", "open and close"])
def test_more_steps_for_those_who_wait_would_be_found(name):
    class Pool(ConnectionPool):
        def get_connection(self):
            for _ in range(3):
                self.stats()
            return super().get_connection()

    assert complaints(name, work_counting.count(name, Pool))
