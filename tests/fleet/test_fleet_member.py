"""One member of a fleet and its coordinator, in one process: whom one cancels, and what one says too late."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import random

import pytest

import sweeping
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib._budget_fleet import FleetBudget, FleetStats
from asyncio_connection_pool.contrib._budget_protocol import ABORT_AT, REVOKE_AT, Member, Reply
from asyncio_connection_pool.testing import FullFakeStrategy, run
from coordinator import Coordinator
from scenarios import callers, leave_all, settle, use, virtual
from sweeping import Scenarios, World
from sweeping_fakes import Full

scenario = Scenarios()
LEASE = 20.0


class LocalBudget(FleetBudget):
    """Talks to a coordinator in the same process, which takes some time to answer."""

    def __init__(self, limit: int, *, delay: float = 0.05, **options) -> None:
        super().__init__("local", limit, "here", lease_time=LEASE, **options)
        self._clock = lambda: asyncio.get_running_loop().time()
        self.coordinator = Coordinator()
        self.coordinator.restarted = False
        self.delay = delay
        self.broken: list[BaseException] = []
        self.hung_up = 0

    async def _send(self, request):
        if self.broken:
            raise self.broken.pop()
        await asyncio.sleep(self.delay / 2)
        reply = self.coordinator.sync(request, self._clock())
        await asyncio.sleep(self.delay / 2)
        return reply

    async def _hang_up(self):
        self.hung_up += 1

    def _forget(self):
        pass

    async def _inspect(self):
        return FleetStats(self.limit, self.coordinator.reserved, self.coordinator.lent, ())


def build(budget, **options):
    sizes = {"max_size": 1, "burst_limit": 4, **options}
    return ConnectionPool(strategy=FullFakeStrategy(), burst_budget=budget, **sizes)


# The state of a member.


def ask(member, now, *, want=1):
    return member.request(now, firm=1, kept=0, want=want)


def test_a_lease_counts_from_the_moment_at_which_it_was_asked_for():
    member = Member("m", "label", 10, LEASE, 60)
    request = ask(member, 100)
    assert member.received(Reply(request.seq, "ok", 1, 1), 104)
    assert (member.firm, member.burst, member.known) == (1, 1, True)
    assert (member.revoke_at, member.abort_at) == (100 + REVOKE_AT * LEASE, 100 + ABORT_AT * LEASE)


@pytest.mark.parametrize(
    "status, seq, now",
    [("ok", 2, 100 + REVOKE_AT * LEASE), ("ok", 1, 101), ("stale", 2, 101)],
    ids=["too late", "to the message before", "to an old message"],
)
def test_an_answer_that_is_not_to_be_believed_changes_nothing(status, seq, now):
    member = Member("m", "label", 10, LEASE, 60)
    ask(member, 99)
    ask(member, 100)
    assert not member.received(Reply(seq, status, 1, 1), now)
    assert (member.firm, member.burst, member.known) == (0, 0, False)


def test_who_asks_for_less_has_less_from_then_on():
    member = Member("m", "label", 10, LEASE, 60)
    member.received(Reply(ask(member, 0, want=5).seq, "ok", 1, 5), 1)
    ask(member, 2, want=3)
    assert member.burst == 3


# The heartbeat.


@virtual
async def test_questions_that_are_asked_together_are_one_message():
    budget = LocalBudget(10)
    async with build(budget, burst_limit=9) as pool:
        before = budget._member._seq
        people = await callers(pool, 9)
        await asyncio.sleep(0.06)
        assert all(caller.entered for caller in people)
        assert budget._member._seq - before <= 2
        await leave_all(people)


@virtual
async def test_a_coordinator_that_gives_less_than_there_is_has_it_aborted():
    budget = LocalBudget(10)
    async with build(budget) as pool:
        people = await callers(pool, 3)
        await asyncio.sleep(0.1)
        budget.coordinator.members.clear()  # and no grace
        budget.coordinator.limit = budget.coordinator.claimed + 1
        await asyncio.sleep(LEASE / 2)
        assert pool.strategy.aborted
        assert pool.stats().in_use == 1
        await leave_all(people)


@virtual
async def test_an_engine_that_fails_is_tried_again(caplog):
    caplog.set_level("INFO")
    budget = LocalBudget(10)
    async with build(budget) as pool:
        budget.broken += [OSError("cut"), OSError("cut")]
        people = await callers(pool, 2)
        await asyncio.sleep(LEASE / 4)
        assert people[1].entered
        await leave_all(people)
    told = [record.levelname for record in caplog.records if "does not reach the coordinator" in record.getMessage()]
    assert told == ["WARNING", "INFO"]
    assert "of its burst budget: OSError: cut" in caplog.text


@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
@pytest.mark.parametrize("flies", [True, False])
def test_c11_a_loop_that_ends_while_a_message_flies_leaves_nothing_behind(flies):
    budget = LocalBudget(10)

    async def leave_it_open():
        pool = build(budget)
        await use(pool)
        if flies:
            budget._heart.wake()
            await settle()
        assert budget._heart._flies == flies

    run(leave_it_open())
    gc.collect()
    assert not budget._heart._flies
    run(leave_it_open())
    gc.collect()


@virtual
async def test_the_last_pool_hangs_up():
    budget = LocalBudget(10)
    async with build(budget):
        async with build(budget):
            pass
        assert not budget.hung_up
    assert budget.hung_up == 1
    await settle()
    assert len(asyncio.all_tasks()) == 1


# Cancellation.


class Lending(World):
    """Gives each run a budget with a coordinator of its own."""

    def __init__(self, scenario, *args, **options):
        self.budget = LocalBudget(scenario.options["burst_limit"], timeout=1)
        settings = {**scenario.options, "burst_budget": self.budget}
        super().__init__(dataclasses.replace(scenario, options=settings), *args, **options)

    @property
    def lent(self) -> int:
        """Permits that the member believes to be out."""
        return self.budget._heart.holdings.held if self.budget._pid else 0

    def watch(self):
        super().watch()
        if self.budget._pid and not self.pool.closed:
            account = self.pool._supply.account
            assert account.used <= account.permits <= self.lent <= self.budget._member.burst

    def judge_rest(self):
        super().judge_rest()
        account = self.pool._supply.account
        assert account.permits == account.used
        assert self.pool.closed or self.lent == account.permits

    def judge_closed(self):
        super().judge_closed()
        assert not self.budget._heart.holdings
        assert not self.budget._heart._asks


@pytest.fixture
def _lend(monkeypatch):
    monkeypatch.setattr(random, "random", lambda: 0.5)
    monkeypatch.setattr(sweeping, "World", Lending)


@scenario(max_size=1, burst_limit=3, least=100)
def two_bursts(world):
    for _ in range(3):
        world.borrow(hold=1)


@scenario(max_size=1, burst_limit=3, warm=1, shrink_delay=0.5, least=100)
def bursts_that_come_and_go(world):
    world.borrow(hold=0.3)
    world.borrow(hold=0.3)
    world.borrow(hold=0.3, after=1.5)
    world.borrow(hold=0.3, after=1.5)


@pytest.mark.usefixtures("_lend")
@pytest.mark.parametrize("scenario", scenario, ids=str)
def test_c10_any_party_is_cancelled_at_any_tick_and_nobody_else_is_harmed(scenario) -> None:
    assert sweeping.sweep(scenario, Full) >= scenario.least
