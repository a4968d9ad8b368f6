"""A coordinator's script does what the model says, message for message."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from asyncio_connection_pool.contrib._budget_protocol import Reply, Request
from coordinator import Coordinator

START = 1_000_000_000.0
LEASE = 8.0
PATIENCE = 32.0
MESSAGES = 250

Send = Callable[[Request, float, str], Awaitable[Reply]]
"""Hands a message to the script, as if it were that time, and the server's run had that name."""


class Traffic:
    """Members that say what comes to their minds: what they have and want, late, twice, or as if they were new."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.limit = self.random.choice([3, 10, 30])
        self.seqs: dict[str, int] = {}
        self.sent: list[Request] = []

    def next(self) -> Request:
        draw = self.random
        if self.sent and draw.random() < 0.1:
            return draw.choice(self.sent[-5:])
        name = draw.choice("abcde")
        seq = self.seqs[name] = self.seqs.get(name, 0) + 1
        kept = draw.choice([0, 0, 1, 2, 5])
        request = Request(
            member=name,
            label=f"{name} of pool {seq}",
            seq=seq,
            known=draw.random() < 0.5,
            limit=self.limit + (draw.random() < 0.02),
            lease_time=LEASE,
            reservation_time=PATIENCE,
            firm=draw.choice([0, 1, 1, 2, self.limit]),
            kept=kept,
            want=kept + draw.choice([0, 0, 1, 3]),
        )
        self.sent.append(request)
        return request


async def compare(send: Send, seed: int) -> None:
    """Send the same messages to both, and compare each answer."""
    traffic, model = Traffic(seed), Coordinator()
    now, run = START, 0
    for number in range(MESSAGES):
        now += traffic.random.choice([0, 0, 0.25, 0.5, 1, LEASE / 4, LEASE, PATIENCE])
        if traffic.random.random() < 0.03:
            run += 1
            model.restart()
        request = traffic.next()
        model._line = request.member.__eq__  # who sends has a line
        said, expected = await send(request, now, f"run{run}"), model.sync(request, now)
        assert said == expected, f"seed {seed}, message {number}: {said} != {expected} to {request}"
