"""Supply for a pool whose connections above `max_size` are borrowed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from asyncio_connection_pool._account import Account
from asyncio_connection_pool._slot import CLOSING, OPENING
from asyncio_connection_pool._supply import Supply
from asyncio_connection_pool._tasks import purpose

if TYPE_CHECKING:
    import asyncio

    from asyncio_connection_pool._budget import BurstBudget
    from asyncio_connection_pool._closing import Close
    from asyncio_connection_pool._queue import Waiter
    from asyncio_connection_pool._slot import Slot

Conn = TypeVar("Conn")


class BorrowingSupply(Supply[Conn]):
    """Asks for leave before it opens what is above `max_size`, and gives back what it does not need."""

    def __init__(self, budget: BurstBudget, *parts: Any, **options: Any) -> None:
        """Begin with nothing borrowed."""
        super().__init__(*parts, **options)
        self.plain = False
        self.account = self._account = Account(budget, self._ledger, self)

    def refill(self) -> None:
        """Open what is needed, and give back what is not."""
        self._account.fit()
        super().refill()
        leave = self._account.settle()
        if leave is not None:
            self._account.leaving = self._tasks.start(leave, self._ended, to="leave the burst budget")

    async def fill(self) -> None:
        """Reserve what is firm, and open what `min_size` lacks."""
        await self._account.join()
        await super().fill()

    def adjust(self) -> None:
        """Follow new limits, and reserve more if they ask for it."""
        if self._account.resized():
            self._tasks.start(self._account.join(), self._ended, to="reserve")
        super().adjust()

    def cancel(self) -> None:
        """Cancel all that is in flight; an empty pool leaves its budget."""
        super().cancel()
        self.refill()

    # Opening.

    def _open(self, slot: Slot[Conn], waiter: Waiter | None) -> None:
        if self._account.enter(slot, for_caller=waiter is not None):
            self._fly(slot, self._create_with_leave(slot), waiter)
        else:
            super()._open(slot, waiter)

    async def _create_with_leave(self, slot: Slot[Conn]) -> Conn:
        await self._account.ask(slot)
        self._start_clock(slot)
        return await self._create()

    def _opened(self, slot: Slot[Conn], began: float, task: asyncio.Task[Conn]) -> None:
        self._account.asked(slot)
        super()._opened(slot, began, task)

    def settle(self, slot: Slot[Conn]) -> Close[Conn] | None:
        """Place a connection, once it is sure that its permit is not over."""
        self._account.look()
        return super().settle(slot)

    # What the account asks.

    def pause(self, seconds: float) -> None:
        """Have the account ask again after a while."""
        self.maintenance.pause(seconds, self._account.resume)

    def abort(self, slot: Slot[Conn]) -> bool:
        """Abort what is open in a slot; false if its caller has to take a step first."""
        if slot.handed:
            return False
        if slot in self._flights:
            self._flights[slot].cancel()
        if slot.state is CLOSING:
            self._closing.hurry(slot)
        elif slot.state is not OPENING and self._closing.aborts:
            conn = slot.conn
            self._ledger.free(slot, "revoked")
            self._closing.abort(conn)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.log(f"{purpose(task)} failed", error)
