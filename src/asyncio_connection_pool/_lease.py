"""The context manager that `get_connection()` returns."""

from __future__ import annotations

import sys
from asyncio import get_running_loop
from threading import get_ident
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from asyncio_connection_pool._options import DEFAULT

if TYPE_CHECKING:
    from types import TracebackType

    from asyncio_connection_pool._options import Unset
    from asyncio_connection_pool._pool import ConnectionPool
    from asyncio_connection_pool._slot import Slot

Conn = TypeVar("Conn")

LOOP_IS_CHEAP: Final = sys.version_info >= (3, 12)
"""Before, `get_running_loop` makes a system call, which costs more than all the rest."""

ENTERED: Final = "this get_connection() block is entered already: call get_connection() again for another connection"
AWAITED: Final = "get_connection() is not awaited, but entered: async with pool.get_connection() as conn"
NOT_ENTERED: Final = "this get_connection() block is not entered, or was left already"


class Lease(Generic[Conn]):
    """Holds a connection from the entry of its block to the exit.

    This is the fast path: an idle connection is taken and put back without a step
    of the event loop (C2), and each call and attribute here is paid every time.
    """

    __slots__ = ("_pool", "_slot")

    # Set by `get_connection()`: an `__init__` would cost a seventh of the whole cycle.
    _pool: ConnectionPool[Conn]
    _slot: Slot[Conn] | None
    _timeout: float | Unset | None = DEFAULT

    async def __aenter__(self) -> Conn:
        """Take an idle connection, or wait for one.

        Raises:
            PoolClosedError: The pool is closed.
            PoolOverloadedError: The queue is as long as `max_waiting` allows, or as slow as
                the `queue_policy` does.
            PoolTimeoutError: The time ran out.
            PoolError: The wait could never end, as `track_holders` shows.
            BaseException: What `create_connection` raised.
        """
        if self._slot is not None:
            raise RuntimeError(ENTERED)
        pool = self._pool
        if (
            get_running_loop() is not pool._loop
            if LOOP_IS_CHEAP
            else get_ident() != pool._thread or not pool._loop_runs()
        ):
            pool._bind()
        idle = pool._idle
        while idle:
            slot: Slot[Conn] = idle.pop()
            pool._ledger.at_once += 1
            try:
                answer: object = pool._is_closed(slot.conn)
                if not answer:
                    self._slot = slot
                    return slot.conn
            except BaseException as exc:
                answer = exc
            pool._checkout.refuse_idle(slot, answer)
        if pool._careful and (taken := pool._checkout.take()) is not None:
            self._slot = taken
            return taken.conn
        waiter = pool._checkout.park(self._timeout)
        try:
            slot = await waiter.future
            if self._slot is not None:
                raise RuntimeError(ENTERED)
        except BaseException as exc:
            pool._checkout.abandon(waiter, exc)
            raise
        pool._checkout.accept(waiter, slot)
        self._slot = slot
        return slot.conn

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the connection back.

        Raises:
            BaseException: What `close_connection` raised, if it was surplus.
        """
        slot = self._slot
        if slot is None:
            raise RuntimeError(NOT_ENTERED)
        self._slot = None
        ledger = self._pool._ledger
        if exc is None and slot.doom is None and ledger.calm:
            ledger.idle.append(slot)
            return
        close = self._pool._checkout.give_back(slot, exc)
        if close is not None:
            await close

    if not TYPE_CHECKING:  # pragma: no branch - for type checkers it is not there

        def __await__(self) -> None:
            """Tell those who come from asyncpg's `await pool.acquire()`."""
            raise TypeError(AWAITED)


class TimedLease(Lease[Conn]):
    """A lease with a timeout of its own, in seconds; the others are spared the attribute."""

    __slots__ = ("_timeout",)
