"""asyncpg and a real server in trouble: nothing is lost, mixed up or stuck."""

from __future__ import annotations

import asyncpg
import pytest

import fault_scenarios
from asyncpg_driver import connected
from servers import postgres


@pytest.fixture
def server():
    with postgres.start(max_connections=30) as own:
        yield own


@pytest.fixture
async def driver(server):
    async with connected(server) as driver:
        yield driver


async def test_a_storm_of_cancellations_gives_no_wrong_reply_and_loses_no_slot(driver):
    await fault_scenarios.cancel_storm(driver)


async def test_connections_that_the_server_terminates_cost_no_slot(driver):
    await fault_scenarios.kill_connections(driver)


async def test_every_worker_goes_on_after_the_server_was_killed_and_came_back(driver, server):
    await fault_scenarios.restart(driver, server)


async def test_every_worker_goes_on_after_the_server_was_frozen(driver, server):
    await fault_scenarios.freeze(driver, server)


async def test_nobody_is_stuck_after_a_time_of_refusals(driver, server):
    await fault_scenarios.refusal(driver, server)


async def test_a_server_that_is_full_says_so_to_whom_it_has_no_room_for(driver, server):
    await fault_scenarios.too_many(driver, server.max_connections - 1, asyncpg.TooManyConnectionsError)
