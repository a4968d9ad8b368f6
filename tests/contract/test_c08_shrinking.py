"""C8: a connection that is returned above `max_size` while nobody waits is surplus, and goes."""

from __future__ import annotations

import asyncio

import pytest

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy
from oracle import check, check_settled
from scenarios import Halt, callers, hold, idle, leave_all, settle, use, virtual


def pool_for(strategy, **options):
    return ConnectionPool(strategy=strategy, **({"max_size": 1, "burst_limit": 2} | options))


def cancel_closes():
    for task in asyncio.all_tasks():
        if task.get_name().endswith(": close"):
            task.cancel()


class AbortableStrategy(FakeStrategy):
    def __init__(self, **scripts):
        super().__init__(**scripts)
        self.aborted = []

    def abort_connection(self, conn):
        self.aborted.append(conn)
        conn.closed = True


@virtual
async def test_c8_the_exit_waits_for_the_close():
    strategy = FakeStrategy(close=[10])
    pool = pool_for(strategy)
    holders = await hold(pool, 2)
    holders[0].leave()
    await asyncio.sleep(9)
    assert not holders[0].task.done()
    assert pool.stats().closing == 1
    await asyncio.sleep(2)
    assert holders[0].task.done()
    assert holders[0].conn.closed
    await holders[1].leave()
    assert strategy.open == [holders[1].conn]
    check_settled(pool)


async def test_c8_the_pool_shrinks_back_to_max_size():
    strategy = FakeStrategy()
    pool = pool_for(strategy, max_size=2, burst_limit=10)
    await leave_all(await hold(pool, 10))
    assert len(strategy.open) == pool.stats().idle == 2
    assert pool.stats().closed["surplus"] == 8
    check_settled(pool)


async def test_c8_what_is_being_opened_counts_towards_surplus():
    gate = asyncio.Event()
    strategy = FakeStrategy(create=[None, gate.wait])
    pool = pool_for(strategy)
    (holder,) = await hold(pool)
    (gone,) = await callers(pool, 1)
    gone.cancel()
    await settle()
    await holder.leave()
    assert holder.conn.closed
    gate.set()
    await settle()
    assert pool.stats().idle == 1
    check_settled(pool)


@virtual
async def test_c8_what_is_being_closed_does_not_count_towards_surplus():
    strategy = FakeStrategy(close=[100])
    pool = pool_for(strategy)
    first, second = await hold(pool, 2)
    first.leave()
    await settle()
    await second.leave()
    assert not second.conn.closed
    assert pool.stats().idle == 1
    await asyncio.sleep(101)
    check_settled(pool)


@virtual
async def test_c8_what_is_being_reset_counts_towards_surplus():
    strategy = FullFakeStrategy(reset=[100])
    pool = pool_for(strategy, burst_limit=3, max_size=2)
    one, two, three = await hold(pool, 3)
    pool.max_size = 3
    await one.leave()
    pool.max_size = 2
    await two.leave()
    assert two.conn.closed
    assert not one.conn.closed
    await three.leave()
    assert not three.conn.closed
    await asyncio.sleep(101)
    check_settled(pool)


async def test_c8_a_surplus_connection_goes_to_who_waits():
    strategy = FakeStrategy()
    pool = pool_for(strategy)
    people = await callers(pool, 3)
    await people[0].leave()
    await settle()
    assert people[2].conn is people[0].conn
    assert len(strategy.connections) == 2
    await leave_all(people)


async def test_c8_a_surplus_connection_is_not_reset_before_it_is_closed():
    strategy = FullFakeStrategy(reset=[Halt(), Halt()])
    pool = pool_for(strategy)
    first, second = await hold(pool, 2)
    await first.leave()
    assert pool.stats().closed["surplus"] == 1
    await second.leave()
    await settle()
    assert pool.stats().closed["reset_failed"] == 1


@pytest.mark.parametrize("error", [OSError("close"), TimeoutError(), Halt()], ids=repr)
async def test_c8_what_the_close_raises_is_raised_at_the_exit_after_the_slot_is_free(error, caplog):
    async def caller():
        try:
            async with pool.get_connection():
                await gate.wait()
        except BaseException as caught:
            return caught, pool.stats().size

    gate = asyncio.Event()
    strategy = FakeStrategy(close=[error])
    pool = pool_for(strategy)
    (holder,) = await hold(pool)
    task = asyncio.create_task(caller())
    await settle()
    gate.set()
    assert await task == (error, 1)
    assert not caplog.records
    await holder.leave()
    check_settled(pool)


async def test_c8_a_cancellederror_of_the_close_is_raised_at_the_exit_too():
    strategy = FakeStrategy(close=[asyncio.CancelledError("of the driver")])
    pool = pool_for(strategy)
    first, second = await hold(pool, 2)
    await asyncio.gather(first.leave(), return_exceptions=True)
    assert first.task.cancelled()
    await second.leave()
    check_settled(pool)


async def test_c8_an_exit_that_raises_remembers_what_the_block_raised():
    strategy = FakeStrategy(close=[OSError("close")])
    pool = pool_for(strategy)
    (holder,) = await hold(pool)
    with pytest.raises(OSError, match="close") as caught:
        async with pool.get_connection():
            raise ValueError("mine")
    assert isinstance(caught.value.__context__, ValueError)
    await holder.leave()


@virtual
async def test_c8_a_waiter_is_served_before_a_failed_close_is_raised():
    strategy = FakeStrategy(close=[lambda: asyncio.sleep(5), OSError("second")])
    pool = ConnectionPool(strategy=strategy, max_size=0, burst_limit=1)
    (holder,) = await hold(pool)
    holder.leave()
    await settle()
    (waiter,) = await callers(pool, 1)
    assert not waiter.entered
    await asyncio.sleep(6)
    assert waiter.entered
    with pytest.raises(OSError, match="second"):
        await waiter.leave()
    check_settled(pool)


@virtual
async def test_c8_cancelling_the_exit_does_not_interrupt_the_close():
    strategy = FakeStrategy(close=[10])
    pool = pool_for(strategy)
    first, second = await hold(pool, 2)
    first.leave()
    await asyncio.sleep(5)
    first.cancel()
    await settle()
    assert first.task.cancelled()
    check(pool)
    assert pool.stats().closing == 1
    await asyncio.sleep(6)
    assert first.conn.closed
    assert pool.stats().closing == 0
    await second.leave()
    check_settled(pool)


@pytest.mark.parametrize("ticks", range(6))
@virtual
async def test_c10_an_exit_that_is_cancelled_at_any_tick_of_the_close_loses_nothing(ticks):
    strategy = FakeStrategy(close=[OSError("close")])
    pool = pool_for(strategy)
    first, second = await hold(pool, 2)
    first.leave()
    await settle(ticks)
    first.cancel()
    await settle()
    assert isinstance(first.error, (OSError, asyncio.CancelledError))
    assert first.conn.closed
    await second.leave()
    check_settled(pool)


@virtual
async def test_c8_what_a_close_raises_after_its_caller_was_cancelled_is_logged(caplog):
    async def fail():
        await asyncio.sleep(5)
        raise OSError("close")

    pool = pool_for(FakeStrategy(close=[fail]), name="things")
    first, second = await hold(pool, 2)
    first.leave()
    await settle()
    first.cancel()
    await asyncio.sleep(6)
    assert "things" in caplog.text
    assert "close_connection" in caplog.text
    await second.leave()


async def test_c8_a_close_that_somebody_outside_cancels_counts_as_done_and_is_aborted():
    strategy = AbortableStrategy(close=[NEVER])
    pool = pool_for(strategy)
    first, second = await hold(pool, 2)
    first.leave()
    await settle()
    cancel_closes()
    await first.task
    assert strategy.aborted == [first.conn]
    await second.leave()
    check_settled(pool)


async def test_c10_a_close_that_somebody_outside_cancels_is_tried_once_more_where_there_is_no_abort():
    strategy = FakeStrategy(close=[NEVER])
    pool = pool_for(strategy)
    first, second = await hold(pool, 2)
    first.leave()
    await settle()
    cancel_closes()
    await settle()
    assert first.task.done()
    assert first.error is None
    assert strategy.open == [second.conn]
    await second.leave()
    check_settled(pool)


async def test_c10_a_close_that_is_cancelled_again_and_again_is_given_up():
    strategy = FakeStrategy(close=[NEVER, NEVER, NEVER])
    pool = pool_for(strategy)
    first, second = await hold(pool, 2)
    first.leave()
    for _ in range(3):
        await settle()
        cancel_closes()
    await settle()
    assert first.task.done()
    assert first.error is None
    assert pool.stats().closing == 0
    await second.leave()
    check_settled(pool)


# close_timeout.


@virtual
async def test_close_timeout_ends_in_abort_connection_and_raises_nothing():
    strategy = AbortableStrategy(close=[NEVER])
    pool = pool_for(strategy, close_timeout=5)
    first, second = await hold(pool, 2)
    first.leave()
    await asyncio.sleep(4)
    assert not first.task.done()
    await asyncio.sleep(2)
    assert first.task.done()
    assert first.error is None
    assert strategy.aborted == [first.conn]
    assert pool.stats().size == 1
    await second.leave()
    check_settled(pool)


@virtual
async def test_close_timeout_leaves_the_close_to_run_where_there_is_no_abort_and_frees_the_slot():
    strategy = FakeStrategy(close=[10])
    pool = pool_for(strategy, close_timeout=5)
    first, second = await hold(pool, 2)
    first.leave()
    await asyncio.sleep(6)
    assert first.task.done()
    assert first.error is None
    assert pool.stats().size == 1
    assert not first.conn.closed
    await asyncio.sleep(6)
    assert first.conn.closed
    await second.leave()
    check_settled(pool)


@virtual
async def test_an_abort_that_raises_is_logged_and_loses_nothing(caplog):
    class Strategy(FakeStrategy):
        def abort_connection(self, conn):
            conn.closed = True
            raise OSError("abort")

    pool = pool_for(Strategy(close=[NEVER]), close_timeout=5)
    first, second = await hold(pool, 2)
    first.leave()
    await asyncio.sleep(6)
    assert first.error is None
    assert "abort_connection" in caplog.text
    await second.leave()
    check_settled(pool)


@virtual
async def test_a_close_timeout_that_comes_in_the_tick_in_which_the_close_ends_raises_nothing():
    strategy = AbortableStrategy(close=[5])
    pool = pool_for(strategy, close_timeout=5)
    first, second = await hold(pool, 2)
    first.leave()
    await asyncio.sleep(6)
    assert first.error is None
    await second.leave()
    check_settled(pool)


# shrink_delay.


@virtual
async def test_c8_with_a_delay_a_surplus_connection_idles_and_is_closed_later():
    strategy = FakeStrategy()
    pool = pool_for(strategy, shrink_delay=10)
    holders = await hold(pool, 2)
    await leave_all(holders)
    assert pool.stats().idle == 2
    await asyncio.sleep(9)
    assert pool.stats().idle == 2
    await asyncio.sleep(2)
    assert pool.stats().idle == 1
    assert pool.stats().closed["surplus"] == 1
    check_settled(pool)


@virtual
async def test_c8_the_exit_does_not_wait_for_a_delayed_close():
    strategy = FakeStrategy(close=[100])
    pool = pool_for(strategy, shrink_delay=10)
    await leave_all(await hold(pool, 2))
    await asyncio.sleep(11)
    assert pool.stats().closing == 1
    await asyncio.sleep(100)
    check_settled(pool)


@virtual
async def test_c8_a_surplus_connection_that_is_wanted_again_is_not_closed():
    strategy = FakeStrategy()
    pool = pool_for(strategy, shrink_delay=10)
    await idle(pool, 2)
    for _ in range(5):
        await asyncio.sleep(6)
        await leave_all(await hold(pool, 2))
    assert len(strategy.connections) == 2
    assert pool.stats().idle == 2
    await asyncio.sleep(11)
    assert pool.stats().idle == 1


@virtual
async def test_c8_a_load_that_dips_does_not_open_connections_anew():
    strategy = FakeStrategy()
    pool = pool_for(strategy, max_size=2, burst_limit=8, shrink_delay=5)
    for _ in range(20):
        await leave_all(await hold(pool, 8))
        await asyncio.sleep(1)
    assert len(strategy.connections) == 8


@virtual
async def test_c8_every_surplus_connection_has_a_delay_of_its_own():
    strategy = FakeStrategy()
    pool = pool_for(strategy, burst_limit=4, shrink_delay=10)
    for holder in await hold(pool, 4):
        await holder.leave()
        await asyncio.sleep(2)
    open_at = []
    for _ in range(6):
        open_at.append(len(strategy.open))
        await asyncio.sleep(2)
    assert open_at[0] == 4
    assert sorted(set(open_at), reverse=True) == [4, 3, 2, 1]


@virtual
async def test_c8_with_a_delay_a_connection_above_the_limit_goes_at_once():
    strategy = FakeStrategy()
    pool = pool_for(strategy, burst_limit=4, shrink_delay=10)
    holders = await hold(pool, 4)
    pool.burst_limit = 2
    await leave_all(holders)
    assert pool.stats().idle == 2
    assert len(strategy.open) == 2
    check(pool)
    await asyncio.sleep(11)
    assert len(strategy.open) == 1


@virtual
async def test_c8_lowering_max_size_starts_the_delay_for_what_is_surplus_now():
    strategy = FakeStrategy()
    pool = pool_for(strategy, max_size=3, burst_limit=3, shrink_delay=10)
    await idle(pool, 3)
    await asyncio.sleep(100)
    pool.max_size = 1
    await asyncio.sleep(9)
    assert pool.stats().idle == 3
    await asyncio.sleep(2)
    assert pool.stats().idle == 1


@virtual
async def test_c8_raising_max_size_spares_what_was_surplus():
    strategy = FakeStrategy()
    pool = pool_for(strategy, max_size=1, burst_limit=3, shrink_delay=10)
    await idle(pool, 3)
    pool.max_size = 3
    await asyncio.sleep(100)
    assert pool.stats().idle == 3


@virtual
async def test_c8_what_a_delayed_close_raises_is_logged(caplog):
    pool = pool_for(FakeStrategy(close=[OSError("close")]), shrink_delay=10)
    await idle(pool, 2)
    await asyncio.sleep(11)
    assert "close_connection" in caplog.text
    check_settled(pool)


@virtual
async def test_c8_a_surplus_connection_that_is_dirty_does_not_idle():
    strategy = FakeStrategy()
    pool = pool_for(strategy, shrink_delay=10)
    first, second = await hold(pool, 2)
    first.leave(TimeoutError())
    await settle()
    assert first.conn.closed
    await second.leave()
    assert first.error is not None
    check_settled(pool)


async def test_c8_a_coroutine_that_is_closed_while_it_holds_a_surplus_connection_is_not_held_up():
    """`close()` may not await, and a connection whose block was closed that way is dirty."""

    async def block():
        async with pool.get_connection():
            await asyncio.get_running_loop().create_future()

    pool = pool_for(FakeStrategy())
    await idle(pool, 1)
    coro = block()
    coro.send(None)
    (holder,) = await hold(pool)
    coro.close()
    await settle()
    assert pool.stats().closed["dirty"] == 1
    assert pool.strategy.open == [holder.conn]
    await holder.leave()
    check_settled(pool)


async def test_c8_an_async_generator_that_is_dropped_in_its_block_gives_its_connection_back():
    async def rows():
        async with pool.get_connection():
            yield 1
            yield 2

    pool = pool_for(FakeStrategy())
    generator = rows()
    assert await anext(generator) == 1
    await generator.aclose()
    await settle()
    assert pool.stats().closed["dirty"] == 1
    check_settled(pool)
    await use(pool)
