"""`max_idle`: what nobody has needed for so long is closed, down to `min_size`."""

from __future__ import annotations

import asyncio

from ageing import Server, now, tasks, timers
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import FullFakeStrategy
from oracle import check_settled
from scenarios import callers, hold, idle, leave_all, settle, use, virtual


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 3, "max_idle": 10} | options))


@virtual
async def test_what_idles_for_so_long_is_closed():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 3)
    await asyncio.sleep(9.9)
    assert pool.stats().idle == 3
    await asyncio.sleep(0.2)
    assert not server.open
    assert pool.stats().closed["idle"] == 3
    assert not tasks() + timers()
    check_settled(pool)


@virtual
async def test_each_has_its_own_time():
    server = Server()
    pool = pool_for(server)
    for caller in await hold(pool, 3):
        await caller.leave()
        await asyncio.sleep(2)
    await asyncio.sleep(100)
    assert server.closed_at == [10, 12, 14]
    assert [conn.number for _, conn in server.closed] == [0, 1, 2]


@virtual
async def test_a_use_begins_the_time_anew():
    server = Server()
    pool = pool_for(server)
    await idle(pool, 1)
    for _ in range(30):
        await asyncio.sleep(9)
        await use(pool)
    assert len(server.connections) == 1


@virtual
async def test_time_in_use_is_not_idle():
    server = Server()
    pool = pool_for(server)
    (holder,) = await hold(pool)
    await asyncio.sleep(100)
    await holder.leave()
    await asyncio.sleep(9)
    assert pool.stats().idle == 1
    await asyncio.sleep(2)
    assert pool.stats().idle == 0


@virtual
async def test_c4_a_load_that_needs_one_lets_the_others_go():
    server = Server()
    pool = pool_for(server)
    conns = await idle(pool, 3)
    for _ in range(12):
        await asyncio.sleep(1)
        await use(pool)
    assert server.open == conns[2:]


@virtual
async def test_as_many_stay_as_min_size_says():
    server = Server()
    async with pool_for(server, max_size=5, min_size=2) as pool:
        conns = await idle(pool, 5)
        await asyncio.sleep(10.1)
        assert server.open == conns[3:]
        await asyncio.sleep(100)
        assert server.open == conns[3:]
        assert len(server.connections) == 5, "none is closed to be opened anew"
        assert not tasks() + timers()


@virtual
async def test_connections_in_use_are_among_those_that_stay():
    async with pool_for(Server(), min_size=2) as pool:
        holders = await hold(pool, 3)
        await holders.pop().leave()
        await asyncio.sleep(11)
        assert pool.stats().idle == 0
        assert pool.stats().in_use == 2
        await leave_all(holders)
        await asyncio.sleep(100)
        assert pool.stats().idle == 2


@virtual
async def test_what_stayed_for_min_size_goes_when_there_is_one_more_than_needed():
    server = Server()
    async with pool_for(server, min_size=1) as pool:
        await asyncio.sleep(100)
        assert len(server.open) == 1
        await leave_all(await hold(pool, 2))
        await asyncio.sleep(9)
        assert len(server.open) == 2
        await asyncio.sleep(2)
        assert len(server.open) == 1


@virtual
async def test_zero_closes_what_is_given_back_unless_somebody_waits():
    server = Server()
    pool = pool_for(server, max_size=1, max_idle=0)
    people = await callers(pool, 3)
    await leave_all(people)
    await asyncio.sleep(0)
    assert len(server.connections) == 1
    assert not server.open
    assert now() == 0


@virtual
async def test_c5_what_was_opened_for_somebody_who_left_idles_from_then_on():
    server = Server(create=[5])
    pool = pool_for(server)
    (caller,) = await callers(pool, 1)
    caller.cancel()
    await asyncio.sleep(14)
    assert len(server.open) == 1
    await asyncio.sleep(2)
    assert not server.open


@virtual
async def test_it_idles_from_the_end_of_its_reset():
    server = FullFakeStrategy(reset=[50])
    pool = pool_for(server)
    await use(pool)
    await asyncio.sleep(59)
    assert pool.stats().idle == 1
    await asyncio.sleep(2)
    assert pool.stats().idle == 0


@virtual
async def test_a_hand_out_does_not_ask_for_it():
    """A timer that is late closes what is idle when it comes, not what was used in between."""
    server = Server()
    pool = pool_for(server)
    (conn,) = await idle(pool, 1)
    asyncio.get_running_loop().advance(11)
    assert await use(pool) is conn
    await settle()
    assert server.open == [conn]


@virtual
async def test_what_the_close_raises_is_logged(caplog):
    pool = pool_for(Server(close=[OSError("close")]))
    await idle(pool, 1)
    await asyncio.sleep(11)
    assert "close_connection" in caplog.text
    check_settled(pool)
