"""Pools that are right for a minute go wrong over days: hours of load in a second or so."""

from __future__ import annotations

import asyncio
import random

import pytest

from ageing import Server, most_within, now
from asyncio_connection_pool import ConnectionPool
from oracle import check, check_settled
from scenarios import hold, leave_all, run_virtual
from sweeping import DEEP

pytestmark = pytest.mark.once

HOUR = 3600
HOURS = 24 if DEEP else 1
LIFETIME = 10
CONNECTIONS = 100
CROWDED = (132, 341, 388, 445, 669, 975)
"""Seeds with which a hundred lifetimes drawn one by one would end in a crowd."""


class Lasting(Server):
    """Does not remember the connections of many hours."""

    async def close_connection(self, conn):
        await super().close_connection(conn)
        self.connections.remove(conn)


async def load(pool, until):
    """Use a few connections all the time, in blocks of various lengths, and never wait for one."""
    chance = random.Random(1)
    while now() < until:
        async with pool.get_connection():
            await asyncio.sleep(chance.uniform(0.5, 3))
        await asyncio.sleep(chance.uniform(0, 1))


def run_for_hours(main):
    """Run under virtual time, but without asyncio's debug mode, which would make minutes of seconds."""

    async def quickly():
        asyncio.get_running_loop().set_debug(False)
        return await main

    return run_virtual(quickly())


async def hours(server, count, **options):
    pool = ConnectionPool(strategy=server, max_size=CONNECTIONS, max_lifetime=LIFETIME, **options)
    await pool.open()
    await leave_all(await hold(pool, CONNECTIONS))
    workers = [asyncio.create_task(load(pool, count * HOUR)) for _ in range(5)]
    while not all(worker.done() for worker in workers):
        await asyncio.sleep(600)
        check(pool)
    await asyncio.gather(*workers)
    stats = pool.stats()
    await pool.close()
    check_settled(pool)
    return stats


@pytest.mark.parametrize("spare", [0, 20])
def test_connections_of_one_birth_are_not_replaced_together_over_hours(spare):
    """A hundred with a lifetime of ten seconds, each replaced when its time comes (PostHog#49745)."""
    server = Lasting(create=iter(lambda: 0.02, None), close=iter(lambda: 0.01, None))
    stats = run_for_hours(hours(server, HOURS, min_size=CONNECTIONS, burst_limit=CONNECTIONS + spare))
    replaced = [when for when in server.tried if when > 0]
    opened, closed = most_within(0.5, replaced), most_within(0.5, server.closed_at[: -stats.size])
    print(f"\n{CONNECTIONS} connections of one birth, lifetime {LIFETIME} s, {HOURS} h, burst_limit +{spare}:")
    print(f"{len(replaced):,} replaced; at most {opened} opened and {closed} closed in any 0.5 s (bound 40)")
    assert len(replaced) > HOURS * HOUR * CONNECTIONS / LIFETIME
    assert opened <= 40
    assert closed <= 40
    assert stats.closed["expired"] == stats.created - stats.size
    assert server.most <= CONNECTIONS + spare
    if not spare:
        assert not stats.closed["surplus"]


def test_without_min_size_they_go_and_only_what_is_needed_comes_back():
    server = Lasting(create=iter(lambda: 0.02, None))
    stats = run_for_hours(hours(server, HOURS))
    assert most_within(0.5, server.closed_at[: -stats.size]) <= 40
    assert stats.size <= 5


def test_a_generation_is_spread_whatever_chance_says():
    """The first is the worst: all of one age. Later ones are spread by their parents already."""

    async def first_generation():
        server = Server()
        pool = ConnectionPool(strategy=server, max_size=CONNECTIONS, max_lifetime=LIFETIME)
        await leave_all(await hold(pool, CONNECTIONS))
        await asyncio.sleep(LIFETIME)
        assert len(server.closed) == CONNECTIONS
        return most_within(0.5, server.closed_at)

    worst = []
    for seed in (*range(20), *CROWDED):
        random.seed(seed)
        worst.append(run_for_hours(first_generation()))
    print(f"\n{len(worst)} first generations: at most {min(worst)} to {max(worst)} closed in any 0.5 s (bound 40)")
    assert max(worst) <= 40


def test_no_two_pools_spread_theirs_alike():
    async def deaths():
        server = Server()
        pool = ConnectionPool(strategy=server, max_size=5, max_lifetime=LIFETIME)
        await leave_all(await hold(pool, 5))
        await asyncio.sleep(LIFETIME)
        return tuple(server.closed_at)

    assert len({run_virtual(deaths()) for _ in range(20)}) == 20


def test_a_month_at_rest_costs_as_much_as_what_is_due():
    """A pool that nobody uses replaces what grows old, and does nothing else."""

    async def month():
        server = Server()
        async with ConnectionPool(strategy=server, max_size=10, min_size=3, max_lifetime=HOUR, max_idle=60) as pool:
            await asyncio.sleep(30 * 24 * HOUR)
            assert pool.stats().idle == 3
            assert len(pool._supply.maintenance._lifetimes._dates) <= 50
        return len(server.connections)

    assert 3 * 30 * 24 <= run_for_hours(month()) <= 3 * 30 * 24 / 0.8 + 3
