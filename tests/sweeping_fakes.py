"""Fake servers that remember what they did, and an event loop that can be stopped at each tick."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

from asyncio_connection_pool.testing import FakeConnection, FakeStrategy, FullFakeStrategy, VirtualTimeLoop


class SteppingLoop(VirtualTimeLoop):
    """Calls `on_tick` before each callback and each look at the clock, `on_iteration` before each of the latter only.

    It knows every task that it has started, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_tick: Callable[[], None] = lambda: None
        self.on_iteration: Callable[[], None] = lambda: None
        self.tasks: list[asyncio.Task[Any]] = []
        self._ready = _Callbacks(self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = super().create_task(coro, **options)
        self.tasks.append(task)
        return task

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """Those that are armed."""
        return [timer for timer in self._scheduled if not timer.cancelled()]

    def _run_once(self) -> None:
        self.on_iteration()
        self.on_tick()
        super()._run_once()


class _Callbacks(deque[Any]):
    def __init__(self, loop: SteppingLoop) -> None:
        super().__init__()
        self._loop = loop

    def popleft(self) -> Any:
        self._loop.on_tick()
        return super().popleft()


Look = bool | BaseException
"""What `connection_is_closed` finds: true, the server has closed it; false, whatever is the case; or it raises."""


class Plain(FakeStrategy):
    """A server for a strategy with nothing but the musts."""

    aborts = False

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[tuple[str, BaseException]] = []
        """What calls have raised, by method; but not what the pool is to take for an answer."""
        self.running: Counter[str] = Counter()
        """Calls that run, by method."""
        self.closes: list[FakeConnection] = []
        """Connections that were asked to be closed."""
        self.broken: list[FakeConnection] = []
        """Connections whose use was broken off, or that were discarded (C9)."""
        self.unclean: list[FakeConnection] = []
        """Connections that were used and not reset since, where there is a reset."""
        self.heal()

    def script(self, *, look: Iterable[Look] = (), **scripts: Iterable[Any]) -> None:
        """Change what the next calls do."""
        self._looks: Iterator[Look] = iter(look)
        self._scripts |= {method: iter(script) for method, script in scripts.items()}

    def heal(self) -> None:
        """Let all go well from now on."""
        self.script(create=(), close=(), reset=(), validate=())

    @property
    def unfit(self) -> list[FakeConnection]:
        """Connections that may not be handed out."""
        return self.broken + self.unclean

    def soil(self, conn: FakeConnection) -> None:
        """Use a connection."""

    def connection_is_closed(self, conn: FakeConnection) -> bool:
        look = next(self._looks, False)
        if isinstance(look, BaseException):
            if not isinstance(look, Exception):
                self.raised.append(("look", look))
            raise look
        conn.closed |= look
        return super().connection_is_closed(conn)

    async def close_connection(self, conn: FakeConnection) -> None:
        self.closes.append(conn)
        await super().close_connection(conn)

    async def _play(self, method: str) -> None:
        self.running[method] += 1
        try:
            await super()._play(method)
        except Exception as error:
            self.raised.append((method, error))
            raise
        finally:
            self.running[method] -= 1


class Full(Plain, FullFakeStrategy):
    """A server for a strategy with every optional method."""

    aborts = True

    def soil(self, conn: FakeConnection) -> None:
        self.unclean.append(conn)

    async def reset_connection(self, conn: FakeConnection) -> None:
        await super().reset_connection(conn)
        if conn in self.unclean:
            self.unclean.remove(conn)


FAKES = (Plain, Full)


def failing(after: float, error: BaseException) -> Callable[[], Coroutine[Any, Any, None]]:
    """Make a behaviour: fail, but not before so many seconds."""

    async def behave() -> None:
        await asyncio.sleep(after)
        raise error

    return behave


async def stubborn() -> None:
    """Behave as one that does not let itself be cancelled: succeed instead."""
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError:
        await asyncio.sleep(0)
