"""A PostgreSQL that fails over under load is met by no herd."""

from __future__ import annotations

import re

import pytest

import failover_scenarios
from asyncpg_driver import connected
from servers import postgres


@pytest.fixture
def server():
    with postgres.start(max_connections=60) as own:
        yield own


@pytest.fixture
async def driver(server):
    async with connected(server) as driver:
        yield driver


def most_connecting(log: str) -> int:
    """Count how many connections the server was letting in at once, by what it wrote of each process."""
    connecting: set[str] = set()
    most = 0
    for pid, what in re.findall(r"\[(\d+)\] (\w+:  connection (?:received|authorized)|FATAL)", log):
        if what.endswith("received"):
            connecting.add(pid)
        else:
            connecting.discard(pid)
        most = max(most, len(connecting))
    return most


async def test_200_workers_go_on_after_a_failover_and_the_server_meets_no_herd(driver, server):
    await driver.ask.execute("ALTER SYSTEM SET log_connections = 'on'")  # from the restart on
    before = len(server.log)
    await failover_scenarios.failover(driver, server)
    log = server.log[before:]
    seen, received = most_connecting(log), log.count("connection received")
    print(f"the server itself: {received} connects, at most {seen} at once")
    assert received >= failover_scenarios.SIZE
    assert 0 < seen <= failover_scenarios.CONNECTING
