"""The contract that every strategy of ``contrib`` passes against its real server.

A test module of an adapter describes its driver once, as a `Driver`, and gets every check of the contract::

    class TestContract(StrategyContract):
        @pytest.fixture
        def driver(self): ...
"""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import pytest

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from asyncio_connection_pool.testing import cancel_at, check_strategy

SOON = 30.0  # nothing takes that long but on a machine that has much else to do
AT_ONCE = 10.0  # the same, where a driver that tries again and again would need longer
POINTS = 200  # more than any driver awaits while it opens a connection


class Driver(ABC):
    """What the contract has to know of one driver and its server."""

    name: str
    lost: tuple[type[BaseException], ...]  # what users get when a connection, or the server, is gone
    operations: list[Callable[..., Awaitable[tuple[object, object]]]]  # uses of a connection: reply and expected reply
    swallows: list[Callable[..., object]]  # those of them that may come to their end though they were cancelled
    dirt: dict[str, Callable[..., Awaitable[object]]]  # ways to leave a connection dirty, by name
    refused: dict[str, tuple[Callable[[], ConnectionStrategy], type[BaseException]]]  # what the driver raises for it

    @abstractmethod
    def strategy(self) -> ConnectionStrategy:
        """Make a strategy as users would."""

    @abstractmethod
    async def echo(self, conn, token: str) -> str:
        """Have the server send `token` back."""

    @abstractmethod
    async def stall(self, conn) -> object:
        """Send what the server answers only after 10 seconds."""

    @abstractmethod
    async def cut(self, conn) -> None:
        """Have the server close this connection, by way of another one."""

    @abstractmethod
    async def seen(self) -> int:
        """Count the connections that the server has, its own and ours of this inquiry left out."""

    @abstractmethod
    async def session(self, conn) -> object:
        """Describe the state of a session at the server; equal for all fresh connections."""

    @abstractmethod
    async def reconnect(self) -> None:
        """Be ready to ask a server that was restarted."""


async def until(condition: Callable[[], object | Awaitable[object]], seconds: float = SOON) -> None:
    """Let the loop run until a condition holds."""
    end = time.monotonic() + seconds
    while True:
        holds = condition()
        if isinstance(holds, Awaitable):
            holds = await holds
        if holds:
            return
        assert time.monotonic() < end, f"not within {seconds} s"
        await asyncio.sleep(0.002)


async def until_seen(driver: Driver, number: int, seconds: float = SOON) -> None:
    """Wait until the server has so many connections."""
    last = None
    end = time.monotonic() + seconds
    while (last := await driver.seen()) != number:
        assert time.monotonic() < end, f"the server has {last} connections, not {number}, after {seconds} s"
        await asyncio.sleep(0.005)


class StrategyContract:
    """The checks. An adapter's tests inherit them, and bring the fixture `driver`."""

    async def test_it_passes_the_checks_that_the_public_kit_has_for_everybody(self, driver):
        checked = await check_strategy(
            driver.strategy(),
            echo=driver.echo,
            cut=driver.cut,
            count=driver.seen,
            session=driver.session,
            dirt=driver.dirt,
        )
        assert len(checked) >= 12

    async def test_one_creation_is_exactly_one_connection_at_the_server(self, driver):
        strategy = driver.strategy()
        conn = await strategy.create_connection()
        assert await driver.seen() == 1
        assert not strategy.connection_is_closed(conn)
        assert await driver.echo(conn, "hello") == "hello"
        assert await driver.seen() == 1
        await strategy.close_connection(conn)
        await until_seen(driver, 0)

    async def test_a_connection_that_the_server_cut_is_known_to_be_closed(self, driver):
        strategy = driver.strategy()
        conn = await strategy.create_connection()
        await driver.cut(conn)
        await until(lambda: strategy.connection_is_closed(conn))
        await strategy.close_connection(conn)
        await until_seen(driver, 0)

    async def test_closing_is_idempotent_and_leaves_nothing_at_the_server(self, driver):
        strategy = driver.strategy()
        conn = await strategy.create_connection()
        for _ in range(3):
            await strategy.close_connection(conn)
            assert strategy.connection_is_closed(conn)
        await until_seen(driver, 0)

    async def test_aborting_closes_at_once(self, driver):
        strategy = driver.strategy()
        conn = await strategy.create_connection()
        for _ in range(2):
            strategy.abort_connection(conn)
            assert strategy.connection_is_closed(conn)
        await until_seen(driver, 0)
        await strategy.close_connection(conn)

    async def test_aborting_frees_who_waits_for_a_reply(self, driver):
        strategy = driver.strategy()
        conn = await strategy.create_connection()
        waiting = asyncio.create_task(driver.stall(conn))
        await asyncio.sleep(0.05)
        strategy.abort_connection(conn)
        assert strategy.connection_is_closed(conn)
        await asyncio.wait([waiting], timeout=SOON)
        assert waiting.done()
        assert waiting.cancelled() or waiting.exception()
        await strategy.close_connection(conn)
        await until_seen(driver, 0)

    @pytest.mark.parametrize("late", [False, True], ids=["at once", "as the reply comes"])
    async def test_cancelling_a_creation_at_any_point_leaves_nothing_half_open(self, driver, late):
        strategy = driver.strategy()
        cancelled = 0
        for point in range(1, POINTS):
            creation = asyncio.create_task(cancel_at(strategy.create_connection(), point, late=late))
            await asyncio.wait([creation])
            if creation.cancelled():
                cancelled += 1
                continue
            await strategy.close_connection(creation.result())
            break
        assert 0 < cancelled < POINTS - 1
        await until_seen(driver, 0)

    async def test_cancelling_a_creation_at_any_moment_leaves_nothing_half_open(self, driver):
        strategy = driver.strategy()
        began = time.perf_counter()
        await strategy.close_connection(await strategy.create_connection())
        whole = time.perf_counter() - began
        for n in range(40):
            creation = asyncio.create_task(strategy.create_connection())
            await asyncio.sleep(whole * n / 40)
            creation.cancel()
            await asyncio.wait([creation])
            if not creation.cancelled():
                await strategy.close_connection(creation.result())
        await until_seen(driver, 0)

    async def test_a_cancelled_command_leaves_no_reply_to_the_next_user(self, driver):
        async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
            for n in range(100):
                first = asyncio.create_task(self._borrow(pool, driver.echo, f"first {n}"))
                await asyncio.sleep(0.0001 * (n % 20))
                first.cancel()
                async with asyncio.timeout(SOON):
                    assert await self._borrow(pool, driver.echo, f"second {n}") == f"second {n}"
                await asyncio.wait([first])
            assert pool.stats().size == 1
        await until_seen(driver, 0)

    async def test_nobody_waits_for_a_command_that_was_given_up(self, driver):
        async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self._borrow(pool, driver.stall)
            began = time.monotonic()
            assert await self._borrow(pool, driver.echo, "mine") == "mine"
            assert time.monotonic() - began < 5, "the answer takes 10"

    async def _borrow(self, pool, use, *args):
        async with pool.get_connection() as conn:
            return await use(conn, *args)

    async def test_no_dirt_reaches_the_next_user(self, driver, subtests):
        for name, spoil in driver.dirt.items():
            with subtests.test(name):
                async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
                    fresh = await self._borrow(pool, driver.session)
                    async with asyncio.timeout(SOON):
                        await self._borrow(pool, spoil)
                        assert await self._borrow(pool, driver.session) == fresh
                        assert await self._borrow(pool, driver.echo, "mine") == "mine"
        await until_seen(driver, 0)

    async def test_the_driver_itself_says_at_once_why_nothing_can_be_opened(self, driver, subtests):
        for name, (strategy, error) in driver.refused.items():
            with subtests.test(name):
                async with ConnectionPool(strategy=strategy(), max_size=1) as pool:
                    for _ in range(3):
                        began = time.monotonic()
                        with pytest.raises(error):
                            async with pool.get_connection():
                                pass
                        assert time.monotonic() - began < AT_ONCE
                        assert pool.stats().size == 0
        await until_seen(driver, 0)

    @pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    async def test_a_connection_that_was_alive_at_the_end_of_its_loop_is_closed_by_the_next_one(self, driver):
        pool = ConnectionPool(strategy=driver.strategy(), max_size=1)

        def in_a_loop_of_its_own():
            loop = asyncio.new_event_loop()
            loop.run_until_complete(self._borrow(pool, driver.echo, "there"))
            loop.close()

        await asyncio.to_thread(in_a_loop_of_its_own)
        assert await self._borrow(pool, driver.echo, "here") == "here"
        await until_seen(driver, 1)
        assert pool.stats().closed["forgotten"] == 1
        await pool.close()
        await until_seen(driver, 0)
        gc.collect()  # asyncio complains of what was left open in its loop, and rightly so


def unique(prefix: str) -> str:
    """Make a name that nobody else uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"
