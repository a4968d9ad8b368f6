"""`burst_budget`: what is above `max_size` is borrowed, and a budget that says no harms nobody."""

from __future__ import annotations

import asyncio
import gc
import os

import pytest

import borrowing
from asyncio_connection_pool import ConnectionPool, PoolTimeoutError
from asyncio_connection_pool.testing import NEVER, FakeStrategy, FullFakeStrategy, run
from borrowing import GRANTED, REFUSED, FakeBudget, account
from oracle import check_settled
from scenarios import Caller, callers, hold, idle, leave_all, outcome, settle, use, virtual

pytestmark = pytest.mark.filterwarnings("error")


def build(budget, strategy=None, *, max_size=1, burst_limit=4, **options):
    strategy = strategy or FullFakeStrategy()
    return ConnectionPool(strategy=strategy, max_size=max_size, burst_limit=burst_limit, burst_budget=budget, **options)


def closed(pool):
    return {reason: count for reason, count in pool.stats().closed.items() if count}


async def finish(pool, budget):
    """Look that nothing is left over."""
    await settle()
    check_settled(pool)
    borrowing.check_settled(pool, budget)
    await pool.close()
    assert not budget.reserved
    assert not +budget.given


# Asking.


@virtual
async def test_only_what_is_above_max_size_is_asked_for():
    budget = FakeBudget()
    pool = build(budget, max_size=2)
    holders = await hold(pool, 2)
    assert (budget.asked, sum(budget.reserved.values())) == (0, 2)
    holders += await hold(pool, 2)
    assert (budget.asked, budget.given.total()) == (2, 2)
    await leave_all(holders)
    assert budget.given.total() == 0
    await finish(pool, budget)


@virtual
async def test_nothing_is_asked_for_a_connection_that_is_idle():
    budget = FakeBudget()
    pool = build(budget, shrink_delay=60)
    await idle(pool, 4)
    for _ in range(10):
        await use(pool)
    assert budget.asked == 3
    await asyncio.sleep(61)
    await finish(pool, budget)


@virtual
async def test_c6_who_is_refused_waits_and_is_served_by_a_return():
    budget = FakeBudget(0)
    pool = build(budget)
    first, second, third = await callers(pool, 3)
    assert [caller.entered for caller in (first, second, third)] == [True, False, False]
    first.leave()
    await settle()
    assert second.entered
    await leave_all([second, third])
    assert pool.stats().create_failures == 0
    await finish(pool, budget)


@virtual
async def test_c6_a_budget_that_fails_is_no_failure_of_anybody(caplog):
    budget = FakeBudget(answers=[OSError("no coordinator")])
    pool = build(budget)
    first, second = await callers(pool, 2)
    assert not second.entered
    await asyncio.sleep(1)
    assert second.entered, "it was asked again"
    await leave_all([first, second])
    assert "no coordinator" in caplog.text
    await finish(pool, budget)


@virtual
async def test_a_budget_that_does_not_answer_is_waited_for_no_longer_than_its_timeout():
    budget = FakeBudget(answers=[NEVER], timeout=0.5)
    pool = build(budget)
    first, second = await callers(pool, 2)
    await asyncio.sleep(0.49)
    assert budget.asking == 1
    await asyncio.sleep(0.02)
    assert budget.asking == 0
    await asyncio.sleep(0.1)
    assert second.entered
    await leave_all([first, second])
    await finish(pool, budget)


@virtual
async def test_a_timeout_of_a_caller_that_was_refused_is_a_timeout_of_waiting():
    budget = FakeBudget(0)
    pool = build(budget)
    holders = await hold(pool)
    error = await outcome(use(pool, timeout=10))
    assert isinstance(error, PoolTimeoutError)
    assert error.stage == "waiting"
    await leave_all(holders)
    await finish(pool, budget)


@virtual
async def test_who_keeps_being_refused_asks_a_few_times_and_then_every_one_or_two_seconds():
    budget = FakeBudget(0)
    pool = build(budget, max_size=1, burst_limit=2)
    holders = await callers(pool, 20)
    await asyncio.sleep(1_000)
    assert 500 <= budget.asked <= 1_010
    await leave_all(holders)
    asked = budget.asked
    await asyncio.sleep(1_000)
    assert budget.asked == asked, "C13: nobody waits"
    await finish(pool, budget)


@virtual
async def test_a_budget_may_say_that_it_is_time_to_ask_again():
    budget = FakeBudget(0)
    pool = build(budget)
    first, second = await callers(pool, 2)
    assert account(pool).wants == 1
    budget.permits = 1
    account(pool).resume()
    await settle()
    assert second.entered
    assert account(pool).wants == 0
    account(pool).resume()
    await leave_all([first, second])
    await finish(pool, budget)


@virtual
async def test_leave_that_nobody_needs_any_more_opens_nothing():
    budget = FakeBudget(answers=[0.2])
    pool = build(budget)
    first, second = await callers(pool, 2)
    second.cancel()
    await asyncio.sleep(0.3)
    assert pool.stats().created == 1
    assert budget.given.total() == 0
    await leave_all([first])
    await finish(pool, budget)


@virtual
async def test_a_connection_that_comes_to_be_within_max_size_while_it_is_asked_for_gives_its_leave_back():
    budget = FakeBudget(answers=[0.2])
    pool = build(budget)
    first, second, third = await callers(pool, 3)
    third.cancel()
    pool.discard(first.conn)
    first.leave()
    await asyncio.sleep(0.3)
    assert second.entered
    assert (pool.stats().size, budget.given.total()) == (1, 0)
    await leave_all([second])
    await finish(pool, budget)


@virtual
async def test_it_is_never_the_budget_that_connect_timeout_bounds():
    budget = FakeBudget(answers=[0.2])
    pool = build(budget, FullFakeStrategy(create=[None, 0.05]), connect_timeout=0.1)
    first, second = await callers(pool, 2)
    await asyncio.sleep(0.26)
    assert second.entered
    await leave_all([first, second])
    await finish(pool, budget)


@virtual
async def test_burst_delay_passes_before_anybody_is_asked():
    budget = FakeBudget()
    pool = build(budget, burst_delay=5)
    first, second = await callers(pool, 2)
    await asyncio.sleep(4.9)
    assert budget.asked == 0
    await asyncio.sleep(0.2)
    assert second.entered
    await leave_all([first, second])
    await finish(pool, budget)


# Joining and leaving.


@virtual
async def test_open_reserves_max_size_though_it_opens_nothing():
    budget = FakeBudget()
    async with build(budget, max_size=3):
        assert list(budget.reserved.values()) == [3]
    assert not budget.reserved


@virtual
async def test_what_join_raises_is_raised_from_open():
    budget = FakeBudget(joins=[OSError("full")])
    pool = build(budget)
    with pytest.raises(OSError, match="full"):
        await pool.open()
    await pool.open()
    await finish(pool, budget)


@virtual
async def test_what_join_raises_is_raised_to_who_needs_the_first_connection():
    budget = FakeBudget(joins=[OSError("full")])
    pool = build(budget)
    assert isinstance(await outcome(use(pool)), OSError)
    await use(pool)
    await finish(pool, budget)


@virtual
async def test_what_min_size_asks_for_is_reserved_and_never_borrowed():
    budget = FakeBudget(0)
    async with build(budget, max_size=3, min_size=3) as pool:
        assert (pool.stats().idle, budget.asked) == (3, 0)


@virtual
async def test_a_pool_of_nothing_but_bursts_reserves_nothing():
    budget = FakeBudget()
    pool = build(budget, max_size=0, burst_limit=2)
    holders = await hold(pool, 2)
    assert (budget.given.total(), list(budget.reserved.values())) == (2, [0])
    await leave_all(holders)
    await finish(pool, budget)


@virtual
async def test_a_larger_max_size_is_reserved_before_it_is_used_without_leave():
    budget = FakeBudget(joins=[None, 5.0])
    pool = build(budget)
    holders = await hold(pool, 1)
    pool.resize(3, 4)
    holders += await hold(pool, 2)
    assert (budget.asked, budget.given.total()) == (2, 2)
    await asyncio.sleep(6)
    assert list(budget.reserved.values()) == [3]
    await leave_all(holders)
    assert (pool.stats().idle, budget.given.total()) == (3, 0)
    await finish(pool, budget)


@virtual
async def test_a_larger_max_size_that_cannot_be_reserved_is_borrowed(caplog):
    budget = FakeBudget(joins=[None, OSError("full"), None])
    pool = build(budget)
    holders = await hold(pool, 1)
    pool.resize(2, 4)
    holders += await hold(pool, 1)
    assert "full" in caplog.text
    assert account(pool).firm == 1
    await leave_all(holders)
    assert (pool.stats().idle, budget.given.total()) == (2, 1)
    pool.resize(1, 4)
    await settle()
    await finish(pool, budget)


@virtual
async def test_a_smaller_max_size_keeps_its_reservation_until_the_connections_are_closed():
    budget = FakeBudget()
    pool = build(budget, max_size=3)
    holders = await hold(pool, 3)
    pool.resize(1, 4)
    assert account(pool).firm == 3
    await leave_all(holders[:1])
    assert account(pool).firm == 2
    await leave_all(holders[1:])
    assert (account(pool).firm, pool.stats().idle) == (1, 1)
    await finish(pool, budget)


@virtual
async def test_c12_a_pool_leaves_when_its_last_connection_is_closed():
    budget = FakeBudget()
    pool = build(budget, FakeStrategy())
    await pool.open()
    holders = await hold(pool, 2)
    await pool.close(timeout=1)
    assert len(budget.reserved) == 1
    await leave_all(holders)
    assert not budget.reserved
    assert budget.given.total() == 0


@virtual
async def test_c12_a_pool_leaves_when_what_is_left_is_aborted():
    budget = FakeBudget()
    pool = build(budget)
    holders = await hold(pool, 2)
    await pool.close(timeout=1)
    assert not budget.reserved
    await leave_all(holders)


@virtual
async def test_c13_a_goodbye_that_takes_longer_than_close_may_does_not_outlive_it():
    budget = FakeBudget(goodbye=100)
    pool = build(budget)
    await pool.open()
    await pool.close(timeout=1)
    await settle()
    assert len(asyncio.all_tasks()) == 1
    assert not budget.reserved


@virtual
async def test_a_pool_that_never_joined_has_nothing_to_leave():
    budget = FakeBudget()
    await build(budget).close()
    assert not budget.borrowers


def test_c11_in_a_new_loop_a_pool_joins_anew():
    budget = FakeBudget()
    pool = build(budget, shrink_delay=60)

    async def burst():
        await idle(pool, 3)

    run(burst())
    assert budget.given.total() == 2
    run(burst())
    assert len(set(map(id, budget.borrowers))) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it needs fork")
def test_c11_a_forked_child_borrows_for_itself():
    budget = FakeBudget()
    pool = build(budget, shrink_delay=60)

    async def burst():
        await idle(pool, 3)

    run(burst())
    pid = os.fork()
    if not pid:
        try:
            run(burst())
            os._exit(len(set(map(id, budget.borrowers))))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2


@virtual
async def test_c13_a_pool_that_waits_out_a_refusal_can_be_collected():
    budget = FakeBudget(0)
    pool = build(budget)
    first, second = await callers(pool, 2)
    second.cancel()
    await leave_all([first])
    await settle()
    budget.borrowers.clear()
    budget.reserved.clear()
    budget.given.clear()
    import weakref

    gone = weakref.ref(pool)
    del pool, first, second
    gc.collect()
    assert gone() is None


# Revoking.


@virtual
async def test_what_is_idle_is_closed_at_once_when_its_permit_is_revoked():
    budget = FakeBudget()
    pool = build(budget, shrink_delay=60)
    await idle(pool, 4)
    budget.revoke(account(pool), keep=1)
    await settle()
    assert (pool.stats().size, closed(pool)) == (2, {"revoked": 2})
    await asyncio.sleep(61)
    await finish(pool, budget)


@virtual
async def test_what_is_in_use_is_closed_when_it_is_given_back_and_the_exit_does_not_wait():
    budget = FakeBudget()
    pool = build(budget, FakeStrategy(close=[5.0, 5.0]))
    holders = await hold(pool, 3)
    budget.revoke(account(pool))
    assert account(pool).used == 2
    holders[0].leave()
    await settle()
    assert holders[0].task.done()
    assert closed(pool) == {"revoked": 1}
    holders[1].leave()
    holders[2].leave()
    await asyncio.sleep(6)
    assert (closed(pool), pool.stats().idle) == ({"revoked": 2}, 1)
    assert budget.released == [0, 0], "the budget hears of each"
    await finish(pool, budget)


@virtual
async def test_who_waits_gets_no_connection_whose_permit_was_revoked():
    budget = FakeBudget()
    pool = build(budget, burst_limit=2)
    holders = await hold(pool, 2)
    budget.permits = 0
    waiting = await callers(pool, 2)
    budget.revoke(account(pool))
    await leave_all(holders[:1])
    assert not waiting[0].entered
    await leave_all(holders[1:])
    assert waiting[0].entered
    await leave_all(waiting)
    await finish(pool, budget)


@virtual
async def test_revoking_more_than_there_is_changes_nothing():
    budget = FakeBudget()
    pool = build(budget, shrink_delay=60)
    await idle(pool, 2)
    account(pool).revoke(1)
    account(pool).revoke(5)
    assert pool.stats().idle == 2
    await asyncio.sleep(61)
    await finish(pool, budget)


@virtual
async def test_at_the_deadline_the_youngest_in_use_are_aborted_and_their_holders_leave_in_peace():
    budget = FakeBudget()
    strategy = FullFakeStrategy()
    pool = build(budget, strategy)
    holders = await hold(pool, 3)
    budget.revoke(account(pool), keep=1)
    account(pool).abort()
    assert strategy.aborted == [holders[2].conn]
    assert (pool.stats().size, closed(pool)) == (2, {"revoked": 1})
    await leave_all(holders)
    assert [caller.error for caller in holders] == [None] * 3
    await finish(pool, budget)


@virtual
async def test_at_the_deadline_what_cannot_be_aborted_is_closed_when_it_is_given_back():
    budget = FakeBudget()
    pool = build(budget, FakeStrategy())
    holders = await hold(pool, 2)
    budget.revoke(account(pool))
    account(pool).abort()
    assert pool.stats().in_use == 2
    await leave_all(holders)
    assert closed(pool) == {"revoked": 1}
    await finish(pool, budget)


@virtual
async def test_at_the_deadline_closes_are_cut_short_and_opens_are_given_up_before_anybody_is_harmed():
    budget = FakeBudget()
    strategy = FullFakeStrategy(create=[None, None, None, NEVER], close=[NEVER])
    pool = build(budget, strategy, close_timeout=60)
    holders = await hold(pool, 3)
    pool.discard(holders[2].conn)
    await leave_all(holders[2:])
    opening = Caller(pool)
    await settle()
    assert (pool.stats().closing, pool.stats().opening) == (1, 1)
    budget.permits = 0
    budget.revoke(account(pool), keep=1)
    account(pool).abort()
    await settle()
    assert strategy.aborted == [holders[2].conn]
    assert (pool.stats().closing, pool.stats().opening, pool.stats().in_use) == (0, 0, 2)
    await leave_all(holders[:2])
    assert opening.entered
    await leave_all([opening])
    await finish(pool, budget)


@virtual
async def test_at_the_deadline_a_reset_is_broken_off():
    budget = FakeBudget()
    strategy = FullFakeStrategy(reset=[NEVER])
    pool = build(budget, strategy, shrink_delay=60)
    holders = await hold(pool, 2)
    await leave_all(holders[1:])
    assert pool.stats().resetting == 1
    budget.revoke(account(pool))
    account(pool).abort()
    await settle()
    assert (pool.stats().resetting, pool.stats().size) == (0, 1)
    assert strategy.aborted == [holders[1].conn]
    await leave_all(holders[:1])
    await finish(pool, budget)


@virtual
async def test_c10_at_the_deadline_a_caller_that_was_just_served_takes_its_connection_first():
    budget = FakeBudget()
    strategy = FullFakeStrategy()
    pool = build(budget, strategy, burst_limit=2)
    holders = await hold(pool, 2)
    waiting = Caller(pool)
    await settle()
    holders[1].leave()
    while not pool._ledger.handed:
        await asyncio.sleep(0)
    budget.revoke(account(pool))
    account(pool).abort()
    assert not strategy.aborted
    await settle()
    assert waiting.entered
    assert strategy.aborted == [waiting.conn]
    await leave_all([*holders, waiting])
    assert waiting.error is None
    await finish(pool, budget)


@pytest.mark.parametrize("strategy", [FakeStrategy, FullFakeStrategy])
@virtual
async def test_a_process_that_was_frozen_hands_out_no_idle_connection_whose_permit_is_over(strategy):
    budget = FakeBudget()
    pool = build(budget, strategy(), shrink_delay=600)
    await idle(pool, 3)
    holders = [Caller(pool)]
    await settle()
    budget.over.append(account(pool))
    holders.append(Caller(pool))
    await asyncio.sleep(0)
    assert (pool.stats().in_use, pool.stats().idle) == (1, 0)
    budget.permits = 0
    await settle()
    assert closed(pool) == {"revoked": 2}
    await leave_all(holders)
    await finish(pool, budget)


@pytest.mark.parametrize("strategy", [FakeStrategy, FullFakeStrategy])
@virtual
async def test_a_process_that_was_frozen_hands_over_no_returned_connection_whose_permit_is_over(strategy):
    budget = FakeBudget()
    pool = build(budget, strategy(), burst_limit=2)
    holders = await hold(pool, 2)
    waiting = Caller(pool)
    await settle()
    budget.over.append(account(pool))
    budget.permits = 0
    await leave_all(holders[:1])
    assert not waiting.entered
    await leave_all(holders[1:])
    assert waiting.entered
    await leave_all([waiting])
    await finish(pool, budget)


@virtual
async def test_a_process_that_was_frozen_while_it_opened_hands_that_out_to_nobody():
    budget = FakeBudget()
    pool = build(budget, FullFakeStrategy(create=[None, 5.0]))
    holders = await callers(pool, 2)
    budget.permits = 0
    budget.over.append(account(pool))
    await asyncio.sleep(5.1)
    assert not holders[1].entered
    assert closed(pool) == {"revoked": 1}
    await leave_all(holders)
    await finish(pool, budget)


@virtual
async def test_a_pool_without_permits_does_not_bother_its_budget():
    budget = FakeBudget()
    pool = build(budget, FakeStrategy(), max_size=2)
    for _ in range(10):
        await use(pool)
    assert budget.looked == 0
    await finish(pool, budget)


# Giving back.


@virtual
async def test_whichever_connection_closes_it_is_a_permit_that_is_given_back():
    budget = FakeBudget()
    pool = build(budget)
    first, second = await hold(pool, 2)
    assert (account(pool).used, account(pool).idle) == (1, 0)
    pool.discard(first.conn)
    await leave_all([first])
    assert (pool.stats().in_use, budget.given.total()) == (1, 0)
    await leave_all([second])
    assert pool.stats().idle == 1
    await finish(pool, budget)


@virtual
async def test_c1_a_permit_is_kept_until_its_connection_is_closed():
    budget = FakeBudget()
    pool = build(budget, FakeStrategy(close=[5.0]))
    first, second = await hold(pool, 2)
    second.leave()
    await asyncio.sleep(4.9)
    assert budget.given.total() == 1
    await asyncio.sleep(0.2)
    assert budget.given.total() == 0
    await leave_all([first])
    await finish(pool, budget)


@virtual
async def test_c7_a_permit_is_used_again_for_what_takes_the_place_of_a_dead_connection():
    budget = FakeBudget()
    pool = build(budget, shrink_delay=60)
    idle_ones = await idle(pool, 2)
    idle_ones[1].closed = True
    holders = await hold(pool, 2)
    assert pool.stats().created == 3
    assert budget.given.total() == 1
    await leave_all(holders)
    await asyncio.sleep(61)
    await finish(pool, budget)


@virtual
async def test_c6_an_open_that_fails_gives_its_permit_back():
    budget = FakeBudget()
    pool = build(budget, FullFakeStrategy(create=[None, OSError("too many clients")]))
    first, second = await callers(pool, 2)
    assert isinstance(second.error, OSError)
    assert budget.given.total() == 0
    await leave_all([first])
    await finish(pool, budget)


# Several pools.


@virtual
async def test_two_pools_share_one_budget():
    budget = FakeBudget(2)
    one, other = build(budget), build(budget)
    holders = await hold(one, 3)
    more = await callers(other, 2)
    assert [caller.entered for caller in more] == [True, False]
    await leave_all(holders)
    await asyncio.sleep(3)
    assert more[1].entered
    await leave_all(more)
    await one.close()
    assert len(budget.reserved) == 1
    await other.close()


# Arguments.


@pytest.mark.parametrize("budget", [3, object(), FakeBudget])
def test_a_burst_budget_has_to_be_one(budget):
    with pytest.raises(TypeError, match="burst_budget must be None or a BurstBudget"):
        build(budget)


def test_a_budget_without_a_burst_is_a_mistake():
    with pytest.raises(ValueError, match="no burst_limit"):
        build(FakeBudget(), burst_limit=None)


def test_answers_are_what_they_are_called():
    assert (GRANTED, REFUSED) == (True, False)
