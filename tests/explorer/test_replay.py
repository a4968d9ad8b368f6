"""The explorer itself: it is exact, and what it finds can be read, replayed and shrunk."""

from __future__ import annotations

import pytest

from asyncio_connection_pool._supply import Supply
from exploring import ViolationError, deepen, explore, read, replay, shrink, wander, write
from exploring_configs import CONFIGS, LONG
from exploring_loop import Laboratory
from exploring_world import Config

pytestmark = pytest.mark.tests_of_tests

BURST = CONFIGS["burst, from nothing"]
TEXT = "start 0; start 0 +0; create_done 1 +2; cancel 0; create_fails 0; body_ends 1 +1"


@pytest.fixture
def broken(monkeypatch):
    """A pool that forgets what it handed to a caller that left in the same tick."""
    monkeypatch.setattr(Supply, "lay_by", lambda self, slot: None)


def test_a_schedule_survives_being_written_down_and_read():
    assert write(read(TEXT)) == TEXT


def test_what_cannot_happen_is_left_out_of_a_replay():
    assert write(replay(BURST, "close_done 0; start 0; body_ends 0; create_done 0; kill 0")) == "start 0; create_done 0"


def test_an_exploration_is_the_same_each_time():
    tallies = [explore(BURST, 3) for _ in range(2)]
    assert tallies[0].complete
    assert (tallies[0].schedules, tallies[0].events) == (tallies[1].schedules, tallies[1].events)


def test_no_schedule_is_run_twice(monkeypatch):
    seen = []
    monkeypatch.setattr("exploring.Run.end", lambda run: (seen.append(write(run.done)), run.world.drain()))
    tally = explore(BURST, 3)
    assert len(seen) == len(set(seen)) == tally.schedules


def test_a_configuration_that_always_comes_to_an_end_is_explored_no_deeper():
    finite = Config("one caller", "start create_done body_ends", callers=1)
    (tally,) = deepen([finite], 1_000)
    assert tally.exhausted
    assert (tally.depth, tally.schedules) == (4, 1)


def test_a_seed_determines_a_long_schedule():
    config = LONG["everything"]
    assert wander(config, 7, 3, 40).events == wander(config, 7, 3, 40).events


def test_a_violation_is_replayed_and_shrunk_to_what_it_takes(broken):
    with pytest.raises(ViolationError) as caught:
        replay(BURST, f"{TEXT}; start 0; start 0; create_done 0 +2; cancel 2", plain=True)
    smallest = shrink(caught.value, plain=True)
    assert write(smallest.schedule) == "start 0; create_done 0 +2; cancel 0"
    with pytest.raises(ViolationError, match="C10"):
        replay(smallest.config, write(smallest.schedule), plain=True)


def test_what_asyncio_complains_of_is_a_violation(monkeypatch):
    """An exception that nobody retrieves comes to light when the garbage is collected."""

    def lose(self, error):
        self._ledger.queue.clear()
        self._loop.create_future().set_exception(error)

    monkeypatch.setattr(Supply, "refuse", lose)
    assert "never retrieved" in str(explore(BURST, 2).violations)


def test_a_timer_that_is_due_waits_for_no_event():
    with Laboratory() as laboratory:
        loop = laboratory.loop
        fired = []
        for when in (0, 5, 5, 6):
            loop.call_at(when, fired.append, when)
        loop.tick()
        assert (fired, loop.quiet, loop.timers) == ([0], True, 3)
        loop.fire()
        loop.tick()
        assert (fired, loop.quiet, loop.timers) == ([0, 5, 5], True, 1)
