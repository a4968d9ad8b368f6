"""A real fleet on a real server, and what is done to it: never more connections than `limit`, whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fleet_process import BROKEN, COUNTERS, READY, SERVED, TIMEOUTS
from fleet_proxy import Proxy

SEEN = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
SLICE = 0.25
"""Seconds over which throughput is measured."""


@asynccontextmanager
async def watching(server: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Connect to a server, and count the other connections that it has."""
    if server.startswith("redis"):
        import redis

        with redis.Redis.from_url(server) as client:

            async def count() -> int:
                return len(client.client_list()) - 1

            yield count
        return
    import asyncpg

    conn = await asyncpg.connect(server)
    yield partial(conn.fetchval, SEEN)
    await conn.close()


@dataclass
class Plan:
    """How large the fleet is."""

    processes: int = 8
    workers: int = 40
    max_size: int = 3
    burst_limit: int = 20
    limit: int = 60
    lease_time: float = 2.0
    query: float = 0.1
    """Seconds that each use of a connection takes the server."""
    shrink_delay: float = 0.2


class Witness(threading.Thread):
    """Asks the server all along how many connections it sees."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server
        self._stop_it = False
        self.samples: list[int] = []

    def run(self) -> None:
        asyncio.run(self._look())

    async def _look(self) -> None:
        async with watching(self._server) as count:
            while not self._stop_it:
                self.samples.append(await count())
                await asyncio.sleep(0.004)

    @property
    def most(self) -> int:
        return max(self.samples)

    def end(self) -> None:
        self._stop_it = True
        self.join()


@dataclass
class Fleet:
    """The processes, the witness, and the way to the coordinator."""

    plan: Plan
    server: str
    coordinator: str
    counters: Path
    witness: Witness
    proxy: Proxy
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    """What was counted in the end."""

    def start(self) -> int:
        """Start one more process."""
        number = len(self.processes)
        orders = {
            **vars(self.plan),
            "number": number,
            "server": self.server,
            "coordinator": self.coordinator,
            "counters": str(self.counters),
        }
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, str(Path(__file__).with_name("fleet_process.py")), json.dumps(orders)]
        self.processes[number] = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
        return number

    def signal(self, number: int, what: int) -> None:
        os.kill(self.processes[number].pid, what)

    def kill(self, number: int) -> None:
        self.signal(number, signal.SIGKILL)
        self.processes[number].wait()

    def count(self, what: int) -> int:
        """Add up a counter of all processes."""
        data = self.counters.read_bytes()
        return sum(struct.unpack_from("q", data, (n * COUNTERS + what) * 8)[0] for n in self.processes)

    def counts(self, number: int, what: int) -> int:
        return struct.unpack_from("q", self.counters.read_bytes(), (number * COUNTERS + what) * 8)[0]

    def wait_until_ready(self, *numbers: int, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not all(self.counts(number, READY) for number in numbers or self.processes):
            assert time.monotonic() < end, "a process did not get its reservation"
            time.sleep(0.02)

    def throughput(self, seconds: float) -> float:
        """Measure uses a second."""
        before, began = self.count(SERVED), time.monotonic()
        time.sleep(seconds)
        return (self.count(SERVED) - before) / (time.monotonic() - began)

    def back_after(self, least: float, seconds: float) -> float:
        """Wait until throughput is at least so much; return how many seconds that took."""
        began = time.monotonic()
        while (took := time.monotonic() - began) < seconds:
            if self.throughput(SLICE) >= least:
                return took
        raise AssertionError(f"throughput is not back at {least:.0f}/s after {seconds} s")

    def stop(self) -> list[int]:
        """End all in good order; return their exit codes."""
        alive = [process for process in self.processes.values() if process.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        return [process.wait(60) for process in alive]

    def tell(self) -> None:
        """Count what has become of everything."""
        counted = {"served": SERVED, "broken": BROKEN, "timeouts": TIMEOUTS}
        self.told = {name: self.count(what) for name, what in counted.items()}
        self.told |= {"samples": len(self.witness.samples), "most": self.witness.most, "limit": self.plan.limit}


@contextmanager
def running(plan: Plan, server: str, coordinator: Any, address: str) -> Iterator[Fleet]:
    """Run a fleet, whose processes reach the coordinator through a proxy; look in the end that none has failed.

    Args:
        plan: Its size.
        server: The address of the one that is used.
        coordinator: The server that coordinates.
        address: Its address, with a placeholder for the port.
    """
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(coordinator.port))
        counters = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "counters"
        counters.write_bytes(bytes(64 * COUNTERS * 8))
        witness = Witness(server)
        witness.start()
        stack.callback(witness.end)
        fleet = Fleet(plan, server, address.format(port=proxy.port), counters, witness, proxy)
        try:
            for _ in range(plan.processes):
                fleet.start()
            fleet.wait_until_ready()
            yield fleet
            assert not any(fleet.stop())
            fleet.tell()
        finally:
            for process in fleet.processes.values():
                if process.poll() is None:
                    process.kill()
                    process.wait()
    assert fleet.witness.most <= plan.limit, fleet.told
