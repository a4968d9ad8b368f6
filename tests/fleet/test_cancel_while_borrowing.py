"""Whoever is cancelled at whatever tick while permits are asked for, given back and revoked, nothing is lost (C10)."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from itertools import product

import pytest

import borrowing
import sweeping
from asyncio_connection_pool import PoolClosedError, PoolTimeoutError
from asyncio_connection_pool.testing import NEVER
from borrowing import GRANTED, REFUSED, FakeBudget
from sweeping import Scenario, Scenarios, World
from sweeping_fakes import Full

scenario = Scenarios()


class Borrowing(World):
    """Gives each run a budget of its own, and looks at the books at each tick."""

    def __init__(self, scenario, *args, **options):
        given = scenario.options.get("burst_budget", {})
        self.budget = FakeBudget(timeout=1)
        self.revoked = False
        settings = {**scenario.options, "burst_budget": self.budget}
        super().__init__(dataclasses.replace(scenario, options=settings), *args, **options)
        self.answers = given

    async def main(self):
        script = self.server.script

        def both(**scripts):
            self.budget.script(**self.answers)
            script(**scripts)

        self.server.script = both
        heal = self.server.heal

        def heal_both():
            heal()
            self.budget.script()

        self.server.heal = heal_both
        await super().main()

    def watch(self):
        super().watch()
        if self.pool._loop is not None:
            borrowing.check(self.pool, self.budget)
            if not self.revoked:
                borrowing.check_permitted(self.pool)

    def judge_rest(self):
        super().judge_rest()
        borrowing.check_settled(self.pool, self.budget)

    def judge_closed(self):
        super().judge_closed()
        assert not self.budget.reserved, "a pool that is closed keeps its reservation"

    def revoke(self, after: float, keep: int = 0, *, abort: bool = False) -> None:
        """Start a party that takes permits away."""

        async def revoking() -> None:
            await asyncio.sleep(after)
            self.revoked = True
            self.budget.revoke(self.pool._supply.account, keep)
            if abort:
                self.pool._supply.account.abort()

        self.start(revoking())


@pytest.fixture(autouse=True)
def _set_up(monkeypatch):
    monkeypatch.setattr(random, "random", lambda: 0.5)
    monkeypatch.setattr(sweeping, "World", Borrowing)


def answers(*script):
    return {"answers": script}


@scenario(max_size=1, burst_limit=2, warm=1, burst_budget=answers(0.5), least=30, small=True)
def granted(world):
    world.borrow()
    world.borrow()


@scenario(max_size=1, burst_limit=3, warm=1, burst_budget=answers(REFUSED, GRANTED, REFUSED), least=60)
def refused(world):
    for _ in range(3):
        world.borrow(hold=1)


@scenario(max_size=1, burst_limit=2, warm=1, burst_budget=answers(NEVER), least=40)
def unanswered(world):
    world.borrow(hold=2)
    world.borrow(hold=0)


@scenario(max_size=1, burst_limit=3, warm=1, burst_budget=answers(OSError(), 0.5, OSError()), least=60)
def failing(world):
    for _ in range(3):
        world.borrow(hold=1)


@scenario(
    max_size=1,
    burst_limit=3,
    warm=1,
    burst_budget=answers(0.9, 0.5),
    script=lambda: {"create": [OSError(0), 1]},
    errors=(OSError,),
    least=60,
)
def granted_and_then_the_open_fails(world):
    for _ in range(3):
        world.borrow(hold=1)


@scenario(
    max_size=1,
    burst_limit=2,
    warm=1,
    connect_timeout=0.2,
    burst_budget=answers(0.5, 0.5),
    errors=(PoolTimeoutError,),
    script=lambda: {"create": [NEVER, 0.1]},
    least=40,
)
def the_time_to_connect_does_not_count_the_asking(world):
    for _ in range(3):
        world.borrow(hold=1)


@scenario(max_size=2, burst_limit=3, burst_budget={"joins": [0.5], "answers": [0.5]}, least=60)
def the_first_open_joins(world):
    for _ in range(4):
        world.borrow(hold=1)


@scenario(max_size=1, burst_limit=3, warm=1, burst_budget=answers(0.5, 0.5), least=50)
def served_by_a_return_while_asking(world):
    world.borrow(hold=0.2)
    world.borrow(hold=0)
    world.borrow(hold=0)


@scenario(max_size=1, burst_limit=3, warm=1, shrink_delay=1, burst_budget=answers(0.5, REFUSED), least=70)
def slow_to_shrink(world):
    for _ in range(3):
        world.borrow(hold=1)
    world.borrow(hold=1, after=2)


@scenario(max_size=1, burst_limit=3, warm=1, shrink_delay=5, least=60)
def revoked(world):
    world.borrow(hold=1)
    world.borrow(hold=3)
    world.borrow(hold=3)
    world.revoke(after=2)
    world.borrow(hold=1, after=2.5)


@scenario(max_size=1, burst_limit=3, warm=1, shrink_delay=5, script=lambda: {"close": [3]}, least=60, full=True)
def revoked_and_aborted(world):
    world.borrow(hold=1)
    world.borrow(hold=3)
    world.borrow(hold=3)
    world.revoke(after=2, keep=1)
    world.borrow(hold=1, after=2)
    world.revoke(after=2, abort=True)


@scenario(max_size=1, burst_limit=3, warm=1, burst_budget=answers(0.5, NEVER), errors=(PoolClosedError,), least=50)
def closed_while_asking(world):
    for _ in range(3):
        world.borrow(hold=1)
    world.close(after=0.7)


@pytest.mark.parametrize("scenario, fake", scenario.cases())
def test_c10_any_party_is_cancelled_at_any_tick_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep(scenario, fake) >= scenario.least


@pytest.mark.parametrize("scenario, fake", scenario.cases(pairs=True))
def test_c10_any_two_are_cancelled_at_any_two_ticks_and_nobody_else_is_harmed(scenario: Scenario, fake) -> None:
    assert sweeping.sweep_pairs(scenario, fake) >= scenario.least**2 // 3


YES = {"granted": GRANTED, "slow": 0.5}
NO = {"refused": REFUSED, "never": NEVER, "raises": OSError()}
ANSWERS = YES | NO
SOME_LEAVE = [pair for pair in product(ANSWERS, repeat=2) if not NO.keys() >= {*pair}]
"""Pairs of answers; where nothing is lent, nothing can be lost."""


@pytest.mark.parametrize("first, second", SOME_LEAVE)
def test_c10_whatever_the_budget_answers_any_party_may_be_cancelled_at_any_tick(first, second) -> None:
    def play(world):
        for _ in range(3):
            world.borrow(hold=0.4)

    given = {"answers": (ANSWERS[first], ANSWERS[second])}
    options = {"max_size": 1, "burst_limit": 3, "burst_budget": given}
    case = Scenario(play, options, warm=1)
    assert sweeping.sweep(case, Full) >= 30
