"""A server within this process, for where no other is at hand: it sends back what it is sent, after a while."""

from __future__ import annotations

import asyncio
import random
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final

from asyncio_connection_pool import ConnectionStrategy
from asyncio_connection_pool.lab._targets import Target

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

GREETING: Final = 0.02
"""Seconds until it greets a new connection: what TLS and a password take."""
WORK: Final = 0.005, 0.02
"""Seconds that an answer takes, from and to."""

Streams = tuple[StreamReader, StreamWriter]


class WrongReply(Exception):  # noqa: N818 - it is that, and nothing else
    """A caller got what was meant for another."""


class EchoServer:
    """Listens on a port of the loopback interface, and counts its connections."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.open = 0
        self.most = 0
        """The most connections that it has seen at once."""
        self._numbers = count()
        self._chance = random.Random()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Listen no more."""
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await self._answer(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        await asyncio.sleep(GREETING)
        writer.write(b"welcome\n")
        with suppress(ConnectionError):  # a client that hung up in the midst
            while line := await reader.readline():
                await asyncio.sleep(self._chance.uniform(*WORK))
                writer.write(line)

    # Its clients.

    def target(self) -> Target:
        """Make it the target of a load."""
        strategy = ConnectionStrategy[Streams].from_functions(
            create=self._connect,
            is_closed=lambda conn: conn[0].at_eof(),
            close=_hang_up,
            is_reusable=lambda _, exc: exc is None,
            abort=lambda conn: conn[1].transport.abort(),
        )
        host, port = self._server.sockets[0].getsockname()
        return Target(f"a server within this process, at {host}:{port}", strategy, "echo", self._ask)

    async def _connect(self) -> Streams:
        reader, writer = await asyncio.open_connection(*self._server.sockets[0].getsockname())
        try:
            await reader.readline()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        return reader, writer

    async def _ask(self, conn: Streams) -> None:
        """Send what nobody else sends, and look at the answer."""
        reader, writer = conn
        sent = f"{next(self._numbers)}\n".encode()
        writer.write(sent)
        received = await reader.readline()
        if received != sent:
            raise WrongReply(f"{received!r} to {sent!r}")


async def _hang_up(conn: Streams) -> None:
    """Wait until the server has hung up too: until then it sees the connection."""
    reader, writer = conn
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()
