"""What the checks of a strategy share: calls that have to end in time, and the server's own count."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, TypeVar

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from asyncio_connection_pool.testing._cancel import Waits

Conn = TypeVar("Conn")
T = TypeVar("T")

MOST_POINTS: Final = 100
"""More waits of one call are not cancelled one by one."""
TIMES: Final = 20
"""Times, spread over what a call takes, at which it is cancelled besides."""


class BreachError(AssertionError):
    """The strategy breaks the contract; the message begins with the clause."""


def require(condition: object, message: str) -> None:
    """Fail with a message that begins with the clause, also where Python runs with ``-O``."""
    if not condition:
        raise BreachError(message)


@dataclass(frozen=True)
class Moment:
    """When to cancel a call: at one of its waits, at once or as that ends, or after so many seconds."""

    wait: int = 0
    late: bool = False
    after: float = 0

    def __str__(self) -> str:
        """Complete "cancelled …"."""
        if not self.wait:
            return f"after {self.after:.2g} s"
        return f"{'as what it waits for comes, ' * self.late}at its wait no. {self.wait}"


@dataclass
class Trial(Generic[Conn]):
    """A strategy, what its author tells of the server, and how long anything may take."""

    strategy: ConnectionStrategy[Conn]
    echo: Callable[[Conn, str], Awaitable[object]] | None
    cut: Callable[[Conn], Awaitable[object]] | None
    count: Callable[[], Awaitable[int]] | None
    session: Callable[[Conn], Awaitable[object]] | None
    dirt: Mapping[str, Callable[[Conn], Awaitable[object]]]
    patience: float
    before: int = field(default=0, init=False)
    """What the server saw before there was a trial."""
    raised: str = field(default="", init=False)
    """What the last question to the strategy raised, to be added to a message."""
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def overrides(self, method: str) -> bool:
        """Say whether the strategy has an optional method of its own."""
        own = getattr(self.strategy, method, None)
        return own is not None and getattr(own, "__func__", own) is not getattr(ConnectionStrategy, method)

    async def ends(self, clause: str, what: str, work: Awaitable[T], *, steps: int = 1) -> T:
        """Wait for something that takes so many steps one after the other, and fail if it does not end in time."""
        task = asyncio.ensure_future(work)
        await self.ended(clause, what, task, steps=steps)
        require(not task.cancelled(), f"{clause}: {what} raised CancelledError, though nobody had cancelled it")
        return task.result()

    async def ended(self, clause: str, what: str, task: asyncio.Future[Any], *, steps: int = 1) -> None:
        """Wait for the end of a task, whatever that is, and fail if it does not come in time."""
        patience = self.patience * steps
        try:
            await asyncio.wait([task], timeout=patience)
            require(task.done(), f"{clause}: {what} did not end within {patience:g} s")
        finally:
            task.cancel()  # where it is not done

    # What a pool does with a strategy.

    async def create(self) -> Conn:
        """Call `create_connection`, by the name that it has."""
        create = getattr(self.strategy, "create_connection", None) or getattr(self.strategy, "make_connection")  # noqa: B009
        conn: Conn = await _coming("C5", "create_connection", create())
        return conn

    async def work(self, clause: str, method: str, conn: Conn) -> None:
        """Call `reset_connection` or `validate_connection`."""
        await _coming(clause, method, getattr(self.strategy, method)(conn))

    async def open(self) -> Conn:
        """Open a connection, which has to end."""
        return await self.ends("C5", "create_connection", self.create())

    async def destroy(self, conn: Conn) -> None:
        """Call `close_connection`."""
        closing: Any = self.strategy.close_connection(conn)
        if inspect.isawaitable(closing):
            await closing

    async def close(self, conn: Conn) -> None:
        """Close a connection, which has to end."""
        await self.ends("C12", "close_connection", self.destroy(conn))

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Conn]:
        """Have a connection, which is closed after, if it is not closed already."""
        conn = await self.open()
        try:
            yield conn
        finally:
            await self.close_anyhow(conn)

    async def close_anyhow(self, conn: Conn) -> None:
        """Close a connection, which has to end; what it raises a pool would suppress."""
        task = asyncio.ensure_future(self.destroy(conn))
        await self.ended("C12", "close_connection", task)
        if not task.cancelled():  # by itself, as where it waits for what somebody has cancelled before
            task.exception()

    def is_closed(self, conn: Conn) -> bool:
        """Ask whether a connection is closed, as a pool does."""
        return self._ask("C7", "connection_is_closed", True, conn)

    def is_reusable(self, conn: Conn, exc: BaseException | None) -> bool:
        """Ask whether a connection may be used again, as a pool does."""
        return self._ask("C9", "connection_is_reusable", False, conn, exc)

    def _ask(self, clause: str, question: str, otherwise: bool, *about: object) -> bool:
        """Ask the strategy a question; one that raises has a fixed answer."""
        self.raised = ""
        ask = getattr(self.strategy, question, None) or partial(getattr(ConnectionStrategy, question), self.strategy)
        try:
            answer = ask(*about)
        except Exception as error:
            self.raised = f": it raised {error!r}"
            return otherwise
        return _plain(clause, question, answer)

    def abort(self, conn: Conn) -> None:
        """Call `abort_connection`."""
        abort: Callable[[Conn], object] = self.strategy.abort_connection
        _plain("C12", "abort_connection", abort(conn))

    @asynccontextmanager
    async def pool(self, max_size: int, burst_limit: int | None = None) -> AsyncGenerator[ConnectionPool[Conn]]:
        """Have a pool of such connections."""
        pool = ConnectionPool(strategy=self.strategy, max_size=max_size, burst_limit=burst_limit)
        try:
            yield pool
        finally:
            await self.ends("C12", "close() of a pool", pool.close())

    # What the server says.

    async def seen(self) -> int:
        """Ask how many connections there are that were not there before; 0 where nobody can be asked."""
        if self.count is None:
            return 0
        async with self._asking:
            return await self.count() - self.before

    async def until(self, holds: Callable[[], bool], message: str) -> None:
        """Wait until something holds, and fail if it does not in time."""
        end = asyncio.get_running_loop().time() + self.patience
        while not holds():
            require(asyncio.get_running_loop().time() < end, f"{message}, {self.patience:g} s later")
            await asyncio.sleep(0.01)

    async def all_gone(self, clause: str, after: str) -> None:
        """Wait until the server sees no connection of ours."""
        end = asyncio.get_running_loop().time() + self.patience
        while seen := await self.seen():
            late = asyncio.get_running_loop().time() >= end
            require(not late, f"{clause}: {after}, {_surplus(seen)}")
            await asyncio.sleep(0.01)

    # Cancelling.

    async def moments(self, clause: str, what: str, work: Callable[[], Awaitable[object]]) -> list[Moment]:
        """Let a call go well, and list the moments at which to cancel the next ones like it."""
        began = asyncio.get_running_loop().time()
        steps = Waits(_call(work))
        await self.ends(clause, what, _call(lambda: steps))
        lasted = asyncio.get_running_loop().time() - began
        waits = range(1, min(steps.count, MOST_POINTS) + 1)
        times = [Moment(after=lasted * n / TIMES) for n in range(TIMES)]
        return [Moment(wait, late) for wait in waits for late in (False, True)] + times

    async def cancelled(self, what: str, moment: Moment, work: Callable[[], Awaitable[object]]) -> BaseException | None:
        """Cancel a call, and wait for its end.

        Returns:
            What it raised in the place of the cancellation.
        """
        steps = Waits(_call(work), moment.wait, late=moment.late)
        task = asyncio.ensure_future(_call(lambda: steps))
        if not moment.wait:
            await asyncio.sleep(moment.after)
            task.cancel()
        await self.ended("C10", f"{what}, cancelled {moment},", task)
        return None if task.cancelled() else task.exception()

    async def cancelled_or_done(self, what: str, moment: Moment, work: Callable[[], Awaitable[object]]) -> None:
        """Cancel a call, and fail if the cancellation becomes something else; it may come too late."""
        error = await self.cancelled(what, moment, work)
        if error is not None:
            raise BreachError(f"C10: {what}, cancelled {moment}, raised {error!r} in its place") from error


def _surplus(seen: int) -> str:
    if seen > 0:
        return f"the server still sees {seen} more than before"
    return f"the server sees {-seen} fewer than before: nobody else may use it during the check"


async def _coming(clause: str, method: str, coming: object) -> Any:
    """Await what a method that has to be a coroutine function returned."""
    if not inspect.isawaitable(coming):
        raise BreachError(f"{clause}: {method} must be a coroutine function; it returned {coming!r}")
    return await coming


async def _call(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _plain(clause: str, method: str, answer: object) -> bool:
    if inspect.iscoroutine(answer):
        answer.close()
    require(
        not inspect.isawaitable(answer),
        f"{clause}: {method} must be a plain function, which answers at once; it returned {answer!r}",
    )
    return bool(answer)
