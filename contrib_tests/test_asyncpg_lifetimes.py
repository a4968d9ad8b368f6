"""Connections to PostgreSQL that grow old under load are nobody's concern."""

from __future__ import annotations

import pytest

import lifetime_scenarios
from asyncpg_driver import connected
from servers import postgres

pytestmark = pytest.mark.once


@pytest.fixture
async def driver():
    with postgres.start(max_connections=60) as server:
        async with connected(server) as driver:
            yield driver


async def test_nobody_hears_of_connections_that_grow_old(driver):
    await lifetime_scenarios.growing_old(driver)
