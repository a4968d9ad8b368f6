"""Whoever is cancelled at whatever tick of a return, nothing is lost and nobody else is harmed (C8, C9, C10)."""

from __future__ import annotations

import pytest

import sweeping
from asyncio_connection_pool.testing import NEVER
from sweeping import Scenario, Scenarios, World
from sweeping_fakes import failing

scenario = Scenarios()


@scenario(max_size=1, warm=1, full=True, script=lambda: {"reset": [1, 0]}, least=39, small=True)
def reset(world: World) -> None:
    for _ in range(3):
        world.borrow(hold=0)


@scenario(
    max_size=1,
    warm=1,
    full=True,
    script=lambda: {"reset": [failing(1, OSError(0)), OSError(1)], "close": [1]},
    least=56,
)
def reset_fails(world: World) -> None:
    for _ in range(3):
        world.borrow(hold=0)


@scenario(max_size=1, burst_limit=2, warm=2, least=22, small=True)
def shrunk(world: World) -> None:
    world.borrow(hold=1)
    world.borrow(hold=1)


@scenario(max_size=1, burst_limit=2, script=lambda: {"close": [1]}, least=121)
def shrunk_slowly_while_somebody_comes(world: World) -> None:
    world.borrow(hold=1)
    world.borrow(hold=1)
    world.borrow(hold=1, after=1.5)
    world.borrow(hold=1, after=1.5)


@scenario(
    max_size=0,
    burst_limit=1,
    errors=(OSError,),
    script=lambda: {"close": [OSError(0), failing(1, OSError(1))]},
    least=94,
)
def shrunk_and_the_close_fails(world: World) -> None:
    world.borrow(hold=1)
    world.borrow(hold=1, after=2)
    world.borrow(hold=1, after=3.5)


@scenario(max_size=0, burst_limit=1, close_timeout=1, full=True, script=lambda: {"close": [NEVER]}, least=48)
def shrunk_and_the_close_is_aborted(world: World) -> None:
    world.borrow(hold=1)
    world.borrow(hold=1, after=1.5)


@scenario(max_size=0, burst_limit=1, close_timeout=1, script=lambda: {"close": [3, 1, 2]}, least=102)
def shrunk_and_the_close_takes_too_long(world: World) -> None:
    world.borrow(hold=1)
    world.borrow(hold=1, after=1.5)
    world.borrow(hold=1, after=5)


@scenario(max_size=1, burst_limit=3, shrink_delay=2, script=lambda: {"close": [1]}, least=84)
def shrunk_after_a_delay(world: World) -> None:
    for hold in (1, 1, 2):
        world.borrow(hold)
    world.borrow(hold=2, after=2.5)


@scenario(max_size=2, warm=2, script=lambda: {"close": [1, OSError()]}, least=44)
def discarded(world: World) -> None:
    world.borrow(hold=1, discard=True)
    world.borrow(hold=1, discard=True)
    world.borrow(hold=0)


@scenario(max_size=1, warm=1, errors=(TimeoutError,), script=lambda: {"close": [1, OSError()]}, least=55)
def dirty(world: World) -> None:
    world.borrow(hold=1, error=TimeoutError)
    world.borrow(hold=1, error=TimeoutError)
    world.borrow(hold=0)


@scenario(max_size=1, warm=1, errors=(ValueError,), least=14, small=True)
def left_with_an_ordinary_error(world: World) -> None:
    world.borrow(hold=1, error=ValueError)
    world.borrow(hold=0)


@scenario(max_size=1, warm=1, least=22)
def closed_by_the_server_in_use(world: World) -> None:
    (conn,) = world.server.open
    world.loop.call_later(0.5, setattr, conn, "closed", True)
    world.borrow()
    world.borrow()


@pytest.mark.parametrize("scenario, fake", scenario.cases())
def test_c10_any_party_is_cancelled_at_any_tick_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep(scenario, fake) >= scenario.least


@pytest.mark.parametrize("scenario, fake", scenario.cases(pairs=True))
def test_c10_any_two_are_cancelled_at_any_two_ticks_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep_pairs(scenario, fake) >= scenario.least**2 // 3
