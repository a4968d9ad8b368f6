"""The pools that a collector of metrics asks for their numbers when it wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary, ref

from asyncio_connection_pool import ConnectionPool, PoolStats

Record = TypeVar("Record")


class WatchedPools(Generic[Record]):
    """Pools that are open, each with a record of the observer's; none is kept alive (C13).

    Collectors read in threads of their own. Pools come and go by single steps of a dictionary, so nothing is locked:
    a thread might want a lock that it holds, since a pool may be collected at any moment.
    """

    def __init__(self) -> None:
        self._pools: dict[tuple[int, int], tuple[ref[ConnectionPool[Any]], Record]] = {}

    def add(self, pool: ConnectionPool[Any], record: Record) -> None:
        """Watch a pool until it is removed or collected."""
        key, pools = (id(pool), id(record)), self._pools
        pools[key] = (ref(pool, lambda _: pools.pop(key, None)), record)

    def remove(self, pool: ConnectionPool[Any], record: Record) -> None:
        """Watch a pool no more."""
        self._pools.pop((id(pool), id(record)), None)

    def snapshots(self) -> list[tuple[PoolStats, Record]]:
        """Ask each pool for its numbers."""
        return [(pool.stats(), record) for known, record in list(self._pools.values()) if (pool := known()) is not None]


class Records(Generic[Record]):
    """The records of an observer by the names of its pools; pools of one name share one.

    A record lives as long as one of its pools is watched.
    """

    def __init__(self, pools: WatchedPools[Record], make: Callable[[str], Record]) -> None:
        self._pools = pools
        self._make = make
        self._records: WeakValueDictionary[str, Record] = WeakValueDictionary()
        self.of: Callable[[str], Record] = self._records.__getitem__
        """Find the record of a pool that is watched, by its name."""

    def attach(self, pool: ConnectionPool[Any]) -> Record:
        """Begin to watch a pool."""
        record = self._records.get(pool.name)
        if record is None:
            record = self._records[pool.name] = self._make(pool.name)
        self._pools.add(pool, record)
        return record

    def detach(self, pool: ConnectionPool[Any]) -> None:
        """Watch a pool no more."""
        self._pools.remove(pool, self.of(pool.name))
