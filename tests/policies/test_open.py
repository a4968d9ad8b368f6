"""`open()` fills a pool up to `min_size`, or says why it could not."""

from __future__ import annotations

import asyncio

import pytest

from ageing import Server, now, tasks, timers
from asyncio_connection_pool import ConnectionPool, PoolClosedError, PoolTimeoutError
from asyncio_connection_pool.testing import NEVER
from oracle import check, check_settled
from scenarios import Halt, callers, hold, leave_all, outcome, settle, use, virtual
from sweeping_fakes import failing


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 4, "min_size": 2} | options))


@pytest.mark.parametrize("error", [OSError("refused"), TimeoutError(), Halt()], ids=repr)
@virtual
async def test_it_raises_what_a_create_raises(error):
    pool = pool_for(Server(create=[None, error]))
    assert await outcome(pool.open()) is error
    await pool.close()


@virtual
async def test_a_cancellederror_of_the_strategy_is_raised_and_nobody_is_cancelled():
    async def opening():
        with pytest.raises(asyncio.CancelledError, match="of the driver"):
            await pool.open()
        return asyncio.current_task().cancelling()

    pool = pool_for(Server(create=[asyncio.CancelledError("of the driver")]))
    assert await asyncio.create_task(opening()) == 0
    await pool.close()


@virtual
async def test_it_raises_as_soon_as_the_first_has_failed():
    pool = pool_for(Server(create=[50, failing(5, OSError())]))
    assert isinstance(await outcome(pool.open()), OSError)
    assert now() == 5
    check(pool)
    await pool.close()


@virtual
async def test_what_has_been_opened_stays_open():
    server = Server(create=[None, None, OSError()])
    pool = pool_for(server, min_size=3)
    assert isinstance(await outcome(pool.open()), OSError)
    assert pool.stats().idle == 2
    await use(pool)
    assert len(server.connections) == 2
    await pool.close()
    assert not server.open


@virtual
async def test_called_again_it_tries_again_at_once():
    pool = pool_for(Server(create=[OSError(), OSError()]))
    assert isinstance(await outcome(pool.open()), OSError)
    await pool.open()
    assert now() == 0
    assert pool.stats().idle == 2
    await pool.close()


@virtual
async def test_c6_all_that_fails_is_told_once(caplog):
    errors = [OSError("one"), OSError("two")]
    pool = pool_for(Server(create=errors))
    assert await outcome(pool.open()) is errors[0]
    await settle()
    assert [record.exc_info[1] for record in caplog.records] == [errors[1]]
    await pool.close()


@virtual
async def test_a_connect_that_takes_too_long_is_raised_too():
    pool = pool_for(Server(create=[NEVER]), connect_timeout=5)
    assert isinstance(await outcome(pool.open()), PoolTimeoutError)
    assert now() == 5
    await pool.close()


# async with.


async def enter(pool):
    async with pool:
        raise AssertionError("the block was entered")


@virtual
async def test_a_block_whose_open_fails_leaves_nothing_open():
    server = Server(create=[None, 3, OSError("refused"), NEVER], close=[5])
    pool = pool_for(server, min_size=4)
    error = await outcome(enter(pool))
    assert str(error) == "refused"
    assert pool.closed
    assert not server.open
    assert not server.creating
    assert not tasks() + timers()
    check_settled(pool)


@pytest.mark.parametrize("ticks", range(12))
@virtual
async def test_c10_a_block_whose_open_is_cancelled_leaves_nothing_open(ticks):
    server = Server(create=[None, 3, NEVER], close=[5])
    pool = pool_for(server, min_size=3)
    entering = asyncio.create_task(enter(pool))
    await settle(ticks)
    entering.cancel()
    assert isinstance(await outcome(entering), asyncio.CancelledError)
    assert not server.open
    assert not server.creating
    assert not tasks() + timers()
    check_settled(pool)


@virtual
async def test_a_block_that_cannot_be_entered_says_so_though_a_close_fails_too(caplog):
    server = Server(create=[None, OSError("refused")], close=[OSError("close")])
    assert str(await outcome(enter(pool_for(server)))) == "refused"
    assert "close_connection" in caplog.text


# Cancelled.


@pytest.mark.parametrize("ticks", range(12))
@virtual
async def test_c10_an_open_that_is_cancelled_loses_nothing_and_what_is_under_way_goes_on(ticks):
    server = Server(create=[None, 3])
    pool = pool_for(server, min_size=3)
    opening = asyncio.create_task(pool.open())
    await settle(ticks)
    opening.cancel()
    await outcome(opening)
    check(pool)
    await asyncio.sleep(5)
    await pool.open()
    assert len(server.connections) == 3
    check_settled(pool)
    await pool.close()


@virtual
async def test_c6_after_that_what_fails_is_logged_and_no_later_open_raises_it(caplog):
    server = Server(create=[failing(5, OSError("late"))])
    pool = pool_for(server, min_size=1)
    opening = asyncio.create_task(pool.open())
    await asyncio.sleep(1)
    opening.cancel()
    await outcome(opening)
    await asyncio.sleep(10)
    assert "late" in caplog.text
    assert pool.stats().idle == 1
    await pool.open()
    await pool.close()


@pytest.mark.parametrize("ticks", range(8))
@virtual
async def test_c6_an_error_that_an_open_is_cancelled_with_is_told_all_the_same(ticks, caplog):
    error = OSError("refused")
    server = Server(create=[error])
    pool = pool_for(server, min_size=1)
    opening = asyncio.create_task(pool.open())
    await settle(ticks)
    opening.cancel()
    raised = await outcome(opening)
    await asyncio.sleep(10)
    logged = [record for record in caplog.records if record.exc_info[1] is error]
    assert (raised is error) + len(logged) == min(1, len(server.tried))
    assert (await outcome(pool.open()) is error) == (not server.connections)
    await pool.close()


# Several at once.


@virtual
async def test_several_opens_at_once_share_what_is_opened():
    server = Server(create=[5] * 9)
    pool = pool_for(server)
    await asyncio.gather(*(pool.open() for _ in range(5)))
    assert len(server.tried) == 2
    await pool.close()


@virtual
async def test_several_opens_at_once_all_learn_of_a_failure():
    pool = pool_for(Server(create=[failing(5, OSError("refused"))] * 99))
    errors = await asyncio.gather(*(pool.open() for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in errors] == ["refused"] * 3
    assert now() < 10
    await pool.close()


@virtual
async def test_c10_of_several_opens_at_once_one_may_be_cancelled():
    pool = pool_for(Server(create=[5] * 9))
    first, second = [asyncio.create_task(pool.open()) for _ in range(2)]
    await settle()
    first.cancel()
    await second
    assert first.cancelled()
    assert pool.stats().idle == 2
    await pool.close()


@virtual
async def test_c10_of_several_opens_at_once_one_may_be_cancelled_and_the_other_learns_of_the_failure():
    pool = pool_for(Server(create=[failing(5, OSError("refused"))] * 99))
    first, second = [asyncio.create_task(pool.open()) for _ in range(2)]
    await settle()
    first.cancel()
    assert isinstance(await outcome(second), OSError)
    assert now() < 10
    await pool.close()


# Closed.


@virtual
async def test_c12_a_pool_that_is_closed_is_not_opened():
    pool = pool_for(Server())
    await pool.close()
    with pytest.raises(PoolClosedError):
        await pool.open()


@virtual
async def test_c12_an_open_ends_when_the_pool_is_closed():
    server = Server(create=[NEVER] * 9)
    pool = pool_for(server)
    opening = asyncio.create_task(pool.open())
    await settle()
    await pool.close()
    assert isinstance(await outcome(opening), PoolClosedError)
    assert not server.creating


@virtual
async def test_c12_an_open_that_waits_for_the_next_attempt_ends_too():
    """A caller took the failure (C6); the close has to wait for a holder, the open has not."""
    pool = pool_for(Server(create=[None, failing(5, OSError())]))
    (holder,) = await hold(pool)
    opening = asyncio.create_task(pool.open())
    await settle()
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(5)
    await settle()
    assert isinstance(caller.error, OSError)
    closing = asyncio.create_task(pool.close())
    await settle()
    assert isinstance(opening.exception() if opening.done() else None, PoolClosedError)
    await leave_all([holder])
    await closing


@virtual
async def test_c6_a_failure_that_a_caller_was_told_of_is_made_up_for():
    pool = pool_for(Server(create=[failing(5, OSError())]), min_size=1)
    opening = asyncio.create_task(pool.open())
    await settle()
    (caller,) = await callers(pool, 1)
    await opening
    assert isinstance(caller.error, OSError)
    assert pool.stats().idle == 1
    await pool.close()
