"""Each event is told, once, with what it has to say."""

from __future__ import annotations

import asyncio

import pytest

from ageing import Server
from asyncio_connection_pool import (
    CoDel,
    ConnectionPool,
    PoolObserver,
    PoolOverloadedError,
    PoolTimeoutError,
    events,
)
from asyncio_connection_pool.testing import NEVER, FullFakeStrategy
from diary import Diary, differences
from scenarios import callers, hold, leave_all, outcome, settle, use, virtual


def pool_for(diary, strategy=None, **options):
    options = {"max_size": 1, "name": "p"} | options
    return ConnectionPool(strategy=strategy or Server(), observers=[diary], **options)


@virtual
async def test_an_acquisition_says_how_it_was_served_and_how_long_it_waited():
    diary = Diary()
    pool = pool_for(diary, Server(create=[2]))
    (first,) = await hold(pool)
    (second,) = await callers(pool, 1)
    await asyncio.sleep(3)
    await leave_all([first, second])
    await use(pool)
    assert diary.of(events.Acquired) == [
        events.Acquired("p", 2, "after_opening"),
        events.Acquired("p", 3, "after_waiting"),
        events.Acquired("p", 0, "at_once"),
    ]


@virtual
async def test_a_release_says_for_how_long_the_connection_was_held():
    diary = Diary()
    pool = pool_for(diary)
    (holder,) = await hold(pool)
    await asyncio.sleep(5)
    await leave_all([holder])
    assert diary.of(events.Released) == [events.Released("p", 5)]


@virtual
async def test_a_release_is_told_though_the_body_raises():
    diary = Diary()
    pool = pool_for(diary)
    (holder,) = await hold(pool)
    await outcome(holder.leave(ValueError()))
    assert len(diary.of(events.Released)) == 1


@virtual
async def test_a_release_is_told_when_the_connection_is_given_back_not_when_it_is_closed():
    diary = Diary()
    pool = pool_for(diary, Server(close=[10]), max_size=0, burst_limit=1)
    (holder,) = await hold(pool)
    holder.leave()
    await settle()
    assert len(diary.of(events.Released)) == 1
    assert pool.stats().closing == 1
    await holder.task


@virtual
async def test_an_open_says_how_long_it_took():
    diary = Diary()
    pool = pool_for(diary, Server(create=[2]))
    await use(pool)
    assert diary.of(events.Created) == [events.Created("p", 2)]


@virtual
async def test_a_failed_open_says_why():
    diary, error = Diary(), OSError("no")
    pool = pool_for(diary, Server(create=[error]))
    await outcome(use(pool))
    assert diary.of(events.CreateFailed) == [events.CreateFailed("p", 0, error)]


@virtual
async def test_an_open_that_takes_too_long_has_failed_and_what_it_yields_was_created_all_the_same():
    diary = Diary()
    pool = pool_for(diary, Stubborn(create=[NEVER]), connect_timeout=3)
    error = await outcome(use(pool))
    await settle()
    assert isinstance(error, PoolTimeoutError)
    assert diary.of(events.CreateFailed) == [events.CreateFailed("p", 3, error)]
    assert diary.of(events.Created) == [events.Created("p", 3)]
    assert diary.of(events.Closed) == [events.Closed("p", "broken_off")]
    assert not differences(diary, pool.stats())


class Stubborn(Server):
    async def create_connection(self):
        try:
            return await super().create_connection()
        except asyncio.CancelledError:
            return await super().create_connection()


@virtual
async def test_a_timeout_says_which_and_in_what_stage():
    diary = Diary()
    pool = pool_for(diary)
    (holder,) = await hold(pool)
    await outcome(use(pool, timeout=2))
    await outcome(use(pool, timeout=0))
    assert diary.of(events.TimedOut) == [events.TimedOut("p", 2, "waiting"), events.TimedOut("p", 0, "waiting")]
    await leave_all([holder])


@virtual
async def test_a_refusal_says_by_what():
    diary = Diary()
    pool = pool_for(diary, max_waiting=0)
    (holder,) = await hold(pool)
    assert isinstance(await outcome(use(pool)), PoolOverloadedError)
    assert diary.of(events.Rejected) == [events.Rejected("p", "max_waiting")]
    await leave_all([holder])


@virtual
async def test_a_refusal_by_the_queue_policy_is_told_too():
    diary = Diary()
    pool = pool_for(diary, queue_policy=CoDel(target=0.1, interval=1))

    async def work():
        async with pool.get_connection():
            await asyncio.sleep(0.5)

    results = await asyncio.gather(*(work() for _ in range(20)), return_exceptions=True)
    await settle()
    refused = sum(isinstance(result, PoolOverloadedError) for result in results)
    assert refused > 5
    assert diary.of(events.Rejected) == [events.Rejected("p", "queue_policy")] * refused


@virtual
async def test_a_reset_says_for_how_long_the_connection_served_nobody():
    diary = Diary()
    pool = pool_for(diary, FullFakeStrategy(reset=[3, 0.5]))
    await use(pool)
    await settle()
    assert not diary.of(events.Reset), "it is told when it has ended"
    (second,) = await hold(pool)
    await leave_all([second])
    await asyncio.sleep(1)
    assert diary.of(events.Reset) == [events.Reset("p", 3), events.Reset("p", 0.5)]


@virtual
async def test_a_reset_that_fails_is_a_close_and_nothing_else():
    diary = Diary()
    pool = pool_for(diary, FullFakeStrategy(reset=[OSError("no")]))
    await use(pool)
    await settle()
    assert not diary.of(events.Reset)
    assert diary.of(events.Closed) == [events.Closed("p", "reset_failed")]


@pytest.mark.parametrize("stubborn", [False, True], ids=["obedient", "stubborn"])
def test_c12_a_reset_that_is_cancelled_is_a_close_and_nothing_else(stubborn):
    async def insist():
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            if not stubborn:
                raise

    @virtual
    async def play():
        diary = Diary()
        pool = pool_for(diary, FullFakeStrategy(reset=[insist]))
        await use(pool)
        await settle()
        assert pool.stats().resetting == 1
        await pool.close()
        assert not diary.of(events.Reset)
        assert diary.of(events.Closed) == [events.Closed("p", "pool_closed")]

    play()


@virtual
async def test_c9_what_is_not_reset_since_it_is_dirty_is_not_told_of():
    diary = Diary()
    pool = pool_for(diary, FullFakeStrategy())
    (holder,) = await hold(pool)
    await outcome(holder.leave(TimeoutError()))
    await settle()
    assert not diary.of(events.Reset)


@virtual
async def test_a_validation_is_no_reset():
    diary = Diary()
    pool = pool_for(diary, Server(validate=[1]), validate_after=1)
    await use(pool)
    await asyncio.sleep(2)
    await use(pool)
    assert not diary.of(events.Reset)


@virtual
async def test_each_close_says_why():
    diary = Diary()
    pool = pool_for(diary, max_size=1, burst_limit=3)
    async with pool:
        surplus, discarded, kept = await hold(pool, 3)
        pool.discard(discarded.conn)
        await leave_all([surplus, discarded, kept])
        assert [event.reason for event in diary.of(events.Closed)] == ["surplus", "discarded"]
    assert [event.reason for event in diary.of(events.Closed)] == ["surplus", "discarded", "pool_closed"]
    assert not differences(diary, pool.stats())


@virtual
async def test_c7_a_dead_connection_is_told_of_once():
    diary, server = Diary(), Server()
    pool = pool_for(diary, server)
    await use(pool)
    server.connections[0].closed = True
    await use(pool)
    await settle()
    assert diary.of(events.Closed) == [events.Closed("p", "dead")]
    assert not differences(diary, pool.stats())


@virtual
async def test_a_burst_is_told_once_in_each_phase():
    diary = Diary()
    pool = pool_for(diary, max_size=1, burst_limit=3)
    people = await hold(pool, 3)
    await leave_all(people)
    assert diary.of(events.Bursting) == [
        events.Bursting("p", "began", 2, 1, 3),
        events.Bursting("p", "limit_reached", 3, 1, 3),
        events.Bursting("p", "ended", 1, 1, 3),
    ]
    await leave_all(await hold(pool, 2))
    assert diary.phases == ["began", "limit_reached", "ended", "began", "ended"]


@virtual
async def test_reaching_the_limit_again_is_the_same_burst():
    diary = Diary()
    pool = pool_for(diary, max_size=1, burst_limit=3)
    people = await hold(pool, 3)
    await leave_all([people.pop()])
    people += await hold(pool, 1)
    assert diary.phases == ["began", "limit_reached"]
    await leave_all(people)


@virtual
async def test_new_limits_begin_and_end_bursts():
    diary = Diary()
    pool = pool_for(diary, max_size=3, burst_limit=3)
    people = await hold(pool, 3)
    assert diary.phases == []
    pool.resize(1, 3)
    await settle()
    assert diary.phases == ["began", "limit_reached"]
    pool.resize(3, 5)
    await settle()
    assert diary.phases == ["began", "limit_reached", "ended"]
    await leave_all(people)


@virtual
async def test_a_pool_without_a_burst_limit_never_bursts():
    diary = Diary()
    pool = pool_for(diary, max_size=3)
    people = await hold(pool, 3)
    pool.resize(1)
    await leave_all(people)
    assert diary.phases == []


@virtual
async def test_what_happens_in_one_step_is_told_in_order_and_soon():
    diary = Diary()
    pool = pool_for(diary, max_size=0, burst_limit=1)
    await use(pool)
    await settle()
    kinds = [type(event).__name__ for event in diary.events]
    assert sorted(kinds[:4]) == ["Acquired", "Bursting", "Bursting", "Created"]
    assert kinds.index("Bursting") < kinds.index("Created")
    assert kinds.index("Released") < kinds.index("Closed") < len(kinds) - 1
    assert kinds[-1] == "Bursting"


@virtual
async def test_an_acquisition_that_fails_is_neither_acquired_nor_released():
    diary = Diary()
    pool = pool_for(diary, Server(create=[OSError()]))
    await outcome(use(pool))
    assert not diary.of(events.Acquired) + diary.of(events.Released)


@virtual
async def test_leaving_a_block_twice_tells_nothing_more():
    diary = Diary()
    pool = pool_for(diary)
    lease = pool.get_connection()
    async with lease:
        pass
    with pytest.raises(RuntimeError):
        await lease.__aexit__(None, None, None)
    assert len(diary.of(events.Released)) == 1


def test_events_are_frozen_slotted_and_printable():
    for kind in (getattr(events, name) for name in events.__all__):
        assert kind.__dataclass_params__.frozen
        assert "__slots__" in vars(kind)
    assert repr(events.Closed("p", "dead")) == "Closed(pool='p', reason='dead')"


def test_every_hook_takes_an_event_that_is_public():
    hooks = {name for name in vars(PoolObserver) if name.startswith("on_")} - {"on_attach", "on_detach"}
    assert len(hooks) == len(events.__all__)
