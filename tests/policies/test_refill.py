"""What `min_size` lacks while creates fail: tried again in the background, after 1 to 30 seconds, with jitter."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import weakref

import pytest

from ageing import Server, now, tasks, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import NEVER
from oracle import check
from scenarios import Halt, outcome, run_virtual, settle, use, virtual


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 4, "min_size": 1} | options))


def refused(count):
    return [OSError(f"refused {number}") for number in range(count)]


async def pool_without_server(server, **options):
    pool = pool_for(server, **options)
    assert isinstance(await outcome(pool.open()), OSError)
    return pool


def gaps(times):
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@virtual
async def test_the_time_between_attempts_doubles_from_one_second_to_thirty():
    server = Server(create=refused(12))
    pool = await pool_without_server(server)
    await asyncio.sleep(300)
    steps = [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30]
    found = gaps(server.tried)
    assert len(found) == len(steps)
    assert all(step / 2 <= gap <= step for step, gap in zip(steps, found, strict=True)), found
    assert pool.stats().idle == 1
    assert not tasks() + timers()
    await pool.close()


def test_the_time_between_attempts_is_left_to_chance():
    async def attempts():
        server = Server(create=refused(5))
        pool = await pool_without_server(server)
        await asyncio.sleep(60)
        await pool.close()
        return tuple(server.tried)

    seen = set()
    for seed in range(10):
        random.seed(seed)
        seen.add(run_virtual(attempts()))
    assert len(seen) == 10


@virtual
async def test_failures_that_come_together_are_one_step():
    """A server that is away for a moment is not given up for half a minute because ten creates noticed."""
    server = Server(create=refused(10))
    pool = await pool_without_server(server, max_size=10, min_size=10)
    await asyncio.sleep(1)
    assert pool.stats().idle == 10
    await pool.close()


@virtual
async def test_a_failure_that_a_caller_meets_does_not_put_the_next_attempt_off():
    server = Server(create=refused(30))
    pool = await pool_without_server(server)
    for _ in range(8):
        await asyncio.sleep(0.1)
        assert isinstance(await outcome(use(pool)), OSError)
    await asyncio.sleep(0.25)
    assert len(server.tried) == 1 + 8 + 1
    await pool.close()


@virtual
async def test_a_caller_does_not_wait_for_the_next_attempt():
    server = Server(create=refused(6))
    pool = await pool_without_server(server)
    while len(server.tried) < 6:
        await asyncio.sleep(0.1)
    since = now()
    await use(pool)
    assert now() == since
    await pool.close()


@virtual
async def test_one_success_ends_the_waiting_for_all():
    server = Server(create=refused(8))
    pool = await pool_without_server(server, min_size=4)
    while len(server.tried) < 8:
        await asyncio.sleep(0.1)
    if not pool.stats().idle:
        await use(pool)
    await settle()
    assert pool.stats().idle == 4
    assert not tasks() + timers()
    await pool.close()


@virtual
async def test_after_a_success_the_steps_begin_anew():
    server = Server(create=[*refused(6), None, *refused(1)])
    pool = await pool_without_server(server)
    await asyncio.sleep(100)
    assert pool.stats().idle == 1
    async with pool.get_connection() as conn:
        pool.discard(conn)
    await asyncio.sleep(1)
    assert pool.stats().idle == 1
    await pool.close()


@virtual
async def test_c6_failures_that_no_caller_can_be_told_are_logged(caplog):
    pool = await pool_without_server(Server(create=refused(4)), name="things")
    await asyncio.sleep(100)
    assert [str(record.exc_info[1]) for record in caplog.records] == ["refused 1", "refused 2", "refused 3"]
    assert "things" in caplog.text
    await pool.close()


@pytest.mark.parametrize("error", [Halt(), asyncio.CancelledError(), ValueError()], ids=repr)
@virtual
async def test_whatever_a_create_raises_is_a_failure(error):
    server = Server(create=[None, error])
    async with pool_for(server) as pool:
        pool.evict()
        await settle()
        assert pool.stats().size == 0
        await asyncio.sleep(1)
        assert pool.stats().idle == 1


@virtual
async def test_c10_a_create_that_somebody_outside_cancels_is_none():
    server = Server(create=[None, NEVER])
    async with pool_for(server) as pool:
        pool.evict()
        await settle()
        (task,) = tasks()
        task.cancel()
        await settle()
        assert pool.stats().idle == 1


@virtual
async def test_a_create_that_takes_too_long_is_one():
    server = Server(create=[None, NEVER, NEVER])
    async with pool_for(server, connect_timeout=5) as pool:
        pool.evict()
        await asyncio.sleep(5 + 1 + 5)
        assert len(server.tried) == 3
        await asyncio.sleep(2)
        assert pool.stats().idle == 1
        check(pool)


@virtual
async def test_c13_there_is_one_timer_and_no_task_until_then():
    server = Server(create=refused(100))
    pool = await pool_without_server(server, max_size=4, min_size=4)
    await settle()
    for _ in range(50):
        assert len(timers()) == 1
        assert not tasks()
        await asyncio.sleep(3)
    await pool.close()
    assert not tasks() + timers()


@virtual
async def test_c13_a_pool_that_nobody_references_is_collected_though_the_timer_is_armed():
    async def forgotten():
        pool = await pool_without_server(Server(create=refused(1)))
        await settle()
        assert len(timers()) == 1
        gone = weakref.ref(pool)
        del pool
        gc.collect()
        return gone

    with pytest.warns(ResourceWarning, match="not closed"):
        gone = await forgotten()
    assert gone() is None
    await asyncio.sleep(60)
    assert not tasks() + timers()


@virtual
async def test_c13_what_is_not_lacking_any_more_is_not_tried():
    server = Server(create=refused(6))
    pool = await pool_without_server(server)
    while len(server.tried) < 6:
        await asyncio.sleep(0.1)
    await use(pool)
    await asyncio.sleep(100)
    assert len(server.connections) == 1
    await pool.close()


def test_c11_a_pool_that_starts_anew_on_another_loop_keeps_what_it_was_told_to():
    async def on_first_loop():
        await pool.open()
        async with pool.get_connection() as conn:
            pool.discard(conn)
        await settle()

    async def on_second_loop():
        async with pool.get_connection() as conn:
            pool.discard(conn)
        await settle()
        assert pool.stats().idle == 1
        await pool.close()

    pool = pool_for(Server(create=[None, *refused(1)]))
    run_virtual(on_first_loop())
    run_virtual(on_second_loop())
