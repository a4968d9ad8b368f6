"""Whoever is cancelled at whatever tick of an acquisition, nothing is lost and nobody else is harmed (C10)."""

from __future__ import annotations

import pytest

import sweeping
from asyncio_connection_pool import PoolTimeoutError
from asyncio_connection_pool.testing import NEVER
from sweeping import Scenario, Scenarios, World
from sweeping_fakes import failing, stubborn

scenario = Scenarios()


@scenario(max_size=1, warm=1, least=5, small=True)
def idle(world: World) -> None:
    world.borrow()


@scenario(max_size=2, warm=2, least=24)
def idle_closed(world: World) -> None:
    for conn in world.server.open:
        conn.closed = True
    world.borrow()
    world.borrow()


@scenario(max_size=2, script=lambda: {"create": [1, 0, None]}, least=58)
def opened(world: World) -> None:
    for _ in range(3):
        world.borrow(hold=0)


@scenario(max_size=2, errors=(OSError,), script=lambda: {"create": [OSError(0), failing(1, OSError(1))]}, least=45)
def open_fails(world: World) -> None:
    for _ in range(3):
        world.borrow(hold=0)


@scenario(max_size=1, script=lambda: {"look": [True, True], "close": [1]}, least=45)
def closed_at_birth(world: World) -> None:
    world.borrow()
    world.borrow()


@scenario(
    max_size=2, connect_timeout=1, errors=(PoolTimeoutError,), script=lambda: {"create": [NEVER, 0.5, NEVER]}, least=94
)
def open_times_out(world: World) -> None:
    for _ in range(3):
        world.borrow()


@scenario(max_size=1, connect_timeout=1, errors=(PoolTimeoutError,), script=lambda: {"create": [stubborn]}, least=33)
def open_times_out_and_yields_all_the_same(world: World) -> None:
    world.borrow()
    world.borrow()


@scenario(max_size=1, warm=1, least=17, small=True)
def handed_over(world: World) -> None:
    for _ in range(3):
        world.borrow(hold=0)


@scenario(max_size=1, warm=1, errors=(PoolTimeoutError,), least=26, small=True)
def wait_times_out_in_the_step_of_the_hand_over(world: World) -> None:
    world.borrow(hold=1)
    world.borrow(hold=1, timeout=1)
    world.borrow(hold=1, timeout=3)


@scenario(max_size=3, max_connecting=1, script=lambda: {"create": [1, 1, 1]}, least=74)
def one_connects_at_a_time(world: World) -> None:
    for _ in range(3):
        world.borrow()


@scenario(max_size=1, least=70)
def max_size_is_raised(world: World) -> None:
    for _ in range(3):
        world.borrow(hold=2)
    world.change(1, max_size=2)


@scenario(max_size=3, least=168)
def max_size_is_lowered(world: World) -> None:
    for hold in (1, 2, 3, 1, 1):
        world.borrow(hold)
    world.change(0.5, max_size=1)


@scenario(max_size=1, burst_limit=3, least=68)
def burst(world: World) -> None:
    for _ in range(4):
        world.borrow()


@pytest.mark.parametrize("scenario, fake", scenario.cases())
def test_c10_any_party_is_cancelled_at_any_tick_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep(scenario, fake) >= scenario.least


@pytest.mark.parametrize("scenario, fake", scenario.cases(pairs=True))
def test_c10_any_two_are_cancelled_at_any_two_ticks_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep_pairs(scenario, fake) >= scenario.least**2 // 3
