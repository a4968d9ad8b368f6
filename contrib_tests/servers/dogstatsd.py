"""The end of DogStatsD that an agent has: a UDP socket, and the datagrams that have arrived there."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from typing import Self

PATIENCE_SECONDS = 30.0
METRIC = re.compile(r"(?P<name>[^:|]+):(?P<value>[^|]+)\|(?P<kind>[a-z]+)(\|#(?P<tags>.*))?")
EVENT = re.compile(r"_e\{\d+,\d+\}:(?P<title>[^|]+)\|(?P<text>[^|]*)\|t:(?P<alert>[a-z]+)(\|#(?P<tags>.*))?")


@dataclass(frozen=True)
class Metric:
    """One line: a gauge (``g``) or a count (``c``)."""

    kind: str
    name: str
    value: int
    tags: frozenset[str]


@dataclass(frozen=True)
class Event:
    """One line that is an event."""

    title: str
    text: str
    alert: str
    tags: frozenset[str]


@dataclass
class Arrived:
    """What has arrived, in order."""

    datagrams: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[Metric | Event]:
        return [_parse(line) for datagram in self.datagrams for line in datagram.splitlines()]

    @property
    def metrics(self) -> list[Metric]:
        return [line for line in self.lines if isinstance(line, Metric)]

    @property
    def events(self) -> list[Event]:
        return [line for line in self.lines if isinstance(line, Event)]

    @property
    def gauges(self) -> dict[str, int]:
        """The last value of each gauge."""
        return {metric.name: metric.value for metric in self.metrics if metric.kind == "g"}

    def values(self, name: str) -> list[int]:
        return [metric.value for metric in self.metrics if metric.name == name]

    def count(self, name: str, tag: str) -> int:
        """The sum of a counter, of what has this tag."""
        found = (m for m in self.metrics if (m.kind, m.name) == ("c", name) and tag in m.tags)
        return sum(metric.value for metric in found)


class Receiver:
    """Takes what clients send to `host` and `port`; nobody has to wait for it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE_SECONDS)
        self.host, self.port = self._socket.getsockname()

    def take(self) -> Arrived:
        """Return all that was sent before this call, and not taken yet: up to an empty datagram that we send."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker:
            marker.sendto(b"", (self.host, self.port))
        arrived = Arrived()
        while datagram := self._socket.recv(65_536):
            arrived.datagrams.append(datagram.decode())
        return arrived

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _parse(line: str) -> Metric | Event:
    if match := EVENT.fullmatch(line):
        return Event(match["title"], match["text"], match["alert"], _tags(match["tags"]))
    match = METRIC.fullmatch(line)
    assert match is not None, line
    return Metric(match["kind"], match["name"], int(match["value"]), _tags(match["tags"]))


def _tags(written: str | None) -> frozenset[str]:
    return frozenset(written.split(",")) if written else frozenset()
