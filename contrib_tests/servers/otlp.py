"""A throw-away receiver of OpenTelemetry's protocol, from the oteltap wheel: it prints what it is sent."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servers.process import START_SECONDS, Server


class Receiver(Server):
    """Takes metrics and spans by HTTP, each as a protobuf message."""

    @property
    def url(self) -> str:
        """What the paths of the protocol are appended to."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str | Path]:
        """Return the command line; it listens on loopback only."""
        return [sys.executable, "-m", "oteltap", "--port", str(self.port)]

    def is_ready(self) -> bool:
        """Say whether it listens."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def received(self) -> dict[str, dict[str, Any]]:
        """Return the last message of each name that has arrived in full."""
        lines = [line for line in self.log.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return {message["name"]: message for message in map(json.loads, lines)}

    def wait_for(self, *names: str) -> dict[str, dict[str, Any]]:
        """Wait until messages of these names have been printed, which may be after they were acknowledged."""
        end = time.monotonic() + START_SECONDS
        while missing := set(names) - self.received().keys():
            assert time.monotonic() < end, f"never arrived: {missing}"
            time.sleep(0.01)
        return self.received()


def start() -> Receiver:
    """Start one; it ends with the ``with`` block that it is given to."""
    return Receiver().start()
