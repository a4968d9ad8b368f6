"""Which ledger and checkout a pool is made of: special ones only where something asks for them.

Those for observers and budgets are imported where there are any, since that takes milliseconds.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from asyncio_connection_pool._checkout import Checkout
from asyncio_connection_pool._ledger import Ledger
from asyncio_connection_pool._supply import Supply

if TYPE_CHECKING:
    from asyncio_connection_pool._budget import BurstBudget
    from asyncio_connection_pool._observe import Observers


def choose_ledger(observers: Observers) -> Any:
    """Choose one that tells of what is booked, if somebody listens."""
    if not observers:
        return Ledger
    from asyncio_connection_pool._journal import JournalledLedger  # noqa: PLC0415 - see above

    return partial(JournalledLedger[Any], readers=observers)


def choose_supply(budget: BurstBudget | None) -> Any:
    """Choose one that borrows, if there is a budget."""
    if budget is None:
        return Supply
    from asyncio_connection_pool._borrowing import BorrowingSupply  # noqa: PLC0415 - see above

    return partial(BorrowingSupply[Any], budget)


def choose_checkout(observers: Observers) -> Any:
    """Choose one that tells of waits, if somebody wants to know of them."""
    if not observers.watch_callers:
        return Checkout
    from asyncio_connection_pool._observed import ObservedCheckout  # noqa: PLC0415 - see above

    return ObservedCheckout
