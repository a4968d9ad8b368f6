"""What a pool has borrowed from its budget.

`max_size` of a pool is its own. What is above it is borrowed: an open that would be one too many first asks the
budget for a *permit*, in the task that opens. A pool holds as many permits as it has connections above what is
reserved for it, whichever those are, and gives one back as soon as it has one fewer.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from asyncio_connection_pool._slot import CLOSING, OPENING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from asyncio_connection_pool._budget import BurstBudget
    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._slot import Slot

Conn = TypeVar("Conn")
log = logging.getLogger("asyncio_connection_pool")

FIRST_PAUSE: Final = 0.05
LAST_PAUSE: Final = 2.0
"""Seconds after a refusal in which nothing is asked: doubled from first to last, less up to a half by chance."""


class NoLeave(Exception):  # noqa: N818 - it is no error
    """There is no permit now, or nobody who needs it any more."""


class Keeper(Protocol):
    """What an account asks of its pool."""

    def retire(self, slot: Any) -> object:
        """Close the connection of a slot that is reserved for that."""
        ...

    def refill(self) -> None:
        """Open what the queue needs."""
        ...

    def abort(self, slot: Any) -> bool:
        """Abort a connection, whatever it is doing; false if that has to wait for a step of its caller."""
        ...

    def pause(self, seconds: float) -> None:
        """Call `resume` after about so many seconds."""
        ...


class Account(Generic[Conn]):
    """The books of one pool; for the budget it is a `Borrower`.

    It lowers the ledger's `limit` while leave for more was refused, and while more is open than there is leave for.
    """

    def __init__(self, budget: BurstBudget, ledger: Ledger[Conn], keeper: Keeper) -> None:
        """Begin with nothing: even what is to be reserved is asked for at the first open."""
        self._budget = budget
        self._ledger = ledger
        self._keeper = keeper
        self._asking: dict[Slot[Conn], bool] = {}
        """Slots that wait for leave, and have no connection yet: is each for a caller?"""
        self.firm = 0
        self.permits = 0
        self._joined: bool | None = None
        """Whether anything is reserved; None: nothing was asked for yet."""
        self._paused = False
        """Whether a refusal is being waited out."""
        self._refusals = 0
        self._over = 0
        """Connections that were open without a permit when that was looked at last."""
        self.leaving: asyncio.Task[None] | None = None
        """What tells the budget that the pool is closed."""
        self.fit()

    # What the budget sees.

    @property
    def name(self) -> str:
        """The pool's name."""
        return self._ledger.name

    @property
    def max_size(self) -> int:
        """Connections that are to be reserved."""
        return self._ledger.max_size

    @property
    def used(self) -> int:
        """Connections above what is reserved."""
        return max(0, self._settled - self.firm)

    @property
    def _settled(self) -> int:
        return len(self._ledger.slots) - len(self._asking)

    @property
    def idle(self) -> int:
        """Those of them that are idle."""
        return min(len(self._ledger.idle), max(0, self._ledger.held - len(self._asking) - self.firm))

    @property
    def wants(self) -> int:
        """Connections that callers wait for since they were refused."""
        ledger = self._ledger
        missing = min(ledger.queue.length - ledger.supply, ledger.most - len(ledger.slots))
        return max(0, missing) if self._paused else 0

    def resume(self) -> None:
        """Ask again, if a refusal is being waited out."""
        if self._paused:
            self._paused = False
            self.fit()
            self._keeper.refill()

    def revoke(self, keep: int = 0) -> None:
        """Take permits away, and close what is idle without one."""
        if keep >= self.permits:
            return
        self.permits = keep
        self._over = max(0, self.used - keep)
        self.fit()
        while (slot := self._ledger.pop_unpermitted()) is not None:
            self._keeper.retire(slot)

    def abort(self) -> None:
        """Abort what is open without a permit, the youngest first."""
        waits = False
        for slot in list(self._unpermitted()):
            waits |= not self._keeper.abort(slot)
        if waits:
            asyncio.get_running_loop().call_soon(self.abort)
        self._keeper.refill()

    def _unpermitted(self) -> Iterator[Slot[Conn]]:
        over = self._settled - self.firm - self.permits
        settled = [slot for slot in self._ledger.slots if slot not in self._asking]
        order = {CLOSING: 0, OPENING: 1}
        settled.sort(key=lambda slot: (order.get(slot.state, 2), -slot.number))
        yield from settled[: max(0, over)]

    # What the pool does.

    async def join(self) -> None:
        """Have `max_size` connections reserved.

        Raises:
            Exception: What the budget raises.
        """
        size = self.max_size
        self._joined = bool(self._joined)
        await self._budget.join(self)
        self._joined = True
        self.firm = max(self.firm, size)
        self.fit()

    def enter(self, slot: Slot[Conn], *, for_caller: bool) -> bool:
        """Book a slot that was just taken; true if it has to `ask` before it is used."""
        if self._settled <= self.firm + self.permits:
            return False
        self._asking[slot] = for_caller
        self.fit()
        return True

    async def ask(self, slot: Slot[Conn]) -> None:
        """Wait for leave to open a connection in a slot.

        Raises:
            NoLeave: There is none.
            Exception: What `join` raises.
        """
        if not self._joined:
            await self.join()
        if self._settled >= self.firm + self.permits:
            if not await self._acquire():
                self._refused()
                raise NoLeave
            self.permits += 1
            self._refusals = 0
        wanted = self._ledger.queue.length or not self._asking[slot]
        self.asked(slot)
        if self.used and not wanted:
            raise NoLeave

    async def _acquire(self) -> bool:
        try:
            async with asyncio.timeout(self._budget.timeout):
                return await self._budget.acquire(self)
        except TimeoutError:
            return False
        except Exception as error:
            log.warning("pool %r: its burst_budget failed", self.name, exc_info=error)
            return False

    def _refused(self) -> None:
        if not self._paused:
            self._paused = True
            self.fit()
            self._keeper.pause(min(LAST_PAUSE, FIRST_PAUSE * 2**self._refusals))
            self._refusals = min(self._refusals + 1, 10)

    def asked(self, slot: Slot[Conn]) -> None:
        """Book that a slot waits for leave no longer."""
        if slot in self._asking:
            del self._asking[slot]
            self.fit()

    def fit(self) -> None:
        """Tell the ledger how many connections there may be, or be asked for, now."""
        ledger = self._ledger
        ceiling = self.firm + self.permits + len(self._asking)
        capped = self._paused or len(ledger.slots) > ceiling
        ledger.limit = min(ceiling, ledger.most) if capped else ledger.most

    def look(self) -> None:
        """See that no permit is over before a connection is handed out."""
        if self.permits:
            self._budget.look()

    def resized(self) -> bool:
        """Follow new limits; true if more is to be reserved than is."""
        self.fit()
        return self._joined is not None and self.max_size > self.firm

    def settle(self) -> Coroutine[Any, Any, None] | None:
        """Give back what is not needed any more.

        Returns:
            What is to be awaited in the end, once the pool is closed and empty.
        """
        if self.firm > self.max_size:
            self.firm = max(self.max_size, min(self.firm, self._settled - self.permits))
        spare, before = self.permits - self.used, self._over
        self._over = max(0, -spare)
        if spare > 0 or self._over < before:
            self.permits -= max(0, spare)
            self._budget.release(self, max(0, spare))
        self.fit()
        if self._joined is None or not self._ledger.shut or self._ledger.slots:
            return None
        self._joined = None
        return self._budget.leave(self)

    def end(self) -> None:
        """Leave nothing behind: the time of `close()` is up, or all is done."""
        if self.leaving is not None:
            self.leaving.cancel()
