"""Whoever is cancelled at whatever tick while a policy is at work, nothing is lost and nobody else is harmed (C10)."""

from __future__ import annotations

import asyncio
import random

import pytest

import sweeping
from asyncio_connection_pool import PoolClosedError, PoolTimeoutError
from asyncio_connection_pool.testing import NEVER
from sweeping import Scenario, Scenarios, World
from sweeping_fakes import failing, stubborn

scenario = Scenarios()


@pytest.fixture(autouse=True)
def _nothing_is_left_to_chance(monkeypatch):
    """Each run has to be the one before, but for who is cancelled."""
    monkeypatch.setattr(random, "random", lambda: 0.5)


def open_pool(world: World, after: float = 0) -> None:
    """Start a party that opens the pool."""

    async def opening() -> None:
        await asyncio.sleep(after)
        await world.pool.open()

    world.start(opening())


def evict(world: World, after: float, over: float = 0) -> None:
    """Start a party that evicts."""

    async def evicting() -> None:
        await asyncio.sleep(after)
        world.pool.evict(over)

    world.start(evicting())


def resize(world: World, after: float, *sizes: int) -> None:
    """Start a party that resizes."""

    async def resizing() -> None:
        await asyncio.sleep(after)
        world.pool.resize(*sizes)

    world.start(resizing())


# min_size.


@scenario(max_size=3, min_size=2, script=lambda: {"create": [1, 2, 1]}, least=160)
def filled(world: World) -> None:
    open_pool(world)
    open_pool(world, after=0.5)
    world.borrow(hold=1)
    world.borrow(hold=1, after=1.5)


@scenario(
    max_size=2,
    min_size=2,
    errors=(OSError,),
    script=lambda: {"create": [1, failing(1, OSError(0)), OSError(1), None, OSError(2)]},
    least=98,
)
def filling_fails(world: World) -> None:
    open_pool(world)
    world.borrow(hold=1, after=1.5, discard=True)
    world.borrow(hold=2, after=3)


@scenario(max_size=2, min_size=2, warm=2, script=lambda: {"close": [1, 1], "create": [1, 1]}, least=48)
def replaced_after_a_discard(world: World) -> None:
    open_pool(world)
    world.borrow(hold=1, discard=True)
    world.borrow(hold=1, after=1.5)


@scenario(
    max_size=2,
    min_size=2,
    connect_timeout=1,
    errors=(PoolTimeoutError,),
    script=lambda: {"create": [stubborn, NEVER, 0.5, None]},
    least=55,
)
def filling_takes_too_long(world: World) -> None:
    open_pool(world)
    world.borrow(hold=1, after=0.5)


# Old, worn, idle.


@scenario(max_size=2, warm=2, max_lifetime=2, script=lambda: {"close": [1, 1], "create": [0.5]}, least=102)
def lifetimes_end(world: World) -> None:
    world.borrow(hold=1)
    world.borrow(hold=2)
    world.borrow(hold=1, after=1)
    world.borrow(hold=0, after=1.7)


@scenario(max_size=1, warm=1, max_uses=1, script=lambda: {"close": [1, OSError()]}, least=57)
def worn_out(world: World) -> None:
    for _ in range(3):
        world.borrow(hold=0)


@scenario(max_size=3, min_size=1, warm=3, max_idle=1, script=lambda: {"close": [1, 1]}, least=56)
def idle_for_too_long(world: World) -> None:
    open_pool(world)
    world.borrow(hold=1, after=0.9)
    world.borrow(hold=0, after=2)


@scenario(max_size=1, warm=1, max_uses=1, small=True, least=19)
def worn_out_while_somebody_waits(world: World) -> None:
    world.borrow(hold=0)
    world.borrow(hold=0)


# Validated.


@scenario(max_size=1, warm=1, validate_after=0.05, full=True, small=True, least=19)
def validated_for_two(world: World) -> None:
    world.borrow(hold=0)
    world.borrow(hold=0)


@scenario(max_size=2, warm=2, validate_after=0.05, full=True, script=lambda: {"validate": [1, 2]}, least=90)
def validated(world: World) -> None:
    for _ in range(3):
        world.borrow(hold=1)


@scenario(
    max_size=2,
    warm=2,
    validate_after=0.05,
    full=True,
    script=lambda: {"validate": [failing(1, OSError(0)), OSError(1)], "close": [1], "create": [1]},
    least=80,
)
def validation_fails(world: World) -> None:
    world.borrow(hold=1)
    world.borrow(hold=1)


@scenario(
    max_size=2,
    warm=2,
    validate_after=0.05,
    full=True,
    errors=(PoolTimeoutError,),
    script=lambda: {"validate": [9, 1]},
    least=95,
)
def validation_takes_longer_than_the_pool_lives(world: World) -> None:
    world.borrow(hold=1, timeout=2)
    world.borrow(hold=1, timeout=2)
    world.close(after=4, timeout=2)


# Bursts and shrinking.


@scenario(
    max_size=1,
    burst_limit=3,
    burst_delay=1,
    errors=(PoolTimeoutError,),
    script=lambda: {"create": [0.5, 0.5, 0.5]},
    least=158,
)
def bursts_after_a_delay(world: World) -> None:
    for hold in (1, 2, 1):
        world.borrow(hold)
    world.borrow(hold=1, after=0.5, timeout=0.7)


# Evicted and resized.


@scenario(
    max_size=3,
    min_size=1,
    warm=2,
    full=True,
    script=lambda: {"close": [1, 1], "reset": [1, 1], "create": [1]},
    least=165,
)
def evicted(world: World) -> None:
    open_pool(world)
    world.borrow(hold=1)
    world.borrow(hold=0.2)
    world.borrow(hold=1, after=0.7)
    evict(world, after=0.5)


@scenario(max_size=3, warm=3, script=lambda: {"close": [1, OSError()], "create": [1]}, least=82)
def evicted_over_a_while(world: World) -> None:
    world.borrow(hold=1)
    evict(world, after=0.5, over=2)
    evict(world, after=1)
    world.borrow(hold=0, after=1)


@scenario(max_size=3, min_size=1, warm=3, script=lambda: {"close": [1, 1, 1], "create": [1]}, least=156)
def resized(world: World) -> None:
    for hold in (1, 1, 2, 1):
        world.borrow(hold)
    resize(world, 0.5, 1)
    resize(world, 1.5, 2, 3)


# All at once.

EVERY_POLICY = {
    "min_size": 1,
    "max_lifetime": 3,
    "max_uses": 2,
    "max_idle": 2,
    "validate_after": 0.3,
    "shrink_delay": 1,
    "burst_delay": 0.5,
}


@scenario(
    max_size=2,
    burst_limit=3,
    full=True,
    **EVERY_POLICY,
    script=lambda: {"create": [0.2, 0.4], "close": [0.2, 0.4], "validate": [0.2, 0.4], "reset": [0.2, 0.4]},
    least=363,
)
def everything(world: World) -> None:
    open_pool(world)
    for hold in (1, 0.5, 0.5):
        world.borrow(hold)
    world.borrow(hold=1, after=2)
    evict(world, after=2.5, over=1)


@scenario(
    max_size=2,
    burst_limit=3,
    full=True,
    **EVERY_POLICY,
    errors=(PoolClosedError,),
    script=lambda: {"create": [0.2, 0.4, stubborn], "close": [0.2], "validate": [9], "reset": [9]},
    least=159,
)
def everything_and_closed(world: World) -> None:
    open_pool(world)
    world.borrow(1)
    world.borrow(0.5)
    world.close(after=1.2, timeout=1)


@pytest.mark.parametrize("scenario, fake", scenario.cases())
def test_c10_any_party_is_cancelled_at_any_tick_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep(scenario, fake) >= scenario.least


@pytest.mark.parametrize("scenario, fake", scenario.cases(pairs=True))
def test_c10_any_two_are_cancelled_at_any_two_ticks_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep_pairs(scenario, fake) >= scenario.least**2 // 3
