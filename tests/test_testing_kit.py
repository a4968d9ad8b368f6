"""The kit for those who write a strategy: virtual time, and fakes that do as they are told."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy, testing
from asyncio_connection_pool.testing import (
    NEVER,
    Deadlock,
    FakeConnection,
    FakeStrategy,
    FullFakeStrategy,
    Gate,
    VirtualTimeLoop,
    cancel_at,
)
from scenarios import outcome, run_virtual, settle, use, virtual, virtual_loop


def test_everything_public_is_in_all():
    public = {name for name in vars(testing) if not name.startswith("_")}
    assert public == set(testing.__all__)


# Virtual time.


def test_hours_pass_in_no_time():
    async def sleep():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(3600)
        return loop.time()

    began = time.monotonic()
    assert testing.run(sleep()) == 3600
    assert time.monotonic() - began < 60


def test_the_clock_begins_at_zero_and_stands_still_while_code_runs():
    async def look():
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.sleep(0)
        return before, loop.time()

    assert testing.run(look()) == (0, 0)


def test_timers_fire_in_order_at_their_times():
    async def main():
        loop = asyncio.get_running_loop()
        for delay in (5, 1, 3.5, 1):
            loop.call_later(delay, lambda: fired.append(loop.time()))
        await asyncio.sleep(10)

    fired: list[float] = []
    run_virtual(main())
    assert fired == [1, 1, 3.5, 5]


def test_timeouts_time_out():
    async def main():
        async with asyncio.timeout(100):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        run_virtual(main())


def test_time_can_be_made_to_pass():
    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(asyncio.sleep(10))
        await asyncio.sleep(0)
        loop.advance(10)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task.done(), loop.time()

    assert run_virtual(main()) == (True, 10)


def test_a_lost_wake_up_is_an_error_and_no_hang():
    async def main():
        await asyncio.get_running_loop().create_future()

    loop = virtual_loop()
    task = loop.create_task(main())
    with pytest.raises(Deadlock, match=r"every task waits, .* a thread or another process"):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_deadlock_is_an_assertion_that_failed():
    assert issubclass(Deadlock, AssertionError)


def test_run_gives_back_what_the_coroutine_returns_or_raises():
    async def fail():
        raise ValueError("mine")

    async def debug():
        return asyncio.get_running_loop().get_debug()

    assert testing.run(asyncio.sleep(5, "result")) == "result"
    assert testing.run(debug(), debug=True) is True
    with pytest.raises(ValueError, match="mine"):
        testing.run(fail())


def test_input_that_is_ready_comes_before_time_passes():
    async def main():
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        with left, right:
            left.setblocking(False)
            right.send(b"x")
            data = await loop.sock_recv(left, 1)
        return data, loop.time()

    assert run_virtual(main()) == (b"x", 0)


def test_a_call_from_another_thread_that_came_before_is_heard():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, "heard"))
        thread.start()
        thread.join()
        return await future

    assert run_virtual(main()) == "heard"


def test_a_virtual_loop_is_an_event_loop():
    loop = VirtualTimeLoop()
    assert isinstance(loop, asyncio.AbstractEventLoop)
    loop.close()


# Fakes.


@virtual
async def test_a_fake_opens_looks_at_and_closes_connections_to_nowhere():
    strategy = FakeStrategy()
    conn = await strategy.create_connection()
    assert isinstance(conn, FakeConnection)
    assert strategy.open == strategy.connections == [conn]
    assert not strategy.connection_is_closed(conn)
    assert "0" in repr(conn)
    await strategy.close_connection(conn)
    assert strategy.connection_is_closed(conn)
    assert (strategy.open, strategy.connections) == ([], [conn])
    assert "closed" in repr(conn)


async def opened(*script):
    """What three creates come to under a script, each with the second at which it was settled."""
    strategy = FakeStrategy(create=script)
    loop = asyncio.get_running_loop()
    results = []
    for _ in range(3):
        try:
            result = await asyncio.wait_for(strategy.create_connection(), 100)
        except Exception as error:
            result = error
        results.append((result, loop.time()))
    return results


@virtual
async def test_each_call_does_what_is_next_in_its_script_and_succeeds_once_that_has_ended():
    (first, at_first), (second, at_second), (third, at_third) = await opened(OSError("refused"), 5)
    assert isinstance(first, OSError)
    assert isinstance(second, FakeConnection)
    assert isinstance(third, FakeConnection)
    assert (at_first, at_second, at_third) == (0, 5, 5)


@virtual
async def test_never_never_ends_but_by_cancellation():
    (first, at_first), *_ = await opened(NEVER)
    assert isinstance(first, TimeoutError)
    assert at_first == 100


@virtual
async def test_a_function_in_a_script_is_awaited():
    gate = asyncio.Event()
    strategy = FakeStrategy(create=[gate.wait])
    task = asyncio.create_task(strategy.create_connection())
    await asyncio.sleep(5)
    assert not task.done()
    gate.set()
    assert isinstance(await task, FakeConnection)


@pytest.mark.parametrize("script", [None, 5, OSError("refused"), NEVER, Gate()], ids=range(5))
@pytest.mark.parametrize("method", ["create", "close", "reset", "validate"])
def test_a_behaviour_in_the_place_of_a_script_is_refused_at_once(method, script):
    with pytest.raises(TypeError, match=rf"^{method} must be a script, an iterable of behaviours such as \[.*\], not "):
        FullFakeStrategy(**{method: script})


@pytest.mark.parametrize("behaviour", ["NEVER", OSError, [], object()], ids=range(4))
@virtual
async def test_what_is_no_behaviour_is_told_so_when_its_turn_comes(behaviour):
    error = await outcome(FakeStrategy(create=[behaviour]).create_connection())
    assert isinstance(error, TypeError)
    assert str(error).startswith(
        "a behaviour must be None, a number of seconds, an exception, NEVER or a function to await, not "
    )


@virtual
async def test_a_script_may_be_endless():
    strategy = FakeStrategy(create=iter(lambda: 2, None))
    for _ in range(5):
        await strategy.create_connection()
    assert asyncio.get_running_loop().time() == 10


@virtual
async def test_a_fake_counts_what_the_server_sees():
    strategy = FakeStrategy(create=[None, 5, 5, OSError("refused")])
    conn = await strategy.create_connection()
    tasks = [asyncio.create_task(strategy.create_connection()) for _ in range(2)]
    await asyncio.sleep(1)
    assert (strategy.creating, strategy.most) == (2, 3)
    await asyncio.gather(*tasks)
    assert strategy.creating == 0
    await strategy.close_connection(conn)
    assert isinstance(await outcome(strategy.create_connection()), OSError)
    assert (strategy.creating, strategy.most) == (0, 3)


@virtual
async def test_a_connection_whose_close_fails_is_closed_and_one_that_hangs_is_not():
    strategy = FakeStrategy(close=[OSError("close"), NEVER, 5])
    conns = [await strategy.create_connection() for _ in range(3)]
    assert isinstance(await outcome(strategy.close_connection(conns[0])), OSError)
    assert isinstance(await outcome(asyncio.wait_for(strategy.close_connection(conns[1]), 10)), TimeoutError)
    await strategy.close_connection(conns[2])
    assert strategy.open == [conns[1]]


def test_a_plain_fake_has_none_of_the_optional_methods():
    optional = ("connection_is_reusable", "reset_connection", "validate_connection", "abort_connection")
    assert not [name for name in optional if getattr(FakeStrategy, name) is not getattr(ConnectionStrategy, name)]
    assert all(getattr(FullFakeStrategy, name) is not getattr(ConnectionStrategy, name) for name in optional)


@virtual
async def test_a_full_fake_resets_validates_and_aborts_as_scripted():
    strategy = FullFakeStrategy(reset=[OSError("reset"), 5], validate=[OSError("dead"), 5])
    conn = await strategy.create_connection()
    assert isinstance(await outcome(strategy.reset_connection(conn)), OSError)
    assert isinstance(await outcome(strategy.validate_connection(conn)), OSError)
    await strategy.reset_connection(conn)
    await strategy.validate_connection(conn)
    assert asyncio.get_running_loop().time() == 10
    strategy.abort_connection(conn)
    assert strategy.aborted == [conn]
    assert conn.closed


@virtual
async def test_a_full_fake_says_what_is_dirty():
    strategy = FullFakeStrategy()
    conn = await strategy.create_connection()
    assert strategy.connection_is_reusable(conn, None)
    assert not strategy.connection_is_reusable(conn, TimeoutError())
    strategy.dirty.append(conn)
    assert not strategy.connection_is_reusable(conn, None)


@virtual
async def test_a_fake_in_a_pool_is_all_that_a_test_needs():
    strategy = FullFakeStrategy(create=[1, OSError("refused"), NEVER])
    async with ConnectionPool(strategy=strategy, max_size=3, connect_timeout=10) as pool:
        async with pool.get_connection():
            assert isinstance(await outcome(pool.get_connection().__aenter__()), OSError)
            assert isinstance(await outcome(pool.get_connection().__aenter__()), TimeoutError)
    assert not strategy.open


# Gates.


@virtual
async def test_who_comes_to_a_gate_waits_until_it_is_told_how_to_end():
    gate = Gate()
    strategy = FakeStrategy(create=[gate] * 3)
    tasks = [asyncio.create_task(strategy.create_connection()) for _ in range(3)]
    await gate.reached(3)
    assert gate.waiting == 3
    gate.admit()
    gate.admit(OSError("refused"))
    assert isinstance(await tasks[0], FakeConnection)
    assert isinstance(await outcome(tasks[1]), OSError)
    assert gate.waiting == 1
    assert not tasks[2].done()
    gate.open()
    assert isinstance(await tasks[2], FakeConnection)


@virtual
async def test_a_gate_that_is_open_stops_nobody():
    gate = Gate()
    gate.open()
    await gate()
    assert gate.waiting == 0


@virtual
async def test_a_gate_can_be_waited_for_before_anybody_comes():
    gate = Gate()
    reached = asyncio.create_task(gate.reached(2))
    calls = []
    for done in (False, True):
        calls.append(asyncio.create_task(gate()))
        await settle()
        assert reached.done() == done
    gate.open()
    await asyncio.gather(*calls)


@virtual
async def test_several_may_wait_for_a_gate_to_be_reached():
    gate = Gate()
    watchers = [asyncio.create_task(gate.reached(count)) for count in (1, 1, 2)]
    await settle()
    calls = []
    for done in ([True, True, False], [True, True, True]):
        calls.append(asyncio.create_task(gate()))
        watchers[0].cancel()  # in the very tick in which somebody comes
        await settle()
        assert [watcher.done() for watcher in watchers] == done
    assert not watchers[1].cancelled()
    gate.open()
    await asyncio.gather(*calls)


@virtual
async def test_who_is_cancelled_before_a_gate_is_not_admitted_in_the_place_of_another():
    gate = Gate()
    first, second = (asyncio.create_task(gate()) for _ in range(2))
    await gate.reached(2)
    first.cancel()
    await settle()
    gate.admit()
    await settle()
    assert second.done()
    assert gate.waiting == 0
    with pytest.raises(AssertionError, match="nothing waits before this gate"):
        gate.admit()


@virtual
async def test_a_gate_holds_a_pool_where_a_test_wants_it():
    gate = Gate()
    pool = ConnectionPool(strategy=FakeStrategy(create=[gate]), max_size=1)
    user = asyncio.create_task(use(pool))
    await gate.reached()
    assert pool.stats().opening == 1
    gate.admit()
    await user


# Cancellation at a named moment.


@pytest.mark.parametrize("point", [0, -1])
@virtual
async def test_the_waits_of_a_coroutine_are_counted_from_1(point):
    work = asyncio.sleep(1)
    error = await outcome(cancel_at(work, point))
    assert isinstance(error, ValueError)
    assert str(error) == f"point must be at least 1, the first wait, not {point}"
    work.close()


async def three_waits(log):
    for n in (1, 2, 3):
        await asyncio.sleep(1)
        log.append(n)
    return "result"


@virtual
async def test_a_coroutine_is_cancelled_where_it_waits_for_the_so_many_th_time():
    for point in (1, 2, 3):
        log = []
        task = asyncio.create_task(cancel_at(three_waits(log), point))
        await asyncio.wait([task])
        assert task.cancelled()
        assert log == [1, 2, 3][: point - 1]


@virtual
async def test_or_in_the_very_tick_in_which_it_gets_what_it_waits_for():
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = asyncio.create_task(cancel_at(three_waits([]), 2, late=True))
    await asyncio.wait([task])
    assert task.cancelled()
    assert loop.time() - began == 2


@virtual
async def test_a_coroutine_that_waits_fewer_times_goes_through():
    assert await cancel_at(three_waits([]), 4) == "result"
    for late in (False, True):
        with pytest.raises(asyncio.CancelledError):
            await cancel_at(asyncio.sleep(0), 1, late=late)
        asyncio.current_task().uncancel()


@virtual
async def test_a_coroutine_may_survive_its_cancellation_and_what_it_raises_is_raised():
    async def stubborn():
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        await cancel_at(stubborn(), 1)
    asyncio.current_task().uncancel()
    assert asyncio.get_running_loop().time() == 1
