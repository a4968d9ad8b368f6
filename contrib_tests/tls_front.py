"""TLS in front of a server that has none: what comes in is deciphered and passed on."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("localhost.pem")  # for localhost, until 2126; signed by itself


def trusting():
    """Make a client's context that trusts the certificate."""
    return ssl.create_default_context(cafile=CERTIFICATE)


@asynccontextmanager
async def tls_front(port, *, asks=b""):
    """Listen at a port of localhost, for clients of the server at `port`; yield the port.

    Clients begin with TLS, or, as those of PostgreSQL do, with a question of so many bytes whether they may.

    What lies between two ends takes its time: what one of them has seen to go, a close for instance, the other may not
    have seen come.
    """

    async def forward(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(from_client, to_client):
        if asks:
            assert await from_client.readexactly(len(asks)) == asks
            to_client.write(b"S")
            await to_client.start_tls(context)
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(forward(from_client, to_server), forward(from_server, to_client))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    async with await asyncio.start_server(serve, "localhost", 0, ssl=None if asks else context) as front:
        yield front.sockets[0].getsockname()[1]
