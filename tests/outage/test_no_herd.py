"""`reconnect`: a server that comes back is met by one connect, then by 1, 2, 4 … at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import pairwise

import pytest

from asyncio_connection_pool import ConnectionPool, Reconnect
from asyncio_connection_pool._outage import Recovery
from oracle import check, check_settled
from outages import Flaky
from scenarios import Caller, callers, hold, leave_all, settle, use, virtual
from sweeping import captured_log

STEPS = Reconnect(first=1, longest=8)


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 1, "reconnect": STEPS} | options))


def gaps(times):
    return [after - before for before, after in pairwise(times)]


async def give_up(people):
    for caller in people:
        caller.cancel()
    await settle()


# One prober, and its backoff.


@virtual
async def test_the_waits_double_from_the_first_to_the_longest():
    server = Flaky(up=False)
    people = await callers(pool_for(server), 1)
    await asyncio.sleep(40)
    assert gaps(server.tries)[:6] == [1, 2, 4, 8, 8, 8]
    await give_up(people)


@pytest.mark.parametrize("part", [0.5, 0.25])
@virtual
async def test_a_random_part_of_each_is_waited(jitter, part):
    jitter(part)
    server = Flaky(up=False)
    people = await callers(pool_for(server), 1)
    await asyncio.sleep(20)
    assert gaps(server.tries)[:5] == [part * wait for wait in (1, 2, 4, 8, 8)]
    await give_up(people)


@virtual
async def test_the_jitter_is_full_so_that_many_pools_dont_come_together(monkeypatch):
    monkeypatch.setattr(random, "random", random.Random(1).random)
    waits = []
    for _ in range(300):
        server = Flaky(up=False)
        people = await callers(pool_for(server), 1)
        await asyncio.sleep(1)
        waits += gaps(server.tries)[:1]
        await give_up(people)
    quarters = [sum(n <= 4 * wait < n + 1 for wait in waits) for n in range(4)]
    assert sum(quarters) == 300
    assert min(quarters) > 50


@virtual
async def test_each_outage_begins_with_the_first_step():
    server = Flaky(up=False)
    pool = pool_for(server)
    people = await callers(pool, 1)
    await asyncio.sleep(8)
    server.come_back()
    await asyncio.sleep(8)
    await leave_all(people)
    server.tries.clear()
    server.go_down()
    people = await callers(pool, 1)
    await asyncio.sleep(8)
    assert gaps(server.tries) == [1, 2, 4]
    await give_up(people)
    check_settled(pool)


@virtual
async def test_after_the_first_wave_there_is_one_try_at_a_time_however_many_wait():
    server = Flaky(up=False, takes=0.1)
    people = await callers(pool_for(server, max_size=20), 100)
    await asyncio.sleep(60)
    assert server.crowds[:20] == list(range(1, 21))
    assert set(server.crowds[20:]) == {1}
    await give_up(people)


@virtual
async def test_failures_of_the_first_wave_that_come_late_start_no_second_prober():
    """Connects of one wave fail one after the other, while the prober is under way."""
    server = Flaky(up=False)
    pool = pool_for(server, max_size=10)
    people = []
    for n in range(10):
        server.takes = 1 + n / 2
        people += await callers(pool, 1)
    server.takes = 0.1
    await asyncio.sleep(60)
    assert max(server.crowds[10:]) == 1
    assert min(gaps(server.tries[10:])) >= 1
    await give_up(people)


@virtual
async def test_nobody_tries_while_nobody_needs_a_connection_and_then_one_does():
    server = Flaky(up=False)
    pool = pool_for(server, max_size=8)
    people = await callers(pool, 8)
    await give_up(people)
    await asyncio.sleep(100)
    assert len(server.tries) == 8
    people = await callers(pool, 8)
    assert server.crowds[8:] == [1]
    await give_up(people)


# Slow start.


@pytest.mark.parametrize("most", [1, 3, 4, None])
@virtual
async def test_after_the_first_success_1_then_2_then_4_run_up_to_max_connecting(most):
    server = Flaky(up=False, takes=0.1)
    pool = pool_for(server, max_size=16, max_connecting=most)
    people = await callers(pool, 16)
    await asyncio.sleep(0.5)
    server.come_back()
    first = len(server.tries)
    await asyncio.sleep(5)
    assert all(caller.entered for caller in people)
    waves = Counter(round(when, 6) for when in server.tries[first:])
    doubling = {1: [1] * 16, 3: [1, 1, 2, 3, 3, 3, 3], 4: [1, 1, 2, 4, 4, 4], None: [1, 1, 2, 4, 8]}
    assert list(waves.values()) == doubling[most]
    assert max(server.crowds[first:]) == max(doubling[most])
    await leave_all(people)
    check_settled(pool)


@virtual
async def test_a_failure_in_the_slow_start_leaves_one_prober_again():
    server = Flaky(up=False, takes=0.1)
    pool = pool_for(server, max_size=32)
    people = await callers(pool, 32)
    await asyncio.sleep(0.5)
    server.come_back()
    await asyncio.sleep(0.95)
    assert 1 < pool.stats().in_use < 32
    server.up = False
    await asyncio.sleep(0.2)
    tries = len(server.tries)
    await asyncio.sleep(20)
    assert set(server.crowds[tries:]) == {1}
    await give_up(people)


@virtual
async def test_once_it_has_succeeded_all_run_at_once_again():
    server = Flaky(up=False, takes=0.1)
    pool = pool_for(server, max_size=8)
    await give_up(await callers(pool, 8))
    server.come_back()
    await asyncio.sleep(5)
    for _ in range(2):
        await leave_all(await hold(pool, 8))
        pool.evict()
    await leave_all(await hold(pool, 8))
    assert server.crowds[-8:] == list(range(1, 9))


def test_recovery_takes_a_success_that_comes_in_the_pause_for_no_more_than_that():
    recovery = Recovery(STEPS)
    recovery.succeeded(8)
    assert recovery.allowance is None
    assert recovery.failed() == 1
    assert recovery.failed() is None
    recovery.succeeded(8)
    assert recovery.allowance == 0


# The figure.


@pytest.mark.parametrize("most", [5, None])
@virtual
async def test_a_restart_under_1000_callers_meets_no_herd(monkeypatch, most):
    """At most `max_connecting` connects at once, and after the wave that was in flight one failure a step."""
    monkeypatch.setattr(random, "random", random.Random(1).random)
    asyncio.get_running_loop().set_debug(False)  # or it takes minutes
    server = Flaky(takes=0.02)
    pool = pool_for(server, max_size=50, max_connecting=most, reconnect=True)
    stopped = False
    turns = [0] * 1000

    async def work(n):
        while not stopped:
            async with pool.get_connection():
                await asyncio.sleep(0.01)
            turns[n] += 1

    workers = [asyncio.create_task(work(n)) for n in range(1000)]
    await asyncio.sleep(5)
    check(pool)
    before, wave = len(server.tries), most or 50
    with captured_log() as steps:
        server.go_down()
        await asyncio.sleep(30)
        failures = len(server.refusals)
        down = server.crowds[before:]
        server.come_back()
        there, back = len(server.tries), turns.copy()
        await asyncio.sleep(25)
    assert max(server.crowds) <= wave
    assert max(down[wave:]) == 1
    assert wave <= failures <= wave + len(steps) - 1
    assert all(now > then for now, then in zip(turns, back, strict=True))
    assert server.crowds[there:][:4] == [1, 1, 1, 2]
    print(f"\n1,000 callers, max_connecting={most}: {failures} failed connects in 30 s of outage, {wave} of them in")
    print(f"the first wave, {len(steps)} steps; at most {max(server.crowds)} connects at once before, during and after")
    stopped = True
    await asyncio.gather(*workers)
    check_settled(pool)


# Bad input.


@pytest.mark.parametrize("name", ["first", "longest"])
@pytest.mark.parametrize("value", ["1", None, True, [1], 1j], ids=repr)
def test_seconds_of_the_wrong_type_are_a_typeerror_that_names_them(name, value):
    with pytest.raises(TypeError, match=f"{name} must be a number of seconds, not") as error:
        Reconnect(**{name: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("name", ["first", "longest"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), -float("inf")])
def test_seconds_out_of_range_are_a_valueerror_that_says_what_is_allowed(name, value):
    with pytest.raises(ValueError, match=f"{name} must be finite and more than 0 seconds, not {value!r}"):
        Reconnect(**{name: value})


def test_a_longest_below_first_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="longest must not be below first: longest is 1, first is 2"):
        Reconnect(first=2, longest=1)


@pytest.mark.parametrize("value", [1, 0, "yes", Reconnect, 0.5, [True]], ids=repr)
def test_a_reconnect_of_the_wrong_type_is_refused_at_construction(value):
    with pytest.raises(TypeError, match="reconnect must be a bool or a Reconnect, not"):
        pool_for(Flaky(), reconnect=value)


def test_arguments_are_by_keyword_and_cant_be_changed():
    with pytest.raises(TypeError):
        Reconnect(1, 2)
    with pytest.raises(AttributeError):
        STEPS.first = 2


@virtual
async def test_steps_of_any_size_are_waited_for():
    """Doubling for ever neither overflows nor passes the longest."""
    server = Flaky(up=False)
    people = await callers(pool_for(server, reconnect=Reconnect(first=1e-9, longest=0.001)), 1)
    await asyncio.sleep(1)
    assert max(gaps(server.tries)) <= 0.0011
    assert len(server.tries) > 900
    await give_up(people)


@virtual
async def test_c14_where_no_open_fails_nothing_changes():
    server = Flaky(takes=0.1)
    pool = pool_for(server, max_size=4)
    people = [Caller(pool) for _ in range(4)]
    await asyncio.sleep(0.2)
    assert server.crowds == [1, 2, 3, 4]
    await leave_all(people)
    await use(pool)
