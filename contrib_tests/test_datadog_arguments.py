"""What `ConnectionPool` and `DatadogObserver` take, what they refuse, and that code for 1.x runs."""

from __future__ import annotations

import asyncio

import pytest

import datadog_eyes
from asyncio_connection_pool import ConnectionPool as PlainPool, ConnectionStrategy, PoolObserver, PoolOverloadedError
from asyncio_connection_pool.contrib.datadog import ConnectionPool, DatadogObserver
from asyncio_connection_pool.testing import FakeStrategy
from scenarios import hold, outcome, use, virtual


@pytest.fixture(autouse=True)
def dogstatsd():
    with datadog_eyes.dogstatsd() as receiver:
        yield receiver


def pool_for(service_name="shop", **options):
    return ConnectionPool(service_name, **({"strategy": FakeStrategy(), "max_size": 2} | options))


WRONG = {
    "service_name: None": (TypeError, "service_name must be a str", {"service_name": None}),
    "service_name: bytes": (TypeError, "service_name must be a str", {"service_name": b"shop"}),
    "service_name: empty": (ValueError, "service_name must be neither empty nor", {"service_name": ""}),
    "service_name: blank": (ValueError, "service_name must be neither empty nor", {"service_name": "  "}),
    "service_name: ends a name": (ValueError, "service_name must be neither empty nor", {"service_name": "shop:1"}),
    "service_name: ends a line": (ValueError, "service_name must be neither empty nor", {"service_name": "a\nb"}),
    "extra_tags: one str": (TypeError, r"a list of tags such as \['env:prod'\]", {"extra_tags": "env:prod"}),
    "extra_tags: a number": (TypeError, "a list of tags", {"extra_tags": 7}),
    "extra_tags: of numbers": (TypeError, "each of extra_tags must be a str", {"extra_tags": [7]}),
    "extra_tags: an empty one": (ValueError, "each of extra_tags must have something", {"extra_tags": ["a:b", ""]}),
    "flush_interval: a str": (TypeError, "flush_interval must be a number of seconds", {"flush_interval": "1"}),
    "flush_interval: a bool": (TypeError, "flush_interval must be a number of seconds", {"flush_interval": True}),
    "flush_interval: 0": (ValueError, "flush_interval must be finite and above 0", {"flush_interval": 0}),
    "flush_interval: below 0": (ValueError, "flush_interval must be finite and above 0", {"flush_interval": -1}),
    "flush_interval: NaN": (ValueError, "flush_interval must be finite and above 0", {"flush_interval": float("nan")}),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("build", [pool_for, DatadogObserver], ids=["pool", "observer"])
def test_what_makes_no_sense_is_refused(build, what):
    error, message, arguments = WRONG[what]
    with pytest.raises(error, match=message):
        build(**({"service_name": "shop"} | arguments))


OF_ANY_POOL = {
    "observers": (TypeError, "observers must be an iterable of PoolObserver", {"observers": 7}),
    "one observer": (TypeError, "each of observers must be a PoolObserver", {"observers": ["me"]}),
    "name": (TypeError, "name must be a str", {"name": 7}),
    "burst_limit": (ValueError, "burst_limit must be greater than or equal to max_size", {"burst_limit": 1}),
    "unknown": (TypeError, "unexpected keyword argument 'size'", {"size": 1}),
}


@pytest.mark.parametrize("what", OF_ANY_POOL)
def test_what_any_pool_refuses_is_refused_by_the_same_words(what):
    error, message, arguments = OF_ANY_POOL[what]
    with pytest.raises(error, match=message):
        pool_for(**arguments)


@virtual
async def test_every_argument_of_a_pool_is_taken():
    pool = pool_for(max_size=1, max_waiting=0, acquire_timeout=5, shrink_delay=1, extra_tags=("a:b",))
    assert isinstance(pool, PlainPool)
    _people = await hold(pool)
    assert isinstance(await outcome(use(pool)), PoolOverloadedError)


@virtual
async def test_other_observers_are_told_besides(dogstatsd):
    class Counting(PoolObserver):
        acquired = 0

        def on_acquire(self, event):
            self.acquired += 1

    counting = Counting()
    pool = pool_for(observers=iter([counting]))
    for _ in range(3):
        await use(pool)
    await pool.close()
    assert counting.acquired == 3
    assert dogstatsd.take().count("shop.pool.getting_connection", "method:available") == 2


@virtual
async def test_a_strategy_of_1x_works():
    class Strategy(ConnectionStrategy[int]):
        closed = 0

        async def make_connection(self):
            return 7

        def connection_is_closed(self, conn):
            return False

        def close_connection(self, conn):  # no coroutine
            self.closed += 1

    strategy = Strategy()
    pool = ConnectionPool[int](strategy=strategy, max_size=1, burst_limit=2, service_name="test")
    people = await hold(pool, 2)
    assert {person.conn for person in people} == {7}
    for person in people:
        await person.leave()
    assert strategy.closed == 1
    await pool.close()
    assert strategy.closed == 2


def test_nothing_runs_where_a_pool_is_only_built(dogstatsd):
    for _ in range(3):
        pool_for()
    assert dogstatsd.take().datagrams == []


def test_a_pool_works_in_an_ordinary_loop(dogstatsd):
    async def main():
        async with pool_for(flush_interval=0.01) as pool:
            await use(pool)
            await asyncio.sleep(0.1)

    asyncio.run(main())
    assert dogstatsd.take().gauges["shop.pool.total_connections"] == 0
