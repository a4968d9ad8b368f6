"""Gauges, the counter and the events, as they arrive at a real UDP socket."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

import datadog_eyes
from asyncio_connection_pool import ConnectionPool as PlainPool
from asyncio_connection_pool.contrib.datadog import ConnectionPool, DatadogObserver
from asyncio_connection_pool.testing import FakeStrategy, FullFakeStrategy
from scenarios import Caller, callers, hold, leave_all, outcome, settle, use, virtual

GAUGES = ("total_connections", "available_connections", "waiting", "connections_used", "connections_acquiring")
SOON = 1.5
"""Seconds after which what happened now has been sent."""


@pytest.fixture
def dogstatsd():
    with datadog_eyes.dogstatsd() as receiver:
        yield receiver


def pool_for(strategy=None, **options):
    return ConnectionPool("shop", **({"strategy": strategy or FakeStrategy(), "max_size": 2} | options))


def shop(**gauges):
    """Name gauges as they are sent."""
    return {f"shop.pool.{name}": value for name, value in gauges.items()}


@virtual
async def test_every_gauge_says_what_is_true(dogstatsd):
    pool = pool_for(FakeStrategy(create=[0, 0, 100]), max_size=3)
    _people = [*await hold(pool, 2), *await callers(pool, 1)]
    await asyncio.sleep(SOON)
    assert dogstatsd.take().gauges == shop(
        total_connections=3, available_connections=0, waiting=0, connections_used=2, connections_acquiring=1
    )


@virtual
async def test_waiting_are_those_for_whom_nothing_is_being_opened(dogstatsd):
    pool = pool_for(FakeStrategy(create=[0, 100]))
    _people = await callers(pool, 5)
    await asyncio.sleep(SOON)
    gauges = dogstatsd.take().gauges
    assert gauges["shop.pool.waiting"] == 3
    assert gauges["shop.pool.connections_acquiring"] == 4


@virtual
async def test_available_are_those_that_idle(dogstatsd):
    pool = pool_for()
    await leave_all(await hold(pool, 2))
    await asyncio.sleep(SOON)
    assert dogstatsd.take().gauges["shop.pool.available_connections"] == 2


@virtual
async def test_each_acquisition_is_counted_by_the_way_it_was_served(dogstatsd):
    pool = pool_for(max_size=1)
    (first,) = await hold(pool)
    waiting = await callers(pool, 2)
    await leave_all([first, *waiting])
    for _ in range(5):
        await use(pool)
    await asyncio.sleep(SOON)
    arrived = dogstatsd.take()
    ways = {way: arrived.count("shop.pool.getting_connection", f"method:{way}") for way in ("new", "wait", "available")}
    assert ways == {"new": 1, "wait": 2, "available": 5}
    assert len(arrived.values("shop.pool.getting_connection")) == 3  # sums, not ones


@virtual
async def test_what_was_counted_once_is_not_counted_again(dogstatsd):
    pool = pool_for()
    for _ in range(7):
        await use(pool)
        await asyncio.sleep(SOON)
    await pool.close()
    assert dogstatsd.take().count("shop.pool.getting_connection", "method:available") == 6


# When.


@virtual
async def test_a_gauge_that_does_not_change_is_not_sent_again_before_a_minute_has_passed(dogstatsd):
    pool = pool_for()
    _people = await hold(pool)
    await asyncio.sleep(SOON)
    dogstatsd.take()
    await asyncio.sleep(50)
    assert dogstatsd.take().datagrams == []


@virtual
async def test_only_what_has_changed_is_sent(dogstatsd):
    pool = pool_for()
    (holder,) = await hold(pool)
    await asyncio.sleep(SOON)
    dogstatsd.take()
    await leave_all([holder])
    await asyncio.sleep(SOON)
    assert dogstatsd.take().gauges == shop(available_connections=1, connections_used=0)


@virtual
async def test_every_gauge_is_sent_every_minute_while_the_pool_is_open(dogstatsd):
    pool = pool_for()
    _people = await hold(pool)
    await asyncio.sleep(SOON)
    dogstatsd.take()
    await asyncio.sleep(10 * 60)
    sent = Counter(metric.name for metric in dogstatsd.take().metrics)
    assert sent == Counter(shop(**dict.fromkeys(GAUGES, 10)))


@virtual
async def test_a_pool_that_nobody_uses_says_so(dogstatsd):
    pool = pool_for()
    await asyncio.sleep(SOON)
    assert dogstatsd.take().gauges == shop(**dict.fromkeys(GAUGES, 0))
    await pool.close()


@pytest.mark.parametrize("interval", [0.1, 1, 7])
def test_a_gauge_is_sent_once_in_an_interval_at_most(dogstatsd, interval):
    @virtual
    async def under_load():
        pool = pool_for(flush_interval=interval, burst_limit=4)
        crowd = random.Random(7)
        for _ in range(300):
            people = await callers(pool, crowd.randrange(6))
            await asyncio.sleep(0.1)
            await leave_all(people)

    under_load()
    arrived = dogstatsd.take()
    most = 300 * 0.1 / interval
    assert most / 3 < max(len(arrived.values(f"shop.pool.{name}")) for name in GAUGES) <= most
    assert all(_no_name_twice(datagram) for datagram in arrived.datagrams)


def _no_name_twice(datagram):
    names = [line.partition(":")[0] for line in datagram.splitlines() if "|g|" in line or line.endswith("|g")]
    return len(names) == len(set(names))


@virtual
async def test_a_thousand_checkouts_in_ten_seconds_make_ten_datagrams(dogstatsd):
    pool = pool_for()
    for _ in range(1_000):
        await use(pool)
        await asyncio.sleep(0.01)
    arrived = dogstatsd.take()
    assert 9 <= len(arrived.datagrams) <= 11
    assert arrived.count("shop.pool.getting_connection", "method:available") >= 900


@virtual
async def test_checkouts_at_one_moment_make_one_datagram(dogstatsd):
    pool = pool_for()
    for _ in range(1_000):
        await use(pool)
    await asyncio.sleep(50)
    assert len(dogstatsd.take().datagrams) == 1


@virtual
async def test_the_end_of_what_takes_long_is_told(dogstatsd):
    pool = pool_for(FakeStrategy(create=[20], close=[20]))
    (holder,) = await hold(pool)
    pool.discard(holder.conn)
    await leave_all([holder])
    await asyncio.sleep(10)
    assert dogstatsd.take().gauges["shop.pool.total_connections"] == 1
    await asyncio.sleep(10 + SOON)
    assert dogstatsd.take().gauges == shop(total_connections=0)


@pytest.mark.parametrize("way", ["cancelled", "timed out", "served"])
def test_the_end_of_a_wait_is_told_however_it_ends(dogstatsd, way):
    @virtual
    async def scenario():
        pool = pool_for(max_size=1)
        (holder,) = await hold(pool)
        waiter = Caller(pool, timeout=20 if way == "timed out" else None)
        await asyncio.sleep(10)
        assert dogstatsd.take().gauges["shop.pool.waiting"] == 1
        if way == "cancelled":
            waiter.cancel()
        if way == "served":
            holder.leave()
        await asyncio.sleep(10 + SOON)
        assert dogstatsd.take().gauges["shop.pool.waiting"] == 0

    scenario()


@virtual
async def test_a_connection_that_is_taken_at_once_is_told_of_while_it_is_held(dogstatsd):
    pool = pool_for()
    await use(pool)
    await asyncio.sleep(10)
    dogstatsd.take()
    _people = await hold(pool)
    await asyncio.sleep(SOON)
    assert dogstatsd.take().gauges == shop(connections_used=1, available_connections=0)


@virtual
async def test_a_connection_that_grew_old_is_told_of(dogstatsd):
    async with pool_for(max_idle=50) as pool:
        await use(pool)
        await asyncio.sleep(40)
        dogstatsd.take()
        await asyncio.sleep(10 + SOON)
        assert dogstatsd.take().gauges == shop(total_connections=0, available_connections=0)


@virtual
async def test_an_open_for_nobody_is_told_of(dogstatsd):
    async with pool_for(FakeStrategy(create=[0, 20]), min_size=1) as pool:
        await discard_one(pool)
        await asyncio.sleep(10)
        assert dogstatsd.take().gauges["shop.pool.waiting"] == 0
        await asyncio.sleep(10 + SOON)
        assert dogstatsd.take().gauges == shop(available_connections=1)


@virtual
async def test_an_open_for_nobody_that_fails_is_told_of(dogstatsd):
    async with pool_for(FakeStrategy(create=[0, fail_late, 1000]), min_size=1, flush_interval=0.1) as pool:
        await discard_one(pool)
        await asyncio.sleep(10)
        assert dogstatsd.take().gauges["shop.pool.total_connections"] == 1
        await asyncio.sleep(10.2)  # it has failed, and is not tried again at once
        assert dogstatsd.take().gauges == shop(total_connections=0)


async def discard_one(pool):
    (holder,) = await hold(pool)
    pool.discard(holder.conn)
    await leave_all([holder])


async def fail_late():
    await asyncio.sleep(20)
    raise OSError("no route")


@pytest.mark.parametrize("way", ["resetting", "validating"])
def test_the_end_of_what_nobody_waits_for_is_told(dogstatsd, way):
    @virtual
    async def scenario():
        pool = pool_for(FullFakeStrategy(reset=[20, 20], validate=[20]), max_size=1, validate_after=50)
        await use(pool)
        if way == "validating":
            await asyncio.sleep(125)  # with no beat in the next 20 seconds
            waiter = Caller(pool)
            await settle()
            waiter.cancel()
        await asyncio.sleep(10)
        assert dogstatsd.take().gauges["shop.pool.available_connections"] == 0
        await asyncio.sleep(10 + SOON)
        assert dogstatsd.take().gauges["shop.pool.available_connections"] == 1

    scenario()


@virtual
async def test_the_failure_of_an_open_is_told(dogstatsd):
    pool = pool_for(FakeStrategy(create=[OSError("no route")]))
    assert isinstance(await outcome(use(pool)), OSError)
    await asyncio.sleep(SOON)
    assert dogstatsd.take().gauges == shop(**dict.fromkeys(GAUGES, 0))


# Tags and names.


@virtual
async def test_tags_are_sent_with_everything(dogstatsd):
    pool = pool_for(extra_tags=["env:prod", "team:web"], max_size=1, burst_limit=2)
    await leave_all(await hold(pool, 2))
    await asyncio.sleep(SOON)
    lines = dogstatsd.take().lines
    assert len(lines) > 8
    assert all({"env:prod", "team:web"} <= line.tags for line in lines)


@virtual
async def test_without_tags_there_are_none(dogstatsd):
    pool = pool_for()
    _people = await hold(pool)
    await asyncio.sleep(SOON)
    assert {tag for metric in dogstatsd.take().metrics for tag in metric.tags} == {"method:new"}


@virtual
async def test_pools_of_one_service_are_told_apart_by_their_names(dogstatsd):
    _people = [await hold(pool_for(name=name), holders) for name, holders in (("orders", 1), ("stock", 2))]
    await asyncio.sleep(SOON)
    used = {m.tags: m.value for m in dogstatsd.take().metrics if m.name == "shop.pool.connections_used"}
    assert used == {frozenset({"pool:orders"}): 1, frozenset({"pool:stock"}): 2}


def test_a_pool_without_a_name_has_that_of_its_service():
    assert pool_for().name == "shop"


@virtual
async def test_tags_that_do_not_fit_one_datagram_take_more(dogstatsd):
    pool = pool_for(extra_tags=[f"tag:{'x' * 600}"])
    _people = await hold(pool)
    await asyncio.sleep(SOON)
    arrived = dogstatsd.take()
    assert len(arrived.datagrams) > 1
    assert len(arrived.metrics) == len(GAUGES) + 1


@virtual
async def test_a_sample_rate_of_the_client_falsifies_nothing(dogstatsd):
    datadog_eyes.statsd.default_sample_rate = 0.001
    try:
        _people = await hold(pool_for())
        await asyncio.sleep(SOON)
        assert len(dogstatsd.take().metrics) == len(GAUGES) + 1
    finally:
        datadog_eyes.statsd.default_sample_rate = 1


# Events.


@virtual
async def test_a_burst_makes_three_events_with_the_name_of_the_pool(dogstatsd):
    pool = pool_for(max_size=1, burst_limit=3, name="orders")
    people = await hold(pool, 3)
    await leave_all(people)
    await asyncio.sleep(SOON)
    events = dogstatsd.take().events
    assert [(event.title, event.alert) for event in events] == [
        ("shop pool using burst capacity", "warning"),
        ("shop pool reached burst limit", "error"),
        ("shop pool no longer bursting", "success"),
    ]
    assert all("'orders'" in event.text and "pool:orders" in event.tags for event in events)
    assert "size of 1" in events[0].text
    assert "up to 3" in events[0].text


@virtual
async def test_a_burst_that_lasts_is_told_once(dogstatsd):
    pool = pool_for(max_size=1, burst_limit=3)
    people = await hold(pool, 3)
    for _ in range(10):
        people += await callers(pool, 1)
        await leave_all([people.pop(0)])  # down to the limit, which is never left
        await asyncio.sleep(70)  # every gauge is sent again meanwhile
    assert [event.alert for event in dogstatsd.take().events] == ["warning", "error"]


@virtual
async def test_a_second_burst_is_told_as_the_first(dogstatsd):
    pool = pool_for(max_size=1, burst_limit=3)
    for _ in range(4):
        await leave_all(await hold(pool, 3))
        await settle()
    await asyncio.sleep(SOON)
    assert set(Counter(event.title for event in dogstatsd.take().events).values()) == {4}


@virtual
async def test_a_burst_that_does_not_reach_the_limit_does_not_say_so(dogstatsd):
    pool = pool_for(max_size=1, burst_limit=3)
    await leave_all(await hold(pool, 2))
    await asyncio.sleep(SOON)
    assert [event.alert for event in dogstatsd.take().events] == ["warning", "success"]


# Pools that others build.


@virtual
async def test_an_observer_tells_of_a_pool_that_is_no_subclass(dogstatsd):
    observer = DatadogObserver("shop", extra_tags=["env:prod"], flush_interval=5)
    pool = PlainPool(strategy=FakeStrategy(), max_size=2, name="shop", observers=[observer])
    _people = await hold(pool)
    await asyncio.sleep(4)
    assert dogstatsd.take().datagrams == []
    await asyncio.sleep(2)
    arrived = dogstatsd.take()
    assert arrived.gauges["shop.pool.connections_used"] == 1
    assert arrived.metrics[0].tags == {"env:prod"}


@virtual
async def test_an_observer_is_for_one_pool(dogstatsd, caplog):
    observer = DatadogObserver("shop")
    first = PlainPool(strategy=FakeStrategy(), max_size=2, name="first", observers=[observer])
    second = PlainPool(strategy=FakeStrategy(), max_size=2, name="second", observers=[observer])
    assert "a DatadogObserver is for one pool: build another one for 'second'" in caplog.text
    _people = [*await hold(first, 1), *await hold(second, 2)]
    await asyncio.sleep(SOON)
    arrived = dogstatsd.take()
    assert arrived.gauges["shop.pool.connections_used"] == 1
    assert "pool:first" in arrived.metrics[0].tags
