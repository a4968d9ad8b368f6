"""Whoever is cancelled at whatever tick of an outage, an overload or a deadlock, nobody else is harmed (C10)."""

from __future__ import annotations

import asyncio
import random

import pytest

import sweeping
from asyncio_connection_pool import (
    CoDel,
    PoolClosedError,
    PoolError,
    PoolOverloadedError,
    PoolTimeoutError,
    Reconnect,
)
from asyncio_connection_pool.testing import NEVER
from sweeping import Scenario, Scenarios, World
from sweeping_fakes import Plain, failing, stubborn

scenario = Scenarios()

STEPS = Reconnect(first=1, longest=4)


class Lost(BaseException):
    """What a wave of connects fails with. The log tells of the first only: `World` asks for more of an `Exception`."""


class Watched(World):
    """Looks at the holders, too."""

    def judge_rest(self) -> None:
        super().judge_rest()
        assert not self.pool._holders._holders
        assert not self.pool._holders._waiting


@pytest.fixture(autouse=True)
def _set_up(monkeypatch):
    """Each run has to be the one before, but for who is cancelled; and a lost server is known when it is seen."""
    monkeypatch.setattr(random, "random", lambda: 0.5)
    monkeypatch.setattr(sweeping, "World", Watched)
    monkeypatch.setattr(Plain, "failure_is_fatal", lambda self, exc: isinstance(exc, ConnectionError), raising=False)


def nest(world: World, after: float = 0) -> None:
    """Start a party that acquires in a block that holds a connection."""

    async def nesting() -> None:
        async with world.pool.get_connection() as conn:
            with world.holding(conn):
                await asyncio.sleep(after)
                await world.borrowing()

    world.start(nesting())


# Outages.


@scenario(
    max_size=1, reconnect=STEPS, script=lambda: {"create": [OSError(0), failing(1, OSError(1))]}, least=16, small=True
)
def outage_of_one(world: World) -> None:
    world.borrow(hold=0)


@scenario(
    max_size=2, max_connecting=1, reconnect=STEPS, script=lambda: {"create": [OSError(0), OSError(1), 0.5]}, least=54
)
def outage(world: World) -> None:
    for _ in range(2):
        world.borrow()


@scenario(
    max_size=3,
    reconnect=STEPS,
    script=lambda: {"create": [Lost(), failing(1, Lost()), Lost(), failing(1, Lost())]},
    least=235,
)
def outage_that_meets_a_wave(world: World) -> None:
    for _ in range(5):
        world.borrow(hold=0.2)


@scenario(max_size=4, reconnect=STEPS, script=lambda: {"create": [Lost(), 1, 1, 1, Lost(), 1]}, least=270)
def outage_that_comes_back_in_the_slow_start(world: World) -> None:
    for _ in range(5):
        world.borrow(hold=3)


@scenario(
    max_size=1,
    reconnect=STEPS,
    errors=(PoolTimeoutError,),
    script=lambda: {"create": [OSError(0), failing(1, OSError(1)), OSError(2)]},
    least=64,
)
def outage_that_outlasts_somebody(world: World) -> None:
    world.borrow(timeout=0.5)
    world.borrow(timeout=1.5)
    world.borrow()


@scenario(max_size=2, connect_timeout=1, reconnect=STEPS, script=lambda: {"create": [NEVER, stubborn, NEVER]}, least=93)
def outage_in_which_connects_hang(world: World) -> None:
    for _ in range(2):
        world.borrow(hold=0)


@scenario(
    max_size=2,
    max_connecting=1,
    reconnect=STEPS,
    errors=(PoolClosedError,),
    script=lambda: {"create": [OSError(0), failing(2, OSError(1))]},
    least=49,
)
def outage_in_which_the_pool_is_closed(world: World) -> None:
    world.borrow()
    world.borrow()
    world.close(after=1)


@scenario(max_size=1, reconnect=STEPS, script=lambda: {"create": [OSError(0)], "look": [True, True]}, least=56)
def outage_behind_a_proxy(world: World) -> None:
    world.borrow()
    world.borrow()


@scenario(
    max_size=3,
    min_size=2,
    max_connecting=1,
    reconnect=STEPS,
    errors=(OSError,),
    script=lambda: {"create": [1, OSError(0)]},
    least=46,
)
def outage_at_the_opening(world: World) -> None:
    world.start(world.pool.open())
    world.borrow(after=1)


# Failovers.


@scenario(max_size=3, warm=3, errors=(ConnectionError,), script=lambda: {"close": [1]}, least=105)
def failover(world: World) -> None:
    world.borrow(hold=1, error=ConnectionResetError)
    world.borrow(hold=2, error=ConnectionResetError)
    world.borrow(hold=1, after=1)
    world.borrow(hold=1, after=1)


@scenario(
    max_size=2,
    warm=1,
    max_connecting=1,
    reconnect=STEPS,
    errors=(ConnectionError,),
    script=lambda: {"create": [failing(1, ConnectionRefusedError()), 1]},
    least=98,
)
def failover_that_a_create_finds(world: World) -> None:
    world.borrow(hold=2)
    world.borrow(hold=1)
    world.borrow(hold=0)


@scenario(max_size=1, warm=1, full=True, errors=(ConnectionError,), script=lambda: {"reset": [1]}, least=43)
def failover_during_a_reset(world: World) -> None:
    world.borrow(hold=0)
    world.borrow(hold=0, error=ConnectionResetError)
    world.borrow(hold=0)


# Overload.


@scenario(max_size=1, warm=1, queue_policy=CoDel(target=0.4, interval=2), errors=(PoolOverloadedError,), least=142)
def overload(world: World) -> None:
    for after in (0, 0, 0, 0, 3, 3.5):
        world.borrow(after=after)


@scenario(max_size=1, warm=1, queue_policy=CoDel(target=0.4, interval=1, observe=True), least=65)
def overload_that_is_only_observed(world: World) -> None:
    for _ in range(4):
        world.borrow(hold=0.9)


@scenario(
    max_size=1,
    warm=1,
    queue_policy=CoDel(target=0.4, interval=1),
    errors=(PoolOverloadedError, PoolTimeoutError),
    script=lambda: {"create": [1]},
    least=134,
)
def overload_in_which_time_runs_out(world: World) -> None:
    world.borrow(hold=1, discard=True)
    for timeout in (None, None, 2, 3, None):
        world.borrow(timeout=timeout)


# Holders.


@scenario(max_size=1, warm=1, track_holders=True, errors=(PoolError,), least=19, small=True)
def nested(world: World) -> None:
    nest(world, after=1)
    world.borrow()


@scenario(max_size=2, warm=2, track_holders=True, errors=(PoolError,), least=44)
def crossing(world: World) -> None:
    nest(world, after=1)
    nest(world, after=1)
    world.borrow()


@scenario(max_size=2, warm=2, leak_threshold=1, least=84)
def leaking(world: World) -> None:
    world.borrow(hold=3)
    world.borrow(hold=0.5)
    world.borrow(hold=2)
    world.borrow(hold=2)


# All of it.


@scenario(
    max_size=2,
    burst_limit=3,
    min_size=1,
    max_lifetime=5,
    max_uses=2,
    max_idle=2,
    shrink_delay=1,
    burst_delay=0.5,
    connect_timeout=2,
    reconnect=STEPS,
    queue_policy=CoDel(target=0.4, interval=1),
    leak_threshold=1,
    errors=(PoolOverloadedError, PoolTimeoutError, ConnectionError),
    script=lambda: {"create": [Lost(), 1, 0.5, NEVER]},
    least=200,
)
def everything(world: World) -> None:
    world.borrow(hold=1)
    world.borrow(hold=2, error=ConnectionResetError)
    world.borrow(hold=0, timeout=4)
    world.borrow(hold=1, after=4)


@pytest.mark.parametrize("scenario, fake", scenario.cases())
def test_c10_any_party_is_cancelled_at_any_tick_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep(scenario, fake) >= scenario.least


@pytest.mark.parametrize("scenario, fake", scenario.cases(pairs=True))
def test_c10_any_two_are_cancelled_at_any_two_ticks_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep_pairs(scenario, fake) >= scenario.least**2 // 3
