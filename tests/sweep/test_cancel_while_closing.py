"""Whoever is cancelled at whatever tick of the end of a pool, nothing outlives it (C10, C12)."""

from __future__ import annotations

import pytest

import sweeping
from asyncio_connection_pool import PoolClosedError
from asyncio_connection_pool.testing import NEVER
from sweeping import Scenario, Scenarios, World
from sweeping_fakes import failing, stubborn

scenario = Scenarios()


@scenario(max_size=3, warm=3, script=lambda: {"close": [1, OSError(), 0]}, least=33, small=True)
def close_idle(world: World) -> None:
    world.close()


@scenario(max_size=1, warm=1, errors=(PoolClosedError,), script=lambda: {"close": [1]}, least=66)
def close_in_use(world: World) -> None:
    world.borrow(hold=2)
    world.borrow(hold=1)
    world.close(after=1)
    world.borrow(after=1.5)


@scenario(
    max_size=2, errors=(PoolClosedError, OSError), script=lambda: {"create": [2, failing(2, OSError())]}, least=49
)
def close_opening(world: World) -> None:
    world.borrow()
    world.borrow()
    world.close(after=1)


@scenario(max_size=1, errors=(PoolClosedError,), script=lambda: {"create": [stubborn], "close": [1]}, least=55)
def close_opening_that_yields_all_the_same(world: World) -> None:
    world.borrow()
    world.borrow()
    world.close(after=1)


@scenario(max_size=1, warm=1, full=True, errors=(PoolClosedError,), script=lambda: {"reset": [2]}, least=30, small=True)
def close_resetting(world: World) -> None:
    world.borrow(hold=0)
    world.borrow(hold=0)
    world.close(after=1)


@scenario(max_size=2, warm=1, script=lambda: {"close": [3, 1]}, least=48)
def close_with_timeout(world: World) -> None:
    world.borrow(hold=3)
    world.borrow(hold=4)
    world.close(after=1, timeout=1)


@scenario(max_size=2, warm=2, full=True, script=lambda: {"close": [NEVER, NEVER]}, least=66)
def close_with_timeout_and_the_closes_hang(world: World) -> None:
    world.borrow(hold=2)
    world.close(after=1, timeout=0)
    world.close(after=1, timeout=1)


@scenario(max_size=1, burst_limit=2, errors=(OSError,), script=lambda: {"close": [failing(2, OSError())]}, least=77)
def close_while_a_surplus_connection_is_closed(world: World) -> None:
    world.borrow()
    world.borrow()
    world.close(after=2)


@scenario(max_size=1, warm=1, least=39, small=True)
def close_twice(world: World) -> None:
    world.borrow(hold=2)
    world.close(after=1)
    world.close(after=1)


@scenario(max_size=1, burst_limit=2, shrink_delay=2, least=42)
def close_while_surplus_connections_idle(world: World) -> None:
    world.borrow()
    world.borrow()
    world.close(after=2)


@scenario(max_size=1, errors=(PoolClosedError,), script=lambda: {"create": [0.5]}, least=33, small=True)
def async_with(world: World) -> None:
    async def whole() -> None:
        async with world.pool:
            await world.borrowing()
            world.borrow()
            await world.borrowing()

    world.start(whole())


@pytest.mark.parametrize("scenario, fake", scenario.cases())
def test_c10_any_party_is_cancelled_at_any_tick_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep(scenario, fake) >= scenario.least


@pytest.mark.parametrize("scenario, fake", scenario.cases(pairs=True))
def test_c10_any_two_are_cancelled_at_any_two_ticks_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep_pairs(scenario, fake) >= scenario.least**2 // 3
