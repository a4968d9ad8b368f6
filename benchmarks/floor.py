"""The floor: the least that an `async with` over a stack of connections can cost.

It checks nothing, waits for nobody and opens nothing, so no pool can be cheaper. It exists to be divided by.
"""

from types import TracebackType


class FloorLease:
    """Pop at entry, append at exit."""

    __slots__ = ("_conn", "_pool")

    _conn: object

    def __init__(self, pool: "FloorPool") -> None:
        """Remember the pool; nothing is taken before the block is entered."""
        self._pool = pool

    async def __aenter__(self) -> object:
        """Take a connection."""
        conn = self._conn = self._pool.idle.pop()
        return conn

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Put it back."""
        self._pool.idle.append(self._conn)


class FloorPool:
    """A stack of connections with the face of a pool."""

    __slots__ = ("idle",)

    def __init__(self, max_size: int) -> None:
        """Hold `max_size` connections that are open already."""
        self.idle: list[object] = [object() for _ in range(max_size)]

    def get_connection(self) -> FloorLease:
        """Return a context manager over one of them."""
        return FloorLease(self)
