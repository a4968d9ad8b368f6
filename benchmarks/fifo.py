"""The lower bound for a queue: the floor, and a deque of futures that connections are handed over to.

It is first come, first served, and nothing else: a caller that is cancelled just as it is served loses the connection,
and the cancelled stay in the queue until their turn. So it shows what the event loop and the machine's caches take of a
hand-over or of a cancel, whoever implements the pool.
"""

import asyncio
from collections import deque
from types import TracebackType


class FifoLease:
    """Take an idle connection or wait for one; give it to the head of the queue, else to the stack."""

    __slots__ = ("_conn", "_pool")

    _conn: object

    def __init__(self, pool: "FifoPool") -> None:
        """Remember the pool; nothing is taken before the block is entered."""
        self._pool = pool

    async def __aenter__(self) -> object:
        """Take a connection, or wait for one."""
        pool = self._pool
        if pool.idle:
            conn = pool.idle.pop()
        else:
            waiter = pool.loop.create_future()
            pool.waiters.append(waiter)
            conn = await waiter
        self._conn = conn
        return conn

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Hand it over, or put it back."""
        pool = self._pool
        while pool.waiters:
            waiter = pool.waiters.popleft()
            if not waiter.done():
                waiter.set_result(self._conn)
                return
        pool.idle.append(self._conn)


class FifoPool:
    """A stack of connections and a queue of those who wait for one."""

    __slots__ = ("idle", "loop", "waiters")

    def __init__(self, max_size: int) -> None:
        """Hold `max_size` connections that are open already."""
        self.idle: list[object] = [object() for _ in range(max_size)]
        self.loop = asyncio.get_running_loop()
        self.waiters: deque[asyncio.Future[object]] = deque()

    def get_connection(self) -> FifoLease:
        """Return a context manager over one of them."""
        return FifoLease(self)
