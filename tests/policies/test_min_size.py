"""`min_size`: what it takes to have connections at hand before anybody asks, and to have them again."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from ageing import Server, tasks, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FullFakeStrategy
from oracle import check
from scenarios import callers, hold, leave_all, outcome, settle, step, use, virtual


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 4, "min_size": 2} | options))


def has(pool, idle):
    check(pool)
    stats = pool.stats()
    return stats.idle == stats.size == idle


@virtual
async def test_open_opens_as_many_as_are_asked_for_and_no_more():
    server = Server()
    pool = pool_for(server)
    await pool.open()
    assert has(pool, 2)
    assert len(server.connections) == 2
    assert not tasks() + timers()
    await pool.close()


@virtual
async def test_entering_the_pool_opens_them_too():
    async with pool_for(Server()) as pool:
        assert has(pool, 2)


@virtual
async def test_they_are_opened_side_by_side():
    server = Server(create=[5] * 3)
    async with pool_for(server, min_size=3):
        assert server.tried == [0, 0, 0]
        assert asyncio.get_running_loop().time() == 5


@virtual
async def test_not_more_are_opened_at_once_than_may_connect():
    server = Server(create=[5] * 4)
    async with pool_for(server, min_size=4, max_connecting=2) as pool:
        assert server.tried == [0, 0, 5, 5]
        assert has(pool, 4)


@virtual
async def test_c13_a_pool_that_is_not_opened_opens_what_callers_need():
    server = Server()
    pool = pool_for(server)
    assert not server.tried
    await use(pool)
    await asyncio.sleep(100)
    assert has(pool, 1)
    await pool.close()


@virtual
async def test_c13_nor_does_a_failed_create_make_it_open_more():
    server = Server(create=[OSError()])
    pool = pool_for(server)
    assert isinstance(await outcome(use(pool)), OSError)
    assert not tasks() + timers()
    await asyncio.sleep(100)
    assert len(server.tried) == 1
    await use(pool)
    await asyncio.sleep(100)
    assert has(pool, 1)
    await pool.close()


@virtual
async def test_open_opens_only_what_is_lacking():
    server = Server()
    pool = pool_for(server, min_size=3)
    holders = await hold(pool, 2)
    await pool.open()
    assert len(server.connections) == 3
    await leave_all(holders)
    await pool.open()
    assert len(server.connections) == 3
    await pool.close()


@virtual
async def test_c2_opening_a_pool_that_has_them_does_not_yield():
    async with pool_for(Server()) as pool:
        step(pool.open())


@virtual
async def test_what_is_being_opened_for_callers_counts():
    server = Server(create=[5] * 9)
    pool = pool_for(server)
    people = await callers(pool, 2)
    await pool.open()
    assert len(server.tried) == 2
    await leave_all(people)
    await pool.close()


@virtual
async def test_c5_what_is_opened_for_nobody_goes_to_whoever_comes():
    server = Server(create=[5] * 9)
    pool = pool_for(server)
    opening = asyncio.create_task(pool.open())
    await settle()
    people = await callers(pool, 2)
    assert len(server.tried) == 2
    await opening
    await settle()
    assert all(caller.entered for caller in people)
    (third,) = await callers(pool, 1)
    assert len(server.tried) == 3
    await leave_all([*people, third])
    await pool.close()


async def lose_by_discarding(pool):
    async with pool.get_connection() as conn:
        pool.discard(conn)


async def lose_as_dirty(pool):
    with pytest.raises(TimeoutError):
        async with pool.get_connection():
            raise TimeoutError


async def lose_as_dead_to_a_waiter(pool):
    holders = await hold(pool, 2)
    (waiter,) = await callers(pool, 1)
    holders[0].conn.closed = True
    await leave_all([*holders, waiter])


async def lose_by_evicting(pool):
    pool.evict()


async def lose_by_age(pool):
    await asyncio.sleep(10)


async def lose_by_wear(pool):
    for _ in range(3):
        await use(pool)


@pytest.mark.parametrize(
    "lose, options",
    [
        (lose_by_discarding, {}),
        (lose_as_dirty, {}),
        (lose_as_dead_to_a_waiter, {"max_size": 2}),
        (lose_by_evicting, {}),
        (lose_by_age, {"max_lifetime": 10}),
        (lose_by_wear, {"max_uses": 3}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@virtual
async def test_what_is_lost_is_replaced_though_nobody_asks(lose, options):
    server = Server()
    async with pool_for(server, **options) as pool:
        first = server.open
        await lose(pool)
        await settle()
        assert has(pool, 2)
        assert server.open != first


@pytest.mark.parametrize("options", [{}, {"max_lifetime": 1000}], ids=["fast path", "checked path"])
@virtual
async def test_what_turns_out_to_be_dead_at_a_hand_out_is_replaced(options):
    """C7 drops it, the next one is handed out, and nobody needs to wait; but there is one less now."""
    async with pool_for(Server(), min_size=3, **options) as pool:
        pool._ledger.idle[-1].conn.closed = True
        async with pool.get_connection():
            await settle()
            assert pool.stats().size == 3
            assert pool.stats().idle == 2


@pytest.mark.parametrize("options", [{}, {"max_lifetime": 1000}], ids=["fast path", "checked path"])
@virtual
async def test_what_turns_out_to_be_dead_is_replaced_at_timeout_0_too(options):
    async with pool_for(Server(), **options) as pool:
        for slot in pool._ledger.idle:
            slot.conn.closed = True
        assert isinstance(await outcome(use(pool, timeout=0)), TimeoutError)
        await settle()
        assert has(pool, 2)


@virtual
async def test_what_a_reset_or_a_validation_loses_is_replaced():
    server = FullFakeStrategy(reset=[OSError()], validate=[OSError()])
    async with pool_for(server, validate_after=5) as pool:
        await use(pool)
        await settle()
        assert has(pool, 2)
        assert pool.stats().closed["reset_failed"] == 1
        await asyncio.sleep(6)
        await use(pool)
        await settle()
        assert has(pool, 2)
        assert pool.stats().closed["validation_failed"] == 1


@virtual
async def test_a_connection_in_use_is_one_that_is_kept():
    server = Server()
    async with pool_for(server) as pool:
        holders = await hold(pool, 2)
        await asyncio.sleep(100)
        assert len(server.connections) == 2
        await leave_all(holders)


@virtual
async def test_where_there_is_room_the_replacement_does_not_wait_for_the_close():
    server = Server(close=[50])
    async with pool_for(server) as pool:
        await lose_by_discarding(pool)
        await settle()
        assert pool.stats().idle == 2
        assert pool.stats().closing == 1


@virtual
async def test_c1_where_there_is_no_room_it_does():
    server = Server(close=[50])
    async with pool_for(server, max_size=2) as pool:
        await lose_by_discarding(pool)
        await asyncio.sleep(49)
        assert pool.stats().size == 2
        assert pool.stats().idle == 1
        await asyncio.sleep(2)
        assert has(pool, 2)
        assert server.most == 2


@virtual
async def test_c8_surplus_shrinks_to_max_size_all_the_same():
    async with pool_for(Server(), max_size=2, burst_limit=6) as pool:
        await leave_all(await hold(pool, 6))
        assert has(pool, 2)


@virtual
async def test_c12_a_pool_that_is_closed_is_not_filled_any_more():
    server = Server()
    pool = pool_for(server)
    await pool.open()
    (holder,) = await hold(pool)
    closing = asyncio.create_task(pool.close())
    await settle()
    await holder.leave()
    await closing
    await asyncio.sleep(100)
    assert len(server.connections) == 2
    assert not server.open
    assert not tasks() + timers()


request: ContextVar[str] = ContextVar("request", default="nobody")


class Remembering(Server):
    """Remembers on whose behalf it opened."""

    def __init__(self, **scripts):
        super().__init__(**scripts)
        self.behalf = []

    async def create_connection(self):
        self.behalf.append(request.get())
        return await super().create_connection()


@virtual
async def test_c5_what_is_opened_for_nobody_has_the_context_of_nobody():
    """Whose exit led to it, did not ask for it: its trace is not to go on in there."""
    server = Remembering()
    pool = ConnectionPool(strategy=server, max_size=2, min_size=2)
    request.set("who opens the pool")
    await pool.open()
    request.set("a caller")
    async with pool.get_connection() as conn:
        pool.discard(conn)
    await settle()
    await pool.close()
    assert server.behalf == ["who opens the pool"] * 2 + ["nobody"]
