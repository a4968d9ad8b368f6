"""A Valkey that fails over under load is met by no herd."""

from __future__ import annotations

import pytest

import failover_scenarios
from redis_driver import RedisDriver


@pytest.fixture
def driver(own_valkey):
    return RedisDriver(own_valkey.port)


async def test_200_workers_go_on_after_a_failover_and_the_server_meets_no_herd(driver, own_valkey):
    await failover_scenarios.failover(driver, own_valkey)
