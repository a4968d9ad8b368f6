"""Processes that share a burst through a Valkey never have more connections than they may, whatever happens to them."""

from __future__ import annotations

import pytest

import fleet_scenarios
from servers import valkey

pytestmark = pytest.mark.once


def test_a_fleet_of_three_is_killed_frozen_and_loses_its_coordinator(own_valkey):
    with valkey.start() as server:
        fleet_scenarios.small_fleet(server.url, own_valkey, "redis://127.0.0.1:{port}/0")
