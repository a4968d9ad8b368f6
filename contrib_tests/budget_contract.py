"""What holds of a burst budget on a real coordinator, whatever that is."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import uuid
from contextlib import AsyncExitStack
from typing import Any

import pytest

from asyncio_connection_pool import ConnectionPool, PoolError, PoolTimeoutError
from asyncio_connection_pool.testing import FakeStrategy, FullFakeStrategy
from strategy_contract import until

LEASE = 2.0
"""Long enough for a machine that is busy; a coordinator that is new to a budget takes it once."""
SHORT = 0.5


def pool(budget: Any, **options: Any) -> ConnectionPool:
    """Make a pool that opens connections to nowhere."""
    options = {"strategy": FakeStrategy(), "max_size": 2, "burst_limit": 10, **options}
    return ConnectionPool(burst_budget=budget, **options)


async def use(budget: Any, **options: Any) -> None:
    """Open a pool and close it."""
    async with pool(budget, **options):
        pass


async def hold(stack: AsyncExitStack, of: ConnectionPool, count: int) -> None:
    for _ in range(count):
        await stack.enter_async_context(of.get_connection(timeout=5))


async def burst(budget: Any) -> int:
    """Open a pool, hold more connections than its `max_size`, and say how many it has in use."""
    async with pool(budget) as mine, AsyncExitStack() as stack:
        await hold(stack, mine, 3)
        return mine.stats().in_use


class BudgetContract:
    """Subclass it with a `make` that makes budgets of the same `name`, on one coordinator, and a `cut_line`."""

    name = f"contract {uuid.uuid4().hex}"

    def make(self, limit: int = 6, **options: Any) -> Any:
        raise NotImplementedError

    def cut_line(self, budget: Any) -> None:
        """End that by which the coordinator knows that the process of a budget lives."""
        raise NotImplementedError

    async def test_a_line_tells_the_frozen_from_the_dead(self):
        """A member that says nothing keeps its lease while its line stands, and loses it when that ends."""
        brief = {"name": uuid.uuid4().hex, "lease_time": SHORT}
        late, other = self.make(**brief), self.make(**brief)
        async with pool(late) as mine, mine.get_connection(), mine.get_connection(), mine.get_connection():
            late._heart.stop()
            late._heart._flies = True
            async with pool(other) as theirs:
                await asyncio.sleep(1.5 * SHORT)
                async with theirs.get_connection():
                    assert (await other.inspect()).lent == 1
                self.cut_line(late)
                await asyncio.sleep(1.5 * SHORT)
                assert (await other.inspect()).lent == 0
            late._heart._flies = False

    async def test_a_fleet_has_what_is_reserved_and_lent_and_no_more(self):
        one, other = self.make(), self.make()
        async with pool(one) as first, pool(other) as second, AsyncExitStack() as stack:
            await hold(stack, first, 3)
            await hold(stack, second, 3)
            with pytest.raises(PoolTimeoutError):
                await first.get_connection(timeout=0.3).__aenter__()
            stats = await one.inspect()
            assert (stats.limit, stats.reserved, stats.lent, stats.free) == (6, 4, 2, 0)
            assert [(member.reserved, member.burst) for member in stats.members] == [(2, 1), (2, 1)]
            assert all(member.name.endswith((first.name, second.name)) for member in stats.members)
            assert all(0 < member.expires_in <= LEASE for member in stats.members)
        assert (await one.inspect()).members == ()

    async def test_what_is_given_back_is_there_for_others(self):
        one, other = self.make(), self.make()
        async with pool(one) as first, pool(other) as second:
            async with AsyncExitStack() as stack:
                await hold(stack, first, 4)
            async with AsyncExitStack() as stack:
                await hold(stack, second, 4)

    async def test_a_pool_that_does_not_fit_is_told_who_has_what(self):
        async with pool(self.make(), name="here-first"):
            told = r"reserve 5 connections.* of 6, 2 are reserved.*here-first: 2 and 0 lent"
            with pytest.raises(PoolError, match=told):
                await use(self.make(), max_size=5)
            async with pool(self.make(), max_size=4):
                pass

    async def test_whose_limit_is_another_one_changes_it_if_it_fits(self):
        async with pool(self.make()):
            with pytest.raises(PoolError, match=r"of 1 \(the fleet goes by 6\), 2 are reserved"):
                await use(self.make(limit=1))
            assert (await self.make().inspect()).limit == 6
            async with pool(self.make(limit=7)):
                assert (await self.make().inspect()).limit == 7
            await use(self.make())

    async def test_a_reservation_takes_the_room_that_others_have_borrowed(self):
        async with pool(self.make()) as first, AsyncExitStack() as stack:
            await hold(stack, first, 6)
            opening = asyncio.create_task(use(self.make()))
            await asyncio.sleep(0.2)
            assert not opening.done()
            await stack.aclose()
            await opening

    async def test_who_has_idle_bursts_gives_them_up_when_others_are_hungry(self):
        async with pool(self.make(), shrink_delay=60) as first, pool(self.make()) as second:
            async with AsyncExitStack() as stack:
                await hold(stack, first, 4)
            assert first.stats().idle == 4
            async with AsyncExitStack() as stack:
                await hold(stack, second, 4)
            assert first.stats().closed["revoked"] == 2

    async def test_two_pools_of_a_process_share_one_budget(self):
        budget = self.make()
        async with pool(budget) as first, pool(budget, max_size=1) as second, AsyncExitStack() as stack:
            await hold(stack, first, 4)
            await hold(stack, second, 2)
            (member,) = (await budget.inspect()).members
            assert (member.reserved, member.burst) == (3, 3)

    async def test_a_larger_max_size_is_reserved(self):
        budget = self.make()
        async with pool(budget) as mine:
            mine.max_size = 5

            async def is_reserved() -> bool:
                return (await budget.inspect()).reserved == 5

            await until(is_reserved)

    async def test_a_process_keeps_its_lease_for_as_long_as_it_lives(self):
        budget = self.make()
        async with pool(budget) as mine, AsyncExitStack() as stack:
            await hold(stack, mine, 4)
            await asyncio.sleep(1.5 * LEASE)
            stats = await budget.inspect()
            assert (stats.reserved, stats.lent) == (2, 2)
            assert mine.stats().in_use == 4

    async def test_a_pool_that_is_collected_leaves_nothing_behind(self):
        budget, watcher = self.make(), self.make()
        mine = pool(budget)
        async with mine.get_connection():
            pass
        del mine
        gc.collect()

        async def nothing_is_reserved() -> bool:
            return not (await watcher.inspect()).reserved

        await until(nothing_is_reserved)
        await until(budget._heart._flight.done)

    async def test_an_unreachable_coordinator_is_an_error_at_the_opening(self, nowhere):
        told = r"its coordinator, \w+://127.0.0.1:\d+\S*: Connection\w*Error: .*; see that it runs, .*strict=False"
        with pytest.raises(PoolError, match=told):
            await use(nowhere())

    async def test_a_wrong_user_is_told_and_the_password_is_not(self, intruder):
        with pytest.raises(PoolError, match=r"Error: .*user and password are right") as caught:
            await use(intruder)
        assert "sesame" not in str(caught.value)

    async def test_what_inspect_returns_reads_well(self):
        budget = self.make()
        async with pool(budget, name="reading") as mine, AsyncExitStack() as stack:
            await hold(stack, mine, 3)
            first, second = str(await budget.inspect()).splitlines()
        assert first == "6 connections: 2 reserved, 1 lent, 3 free"
        assert re.fullmatch(r"  \S+:\d+ reading: 2 reserved, 1 lent, due in [012]\.\d s", second)

    async def test_where_it_is_not_strict_a_pool_opens_without_its_coordinator(self, nowhere, caplog):
        async with pool(nowhere(strict=False), max_size=1) as mine:
            async with mine.get_connection():
                with pytest.raises(PoolTimeoutError):
                    await mine.get_connection(timeout=0.2).__aenter__()
        assert "going on without a reservation" in caplog.text

    @pytest.mark.parametrize("strict", [True, False])
    async def test_who_is_cut_off_gives_up_its_burst(self, strict, monkeypatch, caplog):
        caplog.set_level(logging.INFO)
        budget = self.make(strict=strict, name=uuid.uuid4().hex, lease_time=SHORT)
        strategy = FullFakeStrategy()
        async with pool(budget, strategy=strategy) as mine, AsyncExitStack() as stack:
            await hold(stack, mine, 4)
            send = budget._heart._send

            async def fail(request):
                raise ConnectionResetError

            monkeypatch.setattr(budget._heart, "_send", fail)
            await asyncio.sleep(2 * SHORT)
            assert mine.stats().in_use == (2 if strict else 4)
            assert len(strategy.aborted) == (2 if strict else 0)
            monkeypatch.setattr(budget._heart, "_send", send)
            await stack.aclose()
            await until(lambda: mine.stats().size == 2)
            async with AsyncExitStack() as again:
                await hold(again, mine, 4)
        assert "does not reach the coordinator" in caplog.text

    def test_c11_a_budget_goes_from_one_event_loop_to_the_next(self):
        budget = self.make()
        assert [asyncio.run(burst(budget)), asyncio.run(burst(budget))] == [3, 3]

    async def test_c11_a_budget_that_is_in_use_serves_one_loop(self):
        budget = self.make()

        def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="another event loop"):
                asyncio.run(use(budget))
            with pytest.raises(RuntimeError, match="another event loop"):
                asyncio.run(budget.inspect())

        async with pool(budget):
            await asyncio.to_thread(elsewhere)

    def test_c11_a_forked_child_is_a_member_of_its_own(self):
        budget = self.make()
        assert asyncio.run(burst(budget)) == 3
        name = budget._member.name
        pid = os.fork()
        if not pid:
            try:
                asyncio.run(budget.inspect())
                os._exit(0 if asyncio.run(burst(budget)) == 3 and budget._member.name != name else 1)
            finally:
                os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    @pytest.mark.parametrize(
        "wrong, error, message",
        [
            ({"limit": 0}, ValueError, "limit must be at least 1"),
            ({"limit": 2.5}, TypeError, "limit must be an int"),
            ({"limit": True}, TypeError, "limit must be an int"),
            ({"lease_time": 0}, ValueError, "lease_time must be finite and more than 0"),
            ({"lease_time": "1"}, TypeError, "lease_time must be a number of seconds"),
            ({"lease_time": 5, "reservation_time": 4}, ValueError, "reservation_time must not be below lease_time"),
            ({"timeout": float("inf")}, ValueError, "timeout must be finite"),
            ({"strict": "no"}, TypeError, "strict must be True or False, not 'no'"),
            ({"name": ""}, ValueError, "name of a budget must not be empty"),
            ({"name": 3}, TypeError, "name of a budget must be a str"),
        ],
    )
    def test_a_wrong_argument_is_refused_at_once(self, wrong, error, message):
        with pytest.raises(error, match=message):
            self.make(**{"limit": 6, **wrong})
