"""A server in a process of its own, that can be killed, restarted and frozen."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from servers.reaper import family, reaper, send

START_SECONDS = 30.0
STOP_SECONDS = 10.0


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment.

    It lies below the range that systems take outgoing ports from: a client that keeps dialling a dead server
    in that range ends up connected to itself, and then the server cannot have its port back.
    """
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20000 and 30000")


class Server(ABC):
    """One server process, on loopback, whose port and data stay the same from start to start.

    It ends with its ``with`` block, and with the process that started it however that one ends.
    """

    stop_signal = signal.SIGTERM  # what makes this server end in good order, at once
    account: dict[str, Any]  # `user`, `group` … for subprocess, where it may not run as who we are

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="server-"))
        self.port = free_port()
        self.account = {}
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Return the command line that starts the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Say whether the server answers."""

    @property
    def pid(self) -> int:
        """The process id of the server; it changes with a restart."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has printed."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def environment(self) -> dict[str, str]:
        """The environment that it runs in: ours, in the plainest locale."""
        return {**os.environ, "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def start(self) -> Self:
        """Start the server, and return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,  # the Ctrl-C of whoever runs the tests is not for it
                **self.account,
            )
        reaper().adopt(self.pid, self.folder)
        self._wait_until_ready()
        return self

    def kill(self) -> None:
        """End the server and its children as a power cut would: SIGKILL. Returns when they are gone."""
        send(signal.SIGKILL, family(self.pid))
        self._wait()

    def restart(self) -> None:
        """Start the server again on the same port and data, after ending it if it still runs."""
        if self._process is not None:
            self._end()
        self.start()

    def freeze(self) -> None:
        """Stop the server and its children in their tracks: connections stay open, and nothing answers."""
        send(signal.SIGSTOP, family(self.pid))

    def thaw(self) -> None:
        """Let a frozen server go on."""
        send(signal.SIGCONT, family(self.pid))

    def stop(self) -> None:
        """End the server in good order and remove what it wrote. Does no harm twice."""
        try:
            if self._process is not None:
                self._end()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self) -> None:
        self.thaw()
        send(self.stop_signal, [self.pid])
        try:
            self._wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(STOP_SECONDS)
        reaper().forget(self._process.pid)
        self._process = None

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                log = self.log
                self.stop()
                raise RuntimeError(f"{type(self).__name__} did not start:\n{log}")
            time.sleep(0.005)
