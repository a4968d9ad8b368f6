"""The pool: the face that users see, over the ledger and its shell."""

from __future__ import annotations

import warnings
from itertools import count
from typing import TYPE_CHECKING, Final, TypeVar

from asyncio_connection_pool import _errors, _fork, _options, _parts
from asyncio_connection_pool._binding import Binding
from asyncio_connection_pool._compat import LegacyNames
from asyncio_connection_pool._holders import Holders
from asyncio_connection_pool._lease import Lease, TimedLease
from asyncio_connection_pool._observe import Observers
from asyncio_connection_pool._options import DEFAULT, Unset
from asyncio_connection_pool._questions import Questions
from asyncio_connection_pool._strategy import overrides

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from asyncio_connection_pool._budget import BurstBudget
    from asyncio_connection_pool._codel import CoDel
    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._observe import PoolObserver
    from asyncio_connection_pool._outage import Reconnect
    from asyncio_connection_pool._slot import Slot
    from asyncio_connection_pool._stats import PoolStats
    from asyncio_connection_pool._strategy import ConnectionStrategy

Conn = TypeVar("Conn")

_numbers: Final = count(1)
"""For pools that were given no name."""


class ConnectionPool(Binding[Conn], LegacyNames):
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
        queue_policy: What is done about a queue that is too slow: None, nothing; or a
            `CoDel`, which refuses those who have waited too long while waits are long.
        reconnect: What is done while connections can't be opened: False, each failure is
            raised to a caller; True or a `Reconnect`, callers wait until one can (set
            `connect_timeout` too).
        track_holders: Remember who holds connections, for errors that tell, and for
            finding tasks that wait for themselves. Costs a little at each acquisition.
        leak_threshold: Seconds after which a connection that is still in use is logged,
            with the line that took it and the stack of its holder; implies
            `track_holders`. None: never.
        max_connecting: Calls of `create_connection` that may run at once; None: any number.
        connect_timeout: Seconds that one `create_connection` may take; None: any time.
        close_timeout: Seconds that one `close_connection` may take before
            `abort_connection` is called; None: any time.
        min_size: Connections to keep open even when nobody needs them. `open()` opens
            them, and what is lost later is replaced in the background.
        max_lifetime: Seconds after which a connection is retired, less up to a fifth by
            chance, so that connections of one age don't go together; None: any time.
        max_uses: Blocks after which a connection is retired; None: any number.
        max_idle: Seconds that a connection may idle before it is closed, down to
            `min_size`; None: any time.
        validate_after: Seconds of idling after which `validate_connection` has to prove
            a connection alive before it is handed out; None: never.
        shrink_delay: Seconds that a connection above `max_size` may idle before it is
            closed; 0: it is closed as soon as it is given back.
        burst_delay: Seconds that a caller must have waited before a connection above
            `max_size` is opened for it.
        burst_budget: What connections above `max_size` are borrowed from; see `BurstBudget`.
        observers: Told what happens; see `PoolObserver`. None costs nothing.

    Raises:
        TypeError: An argument is of the wrong type, or the strategy lacks a method.
        ValueError: An argument is out of its range.
    """

    _opened = False

    def __init__(
        self,
        *,
        strategy: ConnectionStrategy[Conn],
        max_size: int,
        burst_limit: int | None = None,
        name: str | None = None,
        acquire_timeout: float | None = None,
        max_waiting: int | None = None,
        queue_policy: CoDel | None = None,
        reconnect: Reconnect | bool = False,
        track_holders: bool = False,
        leak_threshold: float | None = None,
        max_connecting: int | None = None,
        connect_timeout: float | None = None,
        close_timeout: float | None = None,
        min_size: int = 0,
        max_lifetime: float | None = None,
        max_uses: int | None = None,
        max_idle: float | None = None,
        validate_after: float | None = None,
        shrink_delay: float = 0,
        burst_delay: float = 0,
        burst_budget: BurstBudget | None = None,
        observers: Iterable[PoolObserver] = (),
    ) -> None:
        """Check the arguments; nothing is opened yet."""
        self._loop = self._thread = None
        self._strategy: ConnectionStrategy[Conn] = _options.strategy(strategy)
        seconds, number = _options.optional_seconds, _options.optional_count
        self._acquire_timeout = seconds("acquire_timeout", acquire_timeout)
        self._connect_timeout = seconds("connect_timeout", connect_timeout)
        self._close_timeout = seconds("close_timeout", close_timeout)
        size, burst = _options.limits(max_size, burst_limit)
        policies = _options.policies(
            size,
            burst,
            min_size=min_size,
            max_lifetime=max_lifetime,
            max_uses=max_uses,
            max_idle=max_idle,
            validate_after=validate_after,
            shrink_delay=shrink_delay,
            burst_delay=burst_delay,
        )
        self._questions = Questions(self._strategy)
        self._observers = Observers(_options.pool_name(name, _numbers), _options.observers(observers))
        self._tracks = _options.flag("track_holders", track_holders) or leak_threshold is not None
        self._budget = _options.burst_budget(burst_budget, burst)
        watched = self._tracks or self._observers.watch_callers or burst_budget is not None
        self._ledger: Ledger[Conn] = _parts.choose_ledger(self._observers)(
            size,
            burst,
            name=self._observers.pool,
            max_waiting=number("max_waiting", max_waiting),
            max_connecting=number("max_connecting", max_connecting, least=1),
            policies=policies,
            queue_policy=_options.queue_policy(queue_policy),
            plain=not (watched or self._questions.at_every_return or overrides(strategy, "reset_connection")),
        )
        self._is_closed = self._questions.is_closed
        self._reconnect = _options.reconnect(reconnect)
        self._holders = Holders(self._ledger, seconds("leak_threshold", leak_threshold))
        self._careful = policies.looks_at_entry or watched
        self._idle: list[Slot[Conn]] = [] if self._careful else self._ledger.idle
        """Where the fast path looks: nowhere, if there is more to look at."""
        _fork.watch(self)
        self._observers.tell("on_attach", self)

    # Using it.

    def get_connection(self, timeout: float | Unset | None = DEFAULT) -> Lease[Conn]:  # "*, " would cost 0.06 x floor
        """Return a context manager that holds a connection.

        ::

            async with pool.get_connection() as conn:
                ...

        Args:
            timeout: Seconds that entering may take; 0: only what is idle; None: any time. Default: `acquire_timeout`.

        Raises:
            TypeError: `timeout` is no number.
            ValueError: It is negative, infinite or NaN.
            PoolError: On entering: no connection in time, overloaded, or closed.
            BaseException: On entering: what `create_connection` raised, as it is.
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

    def evict(self, over: float = 0) -> None:
        """Retire every open connection: after a failover, or when a password was changed.

        One in use is closed when it is given back. They are replaced on demand, and up to
        `min_size`.

        Args:
            over: Seconds to spread it over, so that the server is not met by a herd.

        Raises:
            TypeError: `over` is no number.
            ValueError: `over` is negative, infinite or NaN.
        """
        over = _options.seconds("over", over)
        if self._alive:
            self._supply.maintenance.evict(over)

    def resize(self, max_size: int, burst_limit: int | None = None) -> None:
        """Change both limits at once, `max_size` and `burst_limit` (None: `max_size`).

        What is idle above them is closed; while more is open nothing is opened, and what is given back is closed.

        Raises:
            TypeError: One is not an integer.
            ValueError: They don't fit each other, or `min_size`.
        """
        size, burst = _options.limits(max_size, burst_limit)
        _options.fitting_min_size(self._ledger.policies.min_size, size)
        _options.fitting_burst_delay(self._ledger.policies.burst_delay, burst)
        self._ledger.set_limits(size, burst)
        if self._alive:
            self._supply.adjust()

    def stats(self) -> PoolStats:
        """Take a snapshot of the counts and totals, in constant time."""
        return self._ledger.stats()

    async def open(self) -> None:
        """Open `min_size` connections, and make the pool warn if it is never closed.

        Raises:
            PoolClosedError: It is closed.
            RuntimeError: It belongs to another event loop.
            BaseException: What `create_connection` raised. What has been opened stays open.
        """
        self._bind()
        self._refuse_closed()
        self._opened = True
        await self._supply.fill()
        self._refuse_closed()

    def _refuse_closed(self) -> None:
        if self._ledger.shut:
            raise _errors.pool_closed(self.stats())

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
        await self._end(_options.optional_seconds("timeout", timeout))

    async def __aenter__(self) -> Self:
        """Open the pool; where that fails, close it again."""
        try:
            await self.open()
        except BaseException:
            if not self.closed:
                await self.close()
            raise
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
        self.resize(value, self.burst_limit)

    @property
    def burst_limit(self) -> int | None:
        """Connections that may be open under load. Set it to change it."""
        return self._ledger.burst_limit

    @burst_limit.setter
    def burst_limit(self, value: int | None) -> None:
        self.resize(self.max_size, value)

    def __repr__(self) -> str:
        """Say where the slots and the callers are, in one line."""
        closed = "closed, " if self.closed else ""
        numbers = _errors.numbers(self.stats())
        return f"<{type(self).__name__} {self.name!r} {closed}{numbers}>"

    def __del__(self) -> None:
        """Warn of a pool that was opened and not closed."""
        if self._opened and not self._ledger.shut:
            warnings.warn(
                f"{self!r} was not closed: await its close(), or use async with",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
