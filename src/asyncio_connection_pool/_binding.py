"""What of a pool belongs to one event loop, from the first use to the end."""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING, Generic, TypeVar

from asyncio_connection_pool import _errors, _parts
from asyncio_connection_pool._closing import Closing
from asyncio_connection_pool._outage import Reconnect, Recovery
from asyncio_connection_pool._slot import READY
from asyncio_connection_pool._tasks import PoolTasks

if TYPE_CHECKING:
    from asyncio_connection_pool._budget import BurstBudget
    from asyncio_connection_pool._checkout import Checkout
    from asyncio_connection_pool._holders import Holders
    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._observe import Observers
    from asyncio_connection_pool._questions import Questions
    from asyncio_connection_pool._strategy import ConnectionStrategy
    from asyncio_connection_pool._supply import Supply

Conn = TypeVar("Conn")


class Binding(Generic[Conn]):
    """The parts that a pool is made of while it belongs to an event loop."""

    _loop: asyncio.AbstractEventLoop | None
    _thread: int | None
    _opened = False

    _strategy: ConnectionStrategy[Conn]
    _questions: Questions[Conn]
    _ledger: Ledger[Conn]
    _holders: Holders[Conn]
    _observers: Observers
    _tracks: bool
    _reconnect: Reconnect | None
    _budget: BurstBudget | None
    _acquire_timeout: float | None
    _connect_timeout: float | None
    _close_timeout: float | None
    _tasks: PoolTasks
    _closing: Closing[Conn]
    _supply: Supply[Conn]
    _checkout: Checkout[Conn]

    @property
    def _alive(self) -> bool:
        """Whether there is an event loop in which something can be done."""
        return self._loop is not None and not self._loop.is_closed() and not self._ledger.shut

    def _bind(self) -> None:
        """Belong to the running event loop, anew if the last one is closed (C11)."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            if not self._loop.is_closed():
                raise RuntimeError(
                    f"pool {self._ledger.name!r} belongs to another event loop, which is "
                    "still open: build one pool for each event loop"
                )
            for conn in self._forget():
                self._closing.abort(conn)
        self._observers.bind(loop)
        self._loop = loop
        self._thread = get_ident()
        self._loop_runs = loop.is_running
        self._tasks = PoolTasks(loop, self._ledger.name)
        self._closing = Closing(loop, self._ledger, self._tasks, self._strategy, self._close_timeout)
        self._supply = _parts.choose_supply(self._budget)(
            loop,
            self._ledger,
            self._tasks,
            self._closing,
            self._strategy,
            self._questions,
            None if self._reconnect is None else Recovery(self._reconnect),
            self._holders if self._tracks else None,
            self._observers,
            connect_timeout=self._connect_timeout,
        )
        self._checkout = _parts.choose_checkout(self._observers)(
            loop,
            self._ledger,
            self._supply,
            self._closing,
            self._questions,
            self._holders if self._tracks else None,
            self._observers,
            self._acquire_timeout,
        )

    def _shut(self) -> None:
        waiters, idle = self._ledger.close()
        stats = self._ledger.stats()
        for waiter in waiters:
            waiter.future.set_exception(_errors.pool_closed(stats))
        self._supply.cancel()
        self._tasks.look()
        for slot in idle:
            self._closing.begin(slot, self._supply.refill)

    async def _end(self, timeout: float | None) -> None:
        self._bind()
        if not self._ledger.shut:
            self._shut()
        if not await self._tasks.until(self._drained, timeout):
            self._abort()
        self._closing.end()
        self._tasks.look()
        await self._tasks.until(lambda: not self._tasks.running, 0)
        if self._supply.account is not None:
            self._supply.account.end()
        self._observers.end(self)

    def _drained(self) -> bool:
        return not self._ledger.slots and self._tasks.running == self._closing.overdue

    def _abort(self) -> None:
        """Wait for nobody any more: close what can be closed at once."""
        if not self._closing.aborts:
            return
        for slot in list(self._ledger.slots):
            if slot.state is READY:
                conn = slot.conn
                self._ledger.free(slot, "pool_closed")
                self._closing.abort(conn)
        self._supply.refill()

    def _forget_parent(self) -> object:
        self._loop = self._thread = None
        self._opened = False
        return self._forget()

    def _forget(self) -> list[Conn]:
        self._holders.clear()
        return self._ledger.forget()
