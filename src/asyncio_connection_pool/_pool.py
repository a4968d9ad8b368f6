"""The pool: the face that users see, over the ledger and its shell."""

from __future__ import annotations

import asyncio
import warnings
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from asyncio_connection_pool import _errors, _fork, _options
from asyncio_connection_pool._checkout import Checkout
from asyncio_connection_pool._closing import Closing
from asyncio_connection_pool._compat import LegacyNames
from asyncio_connection_pool._lease import Lease, TimedLease
from asyncio_connection_pool._ledger import Ledger
from asyncio_connection_pool._options import DEFAULT, Unset
from asyncio_connection_pool._questions import Questions
from asyncio_connection_pool._slot import READY
from asyncio_connection_pool._strategy import overrides
from asyncio_connection_pool._supply import Supply
from asyncio_connection_pool._tasks import PoolTasks

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from asyncio_connection_pool._stats import PoolStats
    from asyncio_connection_pool._strategy import ConnectionStrategy

Conn = TypeVar("Conn")

_numbers: Final = count(1)
"""For pools that were given no name."""


class ConnectionPool(LegacyNames, Generic[Conn]):
    """A pool of connections of any kind, which its strategy knows to open and close.

    An idle connection is handed out and taken back without a step of the event loop.
    Where none is idle, one is opened while there is room, and the caller gets that
    one or one that is given back, whichever comes first; callers are served in the
    order of their coming. Cancelling a caller, at whatever moment, loses nothing.

    A pool may be built before an event loop runs. It belongs to the loop that first
    uses it, and is not thread-safe.

    Args:
        strategy: Knows how connections are opened, looked at and closed.
        max_size: Connections to keep; may be 0 where there is a `burst_limit`.
        burst_limit: Connections that may be open under load; those above `max_size`
            are closed when nobody needs them. None: `max_size` is the limit.
        name: For errors, logs and metrics; made up if None.
        acquire_timeout: Seconds that an acquisition may take in all; None: any time.
        max_waiting: Callers that may wait while nothing can be opened for them; one
            more fails at once. None: any number.
        max_connecting: Calls of `create_connection` that may run at once; None: any
            number.
        connect_timeout: Seconds that one `create_connection` may take; None: any time.
        close_timeout: Seconds that one `close_connection` may take before
            `abort_connection` is called; None: any time.
        shrink_delay: Seconds that a connection above `max_size` may idle before it is
            closed; 0: it is closed as soon as it is given back.

    Raises:
        TypeError: An argument is of the wrong type, or the strategy lacks a method.
        ValueError: An argument is out of its range.
    """

    _opened = False
    _tasks: PoolTasks
    _closing: Closing[Conn]
    _supply: Supply[Conn]
    _checkout: Checkout[Conn]

    def __init__(
        self,
        *,
        strategy: ConnectionStrategy[Conn],
        max_size: int,
        burst_limit: int | None = None,
        name: str | None = None,
        acquire_timeout: float | None = None,
        max_waiting: int | None = None,
        max_connecting: int | None = None,
        connect_timeout: float | None = None,
        close_timeout: float | None = None,
        shrink_delay: float = 0,
    ) -> None:
        """Check the arguments; nothing is opened yet."""
        self._strategy: ConnectionStrategy[Conn] = _options.strategy(strategy)
        seconds, number = _options.optional_seconds, _options.optional_count
        self._acquire_timeout = seconds("acquire_timeout", acquire_timeout)
        self._connect_timeout = seconds("connect_timeout", connect_timeout)
        self._close_timeout = seconds("close_timeout", close_timeout)
        self._shrink_delay = _options.seconds("shrink_delay", shrink_delay)
        self._questions = Questions(self._strategy)
        self._ledger: Ledger[Conn] = Ledger(
            *_options.limits(max_size, burst_limit),
            name=_options.pool_name(name, _numbers),
            max_waiting=number("max_waiting", max_waiting),
            max_connecting=number("max_connecting", max_connecting, least=1),
            keeps_surplus=self._shrink_delay > 0,
            plain=not (self._questions.at_every_return or overrides(strategy, "reset_connection")),
        )
        self._is_closed = self._questions.is_closed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        _fork.watch(self)

    # Using it.

    def get_connection(self, *, timeout: float | Unset | None = DEFAULT) -> Lease[Conn]:
        """Return a context manager that holds a connection.

        ::

            async with pool.get_connection() as conn:
                ...

        Args:
            timeout: Seconds that the entry may take in all; 0: only what is idle
                now; None: any time. Not given: the pool's `acquire_timeout`.

        Raises:
            TypeError: `timeout` is no number.
            ValueError: `timeout` is negative, infinite or NaN.
        """
        lease: Lease[Conn]
        if timeout is DEFAULT:
            lease = Lease()
        else:
            lease = TimedLease()
            lease._timeout = _options.optional_seconds("timeout", timeout)
        lease._pool = self
        lease._slot = None
        return lease

    def discard(self, conn: Conn) -> None:
        """Have a connection in use closed when its block ends, not used again.

        Where one object is the connection of several blocks, each call is for one.

        Raises:
            ValueError: No such connection is in use.
        """
        if not self._ledger.discard(conn):
            raise ValueError(
                f"pool {self.name!r} has no such connection in use: {conn!r}; "
                "discard() is for the connection of a get_connection() block that "
                "has not ended"
            )

    def stats(self) -> PoolStats:
        """Take a snapshot of the counts and totals, in constant time."""
        return self._ledger.stats()

    async def open(self) -> None:
        """Bind the pool to the running event loop, and make it warn if never closed.

        Raises:
            PoolClosedError: It is closed.
            RuntimeError: It belongs to another event loop.
        """
        self._bind()
        if self._ledger.shut:
            raise _errors.pool_closed(self.stats())
        self._opened = True

    async def close(self, timeout: float | None = None) -> None:
        """Close the pool and its connections (C12).

        Callers in the queue fail at once, idle connections are closed, and those in
        use when they are given back, which this waits for. Cancelled, it loses
        nothing; called again, it waits again.

        Args:
            timeout: Seconds after which what is still open is aborted, if the
                strategy has `abort_connection`, else left to its holder; None: never.

        Raises:
            RuntimeError: The pool belongs to another event loop.
            TypeError: `timeout` is no number.
            ValueError: `timeout` is negative, infinite or NaN.
        """
        timeout = _options.optional_seconds("timeout", timeout)
        self._bind()
        if not self._ledger.shut:
            self._shut()
        if not await self._tasks.until(self._drained, timeout):
            self._abort()
        self._closing.end()
        self._tasks.look()
        await self._tasks.until(lambda: not self._tasks.running, 0)

    async def __aenter__(self) -> Self:
        """Open the pool."""
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pool, and wait for all connections to be given back."""
        await self.close()

    # Reading and setting.

    @property
    def strategy(self) -> ConnectionStrategy[Conn]:
        """What knows how connections are opened and closed."""
        return self._strategy

    @property
    def name(self) -> str:
        """The name in errors, logs and metrics."""
        return self._ledger.name

    @property
    def closed(self) -> bool:
        """Whether `close()` was called."""
        return self._ledger.shut

    @property
    def max_size(self) -> int:
        """Connections to keep. Set it to change it; surplus ones are closed."""
        return self._ledger.max_size

    @max_size.setter
    def max_size(self, value: int) -> None:
        self._set_limits(value, self.burst_limit)

    @property
    def burst_limit(self) -> int | None:
        """Connections that may be open under load. Set it to change it."""
        return self._ledger.burst_limit

    @burst_limit.setter
    def burst_limit(self, value: int | None) -> None:
        self._set_limits(self.max_size, value)

    def _set_limits(self, max_size: int, burst_limit: int | None) -> None:
        self._ledger.set_limits(*_options.limits(max_size, burst_limit))
        if self._loop is not None and not self._loop.is_closed():
            self._supply.adjust()

    def __repr__(self) -> str:
        """Say where the slots and the callers are, in one line."""
        closed = "closed, " if self.closed else ""
        numbers = _errors.numbers(self.stats())
        return f"<{type(self).__name__} {self.name!r} {closed}{numbers}>"

    # The event loop.

    def _bind(self) -> None:
        """Belong to the running event loop, anew if the last one is closed (C11)."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            if not self._loop.is_closed():
                raise RuntimeError(
                    f"pool {self.name!r} belongs to another event loop, which is "
                    "still open: build one pool for each event loop"
                )
            for slot in self._ledger.forget():
                self._closing.abort(slot.conn)
        self._loop = loop
        self._thread = get_ident()
        self._loop_runs = loop.is_running
        self._tasks = PoolTasks(loop, self.name)
        self._closing = Closing(loop, self._ledger, self._tasks, self._strategy, self._close_timeout)
        self._supply = Supply(
            loop,
            self._ledger,
            self._tasks,
            self._closing,
            self._strategy,
            self._questions,
            connect_timeout=self._connect_timeout,
            shrink_delay=self._shrink_delay,
        )
        self._checkout = Checkout(
            loop,
            self._ledger,
            self._supply,
            self._closing,
            self._questions,
            self._acquire_timeout,
        )

    def _shut(self) -> None:
        waiters, idle = self._ledger.close()
        stats = self.stats()
        for waiter in waiters:
            waiter.future.set_exception(_errors.pool_closed(stats))
        self._supply.cancel()
        for slot in idle:
            self._closing.begin(slot, self._supply.refill)

    def _drained(self) -> bool:
        return not self._ledger.slots and self._tasks.running == self._closing.overdue

    def _abort(self) -> None:
        """Wait for nobody any more: close what can be closed at once."""
        if not self._closing.aborts:
            return
        for slot in list(self._ledger.slots):
            if slot.state is READY:
                self._ledger.free(slot, "pool_closed")
                self._closing.abort(slot.conn)

    def _forget_parent(self) -> object:
        self._loop = self._thread = None
        self._opened = False
        return self._ledger.forget()

    def __del__(self) -> None:
        """Warn of a pool that was opened and not closed."""
        if self._opened and not self._ledger.shut:
            warnings.warn(
                f"{self!r} was not closed: await its close(), or use async with",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
