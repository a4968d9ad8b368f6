"""What the tests of the contract share: callers that do as they are told, and ways to step the loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import loops
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import VirtualTimeLoop


class Halt(BaseException):
    """Not an `Exception`, and nothing that an event loop treats in a way of its own."""


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test under virtual time: no second is waited for, and a caller that is stranded is an error."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run


def run_virtual(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        return runner.run(main)


def virtual_loop() -> asyncio.AbstractEventLoop:
    return loops.prepare(VirtualTimeLoop())


async def settle(ticks: int = 40) -> None:
    """Let happen whatever happens without time passing."""
    for _ in range(ticks):
        await asyncio.sleep(0)


def step(coro: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never gives control to the loop, and return its result."""
    try:
        coro.send(None)
    except StopIteration as stop:
        return stop.value
    coro.close()
    raise AssertionError("it gave control to the loop")


class Caller:
    """A task that gets a connection, and holds it until it is told to leave."""

    def __init__(self, pool: ConnectionPool, **options: Any) -> None:
        self.pool = pool
        self.options = options
        self.entered = False
        self.conn: Any = None
        self._end: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._run())
        _running.add(self.task)
        self.task.add_done_callback(_retrieve)

    async def _run(self) -> None:
        async with self.pool.get_connection(**self.options) as self.conn:
            self.entered = True
            error = await self._end
            if error is not None:
                raise error

    def leave(self, error: BaseException | None = None) -> Awaitable[None]:
        """End the block, with `error` if there is one."""
        if not self._end.done():
            self._end.set_result(error)
        return self.task

    def cancel(self) -> None:
        self.task.cancel()

    @property
    def error(self) -> BaseException | None:
        """What the task has ended with; None while it runs, and if it ended well."""
        if not self.task.done():
            return None
        return asyncio.CancelledError() if self.task.cancelled() else self.task.exception()


_running: set[asyncio.Task[None]] = set()
"""Callers that no test keeps: nothing else does, and the garbage collector would end them at any moment."""


def _retrieve(task: asyncio.Task[None]) -> None:
    """Tell asyncio that somebody knows how it ended, whether the test asks or not."""
    _running.discard(task)
    if not task.cancelled():
        task.exception()


async def callers(pool: ConnectionPool, count: int, **options: Any) -> list[Caller]:
    """Start callers, one after the other, and let each come as far as it can."""
    started = [Caller(pool, **options) for _ in range(count)]
    await settle()
    return started


async def hold(pool: ConnectionPool, count: int = 1) -> list[Caller]:
    """Have callers hold a connection each."""
    holders = await callers(pool, count)
    while not all(caller.entered for caller in holders):
        await asyncio.sleep(1)
    return holders


async def leave_all(people: list[Caller]) -> None:
    """End all blocks, in order, each with everything that follows from it."""
    for caller in people:
        caller.leave()
        await settle()


async def use(pool: ConnectionPool, **options: Any) -> Any:
    """Get a connection and give it back at once."""
    async with pool.get_connection(**options) as conn:
        return conn


async def idle(pool: ConnectionPool, count: int) -> list[Any]:
    """Have that many connections idle in a pool, and return them, the one used last at the end."""
    holders = await hold(pool, count)
    await leave_all(holders)
    return [caller.conn for caller in holders]


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """What an awaitable returns, or the exception that it raises."""
    return (await asyncio.gather(awaitable, return_exceptions=True))[0]
