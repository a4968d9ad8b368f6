"""Whoever is cancelled at whatever tick, what the observers are told is what the pool counts (C10)."""

from __future__ import annotations

import pytest

import sweeping
from asyncio_connection_pool import PoolTimeoutError
from diary import Diary, differences
from sweeping import Scenario, Scenarios, World
from sweeping_fakes import stubborn

scenario = Scenarios()


class Auditor(Diary):
    """Begins a new diary with each pool, and compares it with the books when the pool is closed."""

    def on_attach(self, pool):
        super().__init__()

    def on_detach(self, pool):
        if wrong := differences(self, pool.stats()):
            disagreements.append(wrong)
        begun = sum(how == "begins" for _, how in self.spans)
        if 2 * begun != len(self.spans):
            disagreements.append({"spans": self.spans})


disagreements: list[object] = []
OPTIONS = {"observers": [Auditor()], "max_size": 1, "burst_limit": 2}


@scenario(**OPTIONS, script=lambda: {"create": [1, 2], "close": [1]}, least=60)
def bursting(world: World) -> None:
    for hold in (2, 1, 1):
        world.borrow(hold)


@scenario(**OPTIONS, warm=1, least=10)
def at_once(world: World) -> None:
    world.borrow()
    world.borrow(discard=True)


@scenario(**OPTIONS, errors=(OSError,), script=lambda: {"create": [OSError(), 1, OSError()]}, least=40)
def failing_opens(world: World) -> None:
    for hold in (1, 1, 1):
        world.borrow(hold)


@scenario(
    **OPTIONS,
    connect_timeout=1,
    errors=(PoolTimeoutError,),
    script=lambda: {"create": [stubborn, 0.5, 0.5]},
    least=30,
)
def broken_off(world: World) -> None:
    world.borrow(timeout=3)
    world.borrow(timeout=0.3)
    world.borrow(1)


@scenario(**OPTIONS, warm=1, track_holders=True, errors=(PoolTimeoutError,), least=20)
def timed_out(world: World) -> None:
    for _ in range(3):
        world.borrow(2, timeout=1)


@scenario(**OPTIONS, full=True, warm=1, script=lambda: {"reset": [1, OSError()], "close": [1]}, least=30)
def reset(world: World) -> None:
    world.borrow(1)
    world.borrow(1, after=0.5)


@pytest.mark.parametrize("scenario, fake", scenario.cases())
def test_c10_any_party_is_cancelled_at_any_tick_and_the_diary_is_right(scenario: Scenario, fake) -> None:
    disagreements.clear()
    assert sweeping.sweep(scenario, fake) >= scenario.least
    assert not disagreements
