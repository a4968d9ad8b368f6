"""A burst budget whose coordinator is a PostgreSQL: the one that the connections are for, or another."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, Final

from asyncio_connection_pool.contrib._asyncpg_budget_script import FUNCTION, INSPECT, LINE, SYNC, TABLES
from asyncio_connection_pool.contrib._budget_fleet import FleetBudget, FleetMember, FleetStats
from asyncio_connection_pool.contrib._budget_protocol import Reply, Request
from asyncio_connection_pool.contrib._budget_words import address

asyncpg: Any = import_module("asyncpg")  # which has no types

CONNECT_SECONDS: Final = 2.0
"""Seconds that a connection to the coordinator may take to be dialled."""


class PostgresBurstBudget(FleetBudget):
    """What a fleet of processes may open above `max_size` of their pools, kept in two small tables of a PostgreSQL.

    One object serves all pools of a process that borrow from the budget, in one event loop. It has one connection of
    its own, which counts to what the server takes, and needs a session: a pooler that pools transactions must not
    stand in between. It sends a message four times in a `lease_time`, and when its pools want more or give some back.

    The tables, ``burst_budget`` and ``burst_budget_member``, are made in the first schema of the ``search_path`` if
    they are missing, for which the role needs the right to create some, once.

    Args:
        dsn: Where the coordinator is, as for `asyncpg.connect`.
        name: The name of the budget.
        limit: Connections of the whole fleet, reserved or lent.
        lease_time: Seconds that a burst is lent for, unless it is renewed. A coordinator that restarts lends nothing
            for as long, and admits nobody new. The same for the whole fleet.
        reservation_time: Seconds after which the `max_size` of a silent process is given to others; None: six times
            `lease_time`.
        strict: Whether bursts that are in use are aborted when the lease ends before it could be renewed, and opening
            fails where the coordinator can't be reached. False: they are kept until they are given back, and may for
            that time be more than `limit`.
        timeout: Seconds that a question for a permit may take; after that the answer is no.
        connect_kwargs: Forwarded to `asyncpg.connect`.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        name: str,
        limit: int,
        lease_time: float = 10.0,
        reservation_time: float | None = None,
        strict: bool = True,
        timeout: float = 0.25,
        **connect_kwargs: Any,
    ) -> None:
        """Check the arguments; nothing is dialled yet."""
        super().__init__(
            name,
            limit,
            _whereabouts(dsn, connect_kwargs.get("host")),
            lease_time=lease_time,
            reservation_time=reservation_time,
            strict=strict,
            timeout=timeout,
        )
        inspect.signature(asyncpg.connect).bind(dsn, **connect_kwargs)
        self._dsn = dsn
        # The server is to notice within a lease that a machine is gone, and its line with it.
        probes = {"tcp_keepalives_idle": str(max(1, round(self.lease_time / 2))), "tcp_keepalives_interval": "1"}
        settings = {"application_name": f"burst budget {name}"[:63], **probes, "tcp_keepalives_count": "3"}
        settings |= connect_kwargs.pop("server_settings", {})
        self._connect_kwargs = {"timeout": CONNECT_SECONDS, **connect_kwargs, "server_settings": settings}
        self._conn: Any = None

    # The engine.

    async def _send(self, request: Request) -> Reply:
        if self._conn is None or self._conn.is_closed():
            self._conn = await self._dial(request.member)
        try:
            answer = await self._conn.fetchrow(
                SYNC,
                self.name,
                request.member,
                request.label,
                request.seq,
                request.known,
                request.limit,
                float(request.lease_time),
                float(request.reservation_time),
                request.firm,
                request.kept,
                request.want,
            )
        except BaseException:
            self._cut()
            raise
        return Reply(request.seq, **answer)

    async def _dial(self, member: str | None) -> Any:
        conn = await asyncpg.connect(self._dsn, **self._connect_kwargs)
        try:
            if await conn.fetchval("SELECT to_regclass('burst_budget_member')") is None:
                await conn.execute(TABLES)
            if member is not None:
                await conn.execute(FUNCTION)
                await conn.fetchval(LINE, member)
        except BaseException:
            conn.terminate()
            raise
        return conn

    async def _inspect(self) -> FleetStats:
        conn = await self._dial(None)
        try:
            row = await conn.fetchrow(INSPECT, self.name)
        finally:
            await conn.close()
        members = [FleetMember(label, firm, burst, float(due)) for label, firm, burst, due in row["members"]]
        return FleetStats(row["most"], row["firm"], row["lent"], tuple(members))

    def _cut(self) -> None:
        if self._conn is not None:
            self._conn.terminate()
        self._conn = None

    async def _hang_up(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close(timeout=CONNECT_SECONDS)

    def _forget(self) -> None:
        self._conn = None


def _whereabouts(dsn: Any, host: Any) -> str:
    if dsn is None:
        return str(host or "where the environment says (PGHOST)")
    if not isinstance(dsn, str):
        raise TypeError(f"dsn must be a str or None, not {dsn!r}")
    scheme = dsn.partition("://")[0] if "://" in dsn else "none"
    if scheme not in {"postgresql", "postgres"}:
        raise ValueError(f"dsn must be a URL whose scheme is postgresql or postgres, not {scheme}")
    return address(dsn)
