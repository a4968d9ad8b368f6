"""Processes that share a burst through a PostgreSQL never have more connections than they may, whatever happens."""

from __future__ import annotations

import pytest

import fleet_scenarios
from servers import postgres

pytestmark = pytest.mark.once


def test_a_fleet_of_three_is_killed_frozen_and_loses_its_coordinator():
    with postgres.start() as server, postgres.start() as coordinator:
        address = "postgresql://postgres@127.0.0.1:{port}/postgres"
        fleet_scenarios.small_fleet(server.dsn, coordinator, address)
