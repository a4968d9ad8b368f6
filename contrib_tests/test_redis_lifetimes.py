"""Connections to Valkey that grow old under load are nobody's concern."""

from __future__ import annotations

import pytest

import lifetime_scenarios
from redis_driver import RedisDriver

pytestmark = pytest.mark.once


async def test_nobody_hears_of_connections_that_grow_old(own_valkey):
    await lifetime_scenarios.growing_old(RedisDriver(own_valkey.port))
