"""A throw-away Valkey cluster: three masters and a replica of the first, on loopback."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import permutations
from pathlib import Path

import redis

from servers.process import START_SECONDS, free_port
from servers.valkey import Valkey

SLOTS = 16_384
MASTERS = 3


class Node(Valkey):
    """One node."""

    def __init__(self) -> None:
        super().__init__()
        self.bus = free_port()

    def command(self) -> list[str | Path]:
        """Return the command line; no node takes a slow machine for a dead one."""
        cluster = ["--cluster-enabled", "yes", "--cluster-port", str(self.bus), "--cluster-node-timeout", "60000"]
        return [*super().command(), *cluster, "--repl-diskless-sync-delay", "0"]

    def ask(self, *command: str | int) -> str:
        """Have it run a command, and return what it says."""
        with redis.Redis(port=self.port, decode_responses=True) as client:
            client.response_callbacks.clear()
            return str(client.execute_command(*command))

    @property
    def name(self) -> str:
        """What the cluster calls it."""
        return self.ask("CLUSTER", "MYID")

    @property
    def run(self) -> str:
        """The id of the process."""
        return self.ask("INFO", "server").partition("run_id:")[2][:40]


class Cluster:
    """The nodes; the last of them is a replica of the first."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    @property
    def masters(self) -> list[Node]:
        """Those that own slots at first."""
        return self.nodes[:MASTERS]

    @property
    def replica(self) -> Node:
        """Stands by for the first master."""
        return self.nodes[-1]

    def introduce(self) -> None:
        """Give each master a third of the slots, and have all know each other."""
        for number, node in enumerate(self.masters):
            first, after = (SLOTS * end // MASTERS for end in (number, number + 1))
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for one, other in permutations(self.nodes, 2):
            one.ask("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus)
        until(lambda: all(self.nodes[0].name in node.ask("CLUSTER", "NODES") for node in self.nodes))
        self.replica.ask("CLUSTER", "REPLICATE", self.nodes[0].name)
        until(lambda: all("cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes))
        until(lambda: "master_link_status:up" in self.replica.ask("INFO", "replication"))


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what the nodes tell each other."""
    end = time.monotonic() + START_SECONDS
    while not is_so():
        assert time.monotonic() < end, "the cluster does not come to be"
        time.sleep(0.02)


@contextmanager
def start() -> Iterator[Cluster]:
    """Start a cluster; it ends with the ``with`` block."""
    with ExitStack() as stack:
        cluster = Cluster([stack.enter_context(Node().start()) for _ in range(MASTERS + 1)])
        cluster.introduce()
        yield cluster
