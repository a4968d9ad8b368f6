"""What is done to transports beneath the drivers: shared by the adapters."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

PIECE: Final = 64 * 1024
"""Bytes that are read at a time. Room for all of them is allocated for every read, however short the reply.

asyncio's own 256 KiB is more than malloc keeps at hand (128 KiB in the C library of GNU): the system is asked to map
memory, and to unmap it, for each reply. Here that took three quarters of the time that reading took.
"""


def read_in_pieces(transport: asyncio.WriteTransport) -> None:
    """Have a transport of asyncio's read less at a time; those of TLS and of uvloop keep their buffers anyway."""
    tunable: Any = transport
    if hasattr(tunable, "max_size"):
        tunable.max_size = PIECE


def abort(transport: asyncio.WriteTransport) -> None:
    """Close a socket at once, even if its event loop is closed and can't be told of it."""
    try:
        transport.abort()
    except RuntimeError:
        with suppress(OSError, TypeError):
            transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
