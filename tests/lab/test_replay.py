"""A replay is what the pool would have done: the exact waits of a queue, and, on average, what theory says."""

from __future__ import annotations

import heapq
import math
import random

import pytest

from asyncio_connection_pool.lab import Caller, Recording, replay


def poisson(*, in_use, callers, seed=1, hold=0.005):
    """Make a recording of callers that come at random, and hold for as long as chance will have it."""
    chance = random.Random(seed)
    at, found = 0.0, []
    for _ in range(callers):
        found.append(Caller(at, chance.expovariate(1 / hold)))
        at += chance.expovariate(in_use / hold)
    return Recording(tuple(found))


def erlang_c(size, in_use):
    """Give the share of callers that wait in an M/M/c queue."""
    top = in_use**size / math.factorial(size) * size / (size - in_use)
    return top / (sum(in_use**k / math.factorial(k) for k in range(size)) + top)


@pytest.mark.once
@pytest.mark.parametrize("size, in_use", [(1, 0.5), (2, 1.0), (3, 1.8)])
def test_on_average_callers_wait_for_as_long_as_erlang_says(size, in_use):
    hold = 0.005
    outcome = replay(poisson(in_use=in_use, callers=30_000, hold=hold), max_size=size)
    share = erlang_c(size, in_use)
    assert outcome.waited == pytest.approx(share, rel=0.05)
    assert outcome.wait_mean == pytest.approx(share * hold / (size - in_use), rel=0.05)


def queue(callers, size):
    """Give the waits of callers that are served in the order of their coming, without a pool."""
    free = [0.0] * size
    for caller in callers:
        start = max(caller.at, heapq.heappop(free))
        heapq.heappush(free, start + caller.held)
        yield start - caller.at


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_no_caller_waits_longer_or_shorter_than_in_a_queue(size):
    recording = poisson(in_use=2, callers=1_000, seed=size)
    outcome = replay(recording, max_size=size)
    waits = sorted(queue(recording.callers, size))
    assert outcome.wait_p50 == pytest.approx(waits[499], abs=1e-9)
    assert outcome.wait_p99 == pytest.approx(waits[989], abs=1e-9)
    assert outcome.wait_max == pytest.approx(waits[-1], abs=1e-9)
    assert outcome.wait_mean == pytest.approx(sum(waits) / 1_000, abs=1e-9)


def test_the_same_seed_gives_the_same_outcome_and_another_another():
    recording = Recording((Caller(0, 1), Caller(0, 2), *[Caller(0.1, None)] * 10), (0.1, 0.2, 0.3))
    outcomes = [replay(recording, max_size=2, seed=seed) for seed in (1, 1, 2)]
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_a_caller_that_got_none_holds_for_as_long_as_another():
    outcome = replay(Recording((Caller(0, 2), Caller(1, None, 0.5), Caller(2, None))), max_size=1)
    assert (outcome.wait_p50, outcome.wait_max, outcome.refused) == (1, 2, 0)


def test_opens_take_as_long_as_they_did_or_as_is_asked():
    recording = Recording((Caller(0, 1), Caller(5, 1)), (0.25,))
    assert replay(recording, max_size=1).wait_max == 0.25
    assert replay(recording, max_size=1, connect_seconds=2).wait_max == 2
    assert replay(recording, max_size=1, connect_seconds=0).wait_max == 0


def test_resets_take_as_long_as_they_did_or_as_is_asked():
    recording = Recording((Caller(0, 1), Caller(0.5, 1)), resets=(0.25,))
    assert replay(recording, max_size=1).wait_max == 0.75
    assert replay(recording, max_size=1, reset_seconds=2).wait_max == 2.5
    assert replay(recording, max_size=1, reset_seconds=0).wait_max == 0.5
    assert replay(Recording(recording.callers), max_size=1).wait_max == 0.5


def test_each_reset_takes_as_long_as_one_that_was_recorded():
    recording = Recording((Caller(0, 1),) * 100, resets=(0.25, 0.5))
    assert 99 * 1.25 < replay(recording, max_size=1).wait_max < 99 * 1.5


def test_connections_are_counted_over_time():
    callers = (Caller(0, 10), Caller(2, 2), Caller(3, 1))
    outcome = replay(Recording(callers), max_size=1, burst_limit=3)
    assert outcome.open_mean == pytest.approx((10 + 2 + 1) / 10)
    assert (outcome.open_most, outcome.opened) == (3, 3)


def test_those_who_are_refused_wait_for_ever():
    callers = [Caller(0, 10), *[Caller(1, 1)] * 3]
    outcome = replay(Recording(tuple(callers)), max_size=1, acquire_timeout=2)
    assert (outcome.callers, outcome.refused, outcome.wait_p50, outcome.wait_mean) == (4, 3, math.inf, 0)
    assert outcome.wait_max == math.inf
    outcome = replay(Recording(tuple(callers)), max_size=1, max_waiting=2)
    assert (outcome.refused, outcome.wait_p50) == (1, 9)


def test_an_open_that_takes_too_long_is_no_longer_counted():
    outcome = replay(Recording((Caller(0, 1), Caller(10, 1))), max_size=1, connect_seconds=5, connect_timeout=2)
    assert (outcome.refused, outcome.open_mean) == (2, pytest.approx(4 / 12))


def test_a_recording_without_any_time_is_replayed():
    outcome = replay(Recording((Caller(0, 0),)), max_size=1)
    assert (outcome.wait_max, outcome.open_mean, outcome.open_most) == (0, 0, 1)


def test_what_the_pool_would_not_take_is_refused():
    with pytest.raises(ValueError, match="max_size"):
        replay(Recording((Caller(0, 0),)), max_size=-1)
