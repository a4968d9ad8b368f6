"""The context manager that `get_connection()` returns."""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

    from asyncio_connection_pool._options import Unset
    from asyncio_connection_pool._pool import ConnectionPool
    from asyncio_connection_pool._slot import Slot

Conn = TypeVar("Conn")

ENTERED: Final = "this get_connection() block is entered already: call get_connection() again for another connection"
NOT_ENTERED: Final = "this get_connection() block is not entered, or was left already"


class Lease(Generic[Conn]):
    """Holds a connection from the entry of its block to the exit.

    This is the fast path: an idle connection is taken and put back without a step
    of the event loop (C2), and each call and attribute here is paid every time.
    """

    __slots__ = ("_pool", "_slot", "_timeout")

    def __init__(self, pool: ConnectionPool[Conn], timeout: float | Unset | None) -> None:
        """Begin as a block that is not entered."""
        self._pool = pool
        self._timeout = timeout
        self._slot: Slot[Conn] | None = None

    async def __aenter__(self) -> Conn:
        """Take an idle connection, or wait for one.

        Raises:
            PoolClosedError: The pool is closed.
            PoolOverloadedError: The queue is as long as `max_waiting` allows.
            PoolTimeoutError: The time ran out.
            BaseException: What `create_connection` raised.
        """
        if self._slot is not None:
            raise RuntimeError(ENTERED)
        pool = self._pool
        if get_running_loop() is not pool._loop:
            pool._bind()
        slot = pool._ledger.take()
        if slot is not None:
            answer: object
            try:
                answer = pool._is_closed(slot.conn)
                if not answer:
                    self._slot = slot
                    return slot.conn
            except BaseException as exc:
                answer = exc
            slot = pool._checkout.take_instead(slot, answer)
        if slot is None:
            checkout = pool._checkout
            waiter = checkout.park(self._timeout)
            try:
                slot = await waiter.future
                if self._slot is not None:
                    raise RuntimeError(ENTERED)
            except BaseException as exc:
                checkout.abandon(waiter, exc)
                raise
            checkout.accept(waiter, slot)
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
        pool = self._pool
        if exc is None and pool._plain and pool._ledger.put_back(slot):
            return
        close = pool._checkout.give_back(slot, exc)
        if close is not None:
            await close
