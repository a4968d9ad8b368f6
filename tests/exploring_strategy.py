"""A fake server and its strategy, where whatever takes time ends only when it is told to, and how."""

from __future__ import annotations

import asyncio

from asyncio_connection_pool import ConnectionStrategy


class UnluckyError(Exception):
    """What a call of the strategy fails with."""


class Fatal(BaseException):
    """What no `except Exception` catches."""


class Conn:
    """A connection, and all that the server and its users know of it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.open = True
        """Whether the server sees it."""
        self.answer: object = False
        """What `connection_is_closed` says, or raises."""
        self.holder = None
        self.asked = False
        """Whether it was asked for, and open, since its last use."""
        self.clean = True
        self.spoilt = ""
        """Why nobody may get it any more."""
        self.rested: int | None = None
        """When its last user gave it back, in whatever unit."""
        self.closes = 0
        self.interruptions = 0
        """Closes that were cancelled half-way."""
        self.aborted = False
        self.close_error: BaseException | None = None

    def __repr__(self) -> str:
        return f"connection {self.number}"


class Op:
    """A call of the strategy that goes on until it is told how to end."""

    __slots__ = ("conn", "gate", "since", "task")

    def __init__(self, conn: Conn | None, gate: asyncio.Future) -> None:
        self.conn = conn
        self.gate = gate
        self.since = gate.get_loop().time()
        self.task = asyncio.current_task()

    @property
    def told(self) -> bool:
        """Whether its end is settled: told, or cancelled."""
        return self.gate.done()

    def tell(self, outcome: str) -> None:
        self.gate.set_result(outcome)


class Gated(ConnectionStrategy):
    """Opens, closes, resets and validates connections; all of it ends as the world says."""

    def __init__(self, world) -> None:
        self.world = world
        self.loop = world.loop
        self.conns: list[Conn] = []
        self.alive = 0
        """What the server sees: open and half-open connections."""
        self.creates: list[Op] = []
        self.closes: list[Op] = []
        self.resets: list[Op] = []
        self.validates: list[Op] = []
        self.raised: list[BaseException] = []
        """Errors that have to reach a caller or the log."""
        self.excused: list[BaseException] = []
        """Errors that may."""

    async def _play(self, ops: list[Op], conn: Conn | None, *, stubborn: bool = False) -> str:
        op = Op(conn, self.loop.create_future())
        ops.append(op)
        try:
            while True:
                try:
                    return await op.gate
                except asyncio.CancelledError:
                    self.world.interrupted(op, ops)
                    if not stubborn:
                        raise
                    op.gate = self.loop.create_future()
        finally:
            ops.remove(op)

    async def create_connection(self) -> Conn:
        self.alive += 1
        self.world.opens()
        outcome = "fails"
        try:
            outcome = await self._play(self.creates, None, stubborn=self.world.config.stubborn)
        finally:
            if outcome in {"fails", "cancels"}:
                self.alive -= 1
        if outcome in {"fails", "cancels"}:
            raise self._error(outcome)
        conn = Conn(len(self.conns))
        self.conns.append(conn)
        if outcome == "stillborn":
            self.cut(conn, answer=True)
        return conn

    def _error(self, outcome: str) -> BaseException:
        error = asyncio.CancelledError("of its own") if outcome == "cancels" else UnluckyError(len(self.raised))
        cancelled = asyncio.current_task().cancelling()
        (self.excused if cancelled else self.raised).append(error)
        return error

    def connection_is_closed(self, conn: Conn) -> object:
        if isinstance(conn.answer, type):
            error = conn.answer()
            if not isinstance(error, Exception):
                self.raised.append(error)
            raise error
        conn.asked = not conn.answer
        return conn.answer

    async def close_connection(self, conn: Conn) -> None:
        conn.closes += 1
        try:
            outcome = await self._play(self.closes, conn)
        except asyncio.CancelledError:
            conn.interruptions += 1
            raise
        finally:
            self.bury(conn)
        if outcome == "fails":
            conn.close_error = UnluckyError(f"closing {conn}")
            raise conn.close_error

    def cut(self, conn: Conn, answer: object) -> None:
        """Let the server close a connection, and the client answer so when asked."""
        conn.answer = answer
        self.bury(conn)

    def bury(self, conn: Conn) -> None:
        self.alive -= conn.open
        conn.open = False


class Resets:
    async def reset_connection(self, conn: Conn) -> None:
        outcome = await self._play(self.resets, conn)
        if outcome == "fails":
            conn.spoilt = "its reset failed"
            raise UnluckyError("reset")
        conn.clean = True


class Validates:
    async def validate_connection(self, conn: Conn) -> None:
        outcome = await self._play(self.validates, conn)
        if outcome == "fails":
            conn.spoilt = "its validation failed"
            raise UnluckyError("validate")
        if conn.clean:
            conn.rested = self.world.next_number()


class Aborts:
    def abort_connection(self, conn: Conn) -> None:
        conn.aborted = True
        self.bury(conn)


def gated(world, *, resets: bool, validates: bool, aborts: bool) -> Gated:
    """Make the strategy that has just these optional methods."""
    chosen = {Resets: resets, Validates: validates, Aborts: aborts}
    bases = [kind for kind, wanted in chosen.items() if wanted]
    return type("Gated", (*bases, Gated), {})(world)
