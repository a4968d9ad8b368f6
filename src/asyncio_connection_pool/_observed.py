"""The way of a caller through a pool whose observers want to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncio_connection_pool._checkout import Checkout
from asyncio_connection_pool._lease import TimedLease
from asyncio_connection_pool._options import DEFAULT
from asyncio_connection_pool.events import Acquired, Released

if TYPE_CHECKING:
    from types import TracebackType

    from asyncio_connection_pool._observe import Span
    from asyncio_connection_pool._options import Unset
    from asyncio_connection_pool._queue import Waiter
    from asyncio_connection_pool._slot import Slot

Conn = TypeVar("Conn")

GIVEN_BACK: Final = "after_waiting"
FRESH: Final = "after_opening"


class ObservedCheckout(Checkout[Conn]):
    """Puts spans around waits, and remembers what the last one came to."""

    def __init__(self, *arguments: Any) -> None:
        """Begin with nobody; the arguments are those of any checkout."""
        super().__init__(*arguments)
        self._spans: dict[Waiter, Span] = {}
        self.accepted: Acquired | None = None
        """For the lease that is being entered in this very step."""

    def park(self, timeout: float | Unset | None) -> Waiter:
        """Queue the running caller."""
        span = self._observers.span("waiting_span")
        try:
            waiter = super().park(timeout)
        except BaseException as exc:
            span.close(exc)
            raise
        self._spans[waiter] = span
        return waiter

    def accept(self, waiter: Waiter, slot: Slot[Conn]) -> None:
        """Settle a hand-over."""
        how: Any = FRESH if slot.fresh else GIVEN_BACK
        self._spans.pop(waiter).close()
        super().accept(waiter, slot)
        self.accepted = Acquired(self._ledger.name, self._loop.time() - waiter.since, how)

    def abandon(self, waiter: Waiter, exc: BaseException) -> None:
        """Settle a wait that ended with `exc`."""
        super().abandon(waiter, exc)
        if waiter in self._spans:
            self._spans.pop(waiter).close(exc)


class ObservedLease(TimedLease[Conn]):
    """A lease of a pool whose observers want to know of each."""

    __slots__ = ("_since",)

    _since: float

    def __init__(self) -> None:
        """Begin with the timeout of the pool."""
        self._timeout = DEFAULT

    async def __aenter__(self) -> Conn:
        """Take a connection, and tell of it."""
        pool = self._pool
        span = pool._observers.span("acquiring_span")
        try:
            conn = await super().__aenter__()
        except BaseException as exc:
            span.close(exc)
            raise
        try:
            span.close()
            self._since = get_time(pool)
            checkout: Any = pool._checkout
            event = checkout.accepted or Acquired(pool.name, 0.0, "at_once")
            checkout.accepted = None
            pool._observers.tell("on_acquire", event)
        except BaseException as exc:
            await super().__aexit__(type(exc), exc, exc.__traceback__)
            raise
        return conn

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the connection back, and tell of it."""
        pool = self._pool
        entered = self._slot is not None
        held = get_time(pool) - self._since if entered else 0.0
        try:
            await super().__aexit__(exc_type, exc, traceback)
        finally:
            if entered:
                pool._observers.tell("on_release", Released(pool.name, held))


def get_time(pool: Any) -> float:
    """Read the clock of the event loop that the pool belongs to."""
    now: float = pool._loop.time()
    return now
