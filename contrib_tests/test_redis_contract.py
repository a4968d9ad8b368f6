"""redis-py keeps the contract of all strategies."""

from __future__ import annotations

import pytest

from redis_driver import RedisDriver
from strategy_contract import StrategyContract


@pytest.fixture
def driver(own_valkey):
    return RedisDriver(own_valkey.port)


class TestContract(StrategyContract):
    """The shared checks."""


class TestContractWithAPassword(StrategyContract):
    """The shared checks, where opening a connection takes several round trips."""

    @pytest.fixture
    def driver(self, own_valkey):
        with RedisDriver(own_valkey.port).ask() as client:
            client.config_set("requirepass", "secret")
        return RedisDriver(own_valkey.port, password="secret", db=2)
