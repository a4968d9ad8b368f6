"""A fleet in one thread: processes with event loops of their own, a server, a coordinator, and a bad network.

Each process is a real pool and a real member of a fleet, on an event loop that is stepped by hand. So a process can be
killed or frozen while the others go on, and time is what the world says. What is faked: the coordinator, which is the
model in `coordinator`, the network to it, and the server, which only counts.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import selectors
import threading
from asyncio import events
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy, PoolError
from asyncio_connection_pool.contrib._budget_fleet import FleetBudget, FleetMember, FleetStats
from asyncio_connection_pool.contrib._budget_protocol import Reply, Request
from coordinator import Coordinator

LEASE = 10.0
RESERVATION = 60.0
NOTICED = 0.18 * LEASE
"""Seconds that the server may take to notice that somebody has hung up."""


class NoSelector(selectors.SelectSelector):
    """There is nothing to wait for: the world says when."""

    def select(self, timeout: float | None = None) -> list[Any]:
        return []


class ProcessLoop(asyncio.SelectorEventLoop):
    """An event loop that is stepped from outside."""

    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__(NoSelector())

    def time(self) -> float:
        return self._world.now

    @property
    def next_at(self) -> float:
        """When it has something to do."""
        if self._ready:
            return self._world.now
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        return max(timers[0]._when, self._world.now) if timers else math.inf

    def step(self) -> None:
        """Run one iteration."""
        self._thread_id = threading.get_ident()
        events._set_running_loop(self)
        try:
            self._run_once()
        finally:
            events._set_running_loop(None)
            self._thread_id = None


class Connection:
    """What the server sees."""

    closed = False


class Server(ConnectionStrategy[Connection]):
    """One process's way to the server, which counts half-open connections too."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: set[Connection] = set()

    async def create_connection(self) -> Connection:
        conn = Connection()
        self.seen.add(conn)
        try:
            await asyncio.sleep(self.world.random.expovariate(20))
        except BaseException:
            self._vanish(conn)
            raise
        return conn

    def connection_is_closed(self, conn: Connection) -> bool:
        return conn.closed

    async def close_connection(self, conn: Connection) -> None:
        await asyncio.sleep(self.world.random.expovariate(20))
        conn.closed = True
        self.seen.discard(conn)

    def abort_connection(self, conn: Connection) -> None:
        self._vanish(conn)

    def _vanish(self, conn: Connection) -> None:
        conn.closed = True
        self.world.later(self.world.random.random() * NOTICED, lambda: self.seen.discard(conn))

    def lose_all(self) -> None:
        """The process is dead, and its kernel hangs up."""
        for conn in self.seen:
            self._vanish(conn)


class SimulatedBudget(FleetBudget):
    """Talks to the coordinator over the world's network."""

    def __init__(self, process: Process, **options: Any) -> None:
        times = {"lease_time": LEASE, "reservation_time": RESERVATION}
        super().__init__("fleet", process.world.limit, "the model", **times, **options)
        self.process = process
        self._clock = lambda: process.world.now * process.rate

    async def _send(self, request: Request) -> Reply:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.process.world.transmit(self.process, request, answer)
        return await answer

    async def _hang_up(self) -> None:
        self.process.line = False

    def _forget(self) -> None:
        pass

    async def _inspect(self) -> FleetStats:
        return self.process.world.inspect()


class Process:
    """One member of the fleet, and its workers."""

    def __init__(
        self, world: World, number: int, *, max_size: int, burst_limit: int, workers: int, rate: float
    ) -> None:
        self.world = world
        self.number = number
        self.max_size = max_size
        self.rate = rate
        """How fast its clock runs."""
        self.loop = ProcessLoop(world)
        self.loop.set_exception_handler(lambda _, context: world.complaints.append(context))
        self.server = Server(world)
        self.budget = SimulatedBudget(self)
        shrink_delay = world.random.choice([0, 0, 1, LEASE])
        self.pool: ConnectionPool[Connection] = ConnectionPool(
            strategy=self.server,
            max_size=max_size,
            burst_limit=burst_limit,
            shrink_delay=shrink_delay,
            burst_budget=self.budget,
            name=f"pool-{number}",
        )
        self.alive = True
        self.frozen = False
        self.line = False
        self.cut_since = math.inf
        self.heard_at = 0.0
        """When its last message came."""
        self.excused_at_death = 0
        self.forgotten = False
        """Whether it lost its line while it was frozen, and was not heard since."""
        self.served = 0
        self.done = False
        self.refused: PoolError | None = None
        self.stopping = False
        self.tasks = [self.loop.create_task(self.live(workers))]

    @property
    def member(self) -> str:
        return self.budget._member.name if self.budget._pid else ""

    async def live(self, workers: int) -> None:
        try:
            await self.pool.open()
        except PoolError as error:
            self.refused = error
        else:
            await asyncio.gather(*(self.work() for _ in range(workers)))
        await self.pool.close()
        self.done = True

    async def work(self) -> None:
        draw = self.world.random
        while not self.stopping:
            await asyncio.sleep(draw.choice([0, 0.1, 1, LEASE]) * draw.random())
            try:
                async with self.pool.get_connection(timeout=LEASE) as conn:
                    assert conn in self.server.seen
                    hold = draw.choice([0, 0.05, 0.2, 1, LEASE, 2 * LEASE]) * draw.random()
                    end = self.world.now + hold
                    while self.world.now < end and not conn.closed:
                        await asyncio.sleep(min(0.5, end - self.world.now))
                self.served += 1
            except PoolError:
                pass


class World:
    """Everything, and the time.

    Args:
        seed: Of all chance.
        limit: Connections that the server takes.
        loss: The probability that a message is lost, each way.
        doubt: The probability that a message comes late, or twice.
    """

    def __init__(self, seed: int, limit: int, *, loss: float = 0.02, doubt: float = 0.05) -> None:
        self.random = random.Random(seed)
        random.seed(seed)  # what the pools draw from
        self.now = 0.0
        self.limit = limit
        self.loss = loss
        self.doubt = doubt
        self.processes: list[Process] = []
        self.coordinator = Coordinator(self._line)
        self.coordinator_up = True
        self.lost_memory_at = -math.inf
        self.returned = False
        """Whether a member that was forgotten has come back, and found that its room was lent."""
        self.messages = 0
        self.most = 0
        self.excuses = 0
        self.complaints: list[Any] = []
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()

    # Time.

    def later(self, seconds: float, what: Callable[[], object]) -> None:
        """Have something happen."""
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), what))

    def run(self, seconds: float) -> None:
        """Let time pass, and look at everything after each step."""
        end = self.now + seconds
        while self._step(end):
            self.look()

    def _step(self, end: float) -> bool:
        when, process = min(self._candidates(), key=lambda pair: pair[0], default=(math.inf, None))
        at = self._events[0][0] if self._events else math.inf
        if min(when, at) > end:
            self.now = end
            return False
        if at <= when:
            self.now = max(self.now, at)
            heapq.heappop(self._events)[2]()
        else:
            self.now = when
            process.loop.step()
        return True

    def _candidates(self) -> Iterator[tuple[float, Any]]:
        running = [p for p in self.processes if p.alive and not p.frozen]
        self.random.shuffle(running)
        for process in running:
            yield process.loop.next_at, process

    # The network.

    def transmit(self, process: Process, request: Request, answer: asyncio.Future[Reply]) -> None:
        """Carry a message, or not."""
        self.messages += 1
        if not self.coordinator_up and process.cut_since == math.inf:
            self.later(0.001, lambda: self._deliver(process, answer, ConnectionRefusedError()))
            return
        copies = 2 if self.random.random() < self.doubt else 1
        for _ in range(copies):
            if self.random.random() > self.loss:
                self.later(self._delay(), lambda: self._arrive(process, request, answer))

    def _delay(self) -> float:
        usual = self.random.expovariate(200)
        return usual + (self.random.random() * 2 * LEASE if self.random.random() < self.doubt else 0)

    def _arrive(self, process: Process, request: Request, answer: asyncio.Future[Reply]) -> None:
        if process.cut_since < math.inf or not self.coordinator_up:
            return
        if process.alive and not process.done:
            process.line = True
        self.returned |= self._excused(process) > 0
        process.heard_at = self.now
        reply = self.coordinator.sync(request, self.now)
        process.forgotten = process.forgotten and self._missing(process) > 0
        if self.random.random() > self.loss:
            self.later(self._delay(), lambda: self._deliver(process, answer, reply))

    def _deliver(self, process: Process, answer: asyncio.Future[Reply], what: Reply | Exception) -> None:
        if process.alive and process.cut_since == math.inf:
            process.loop.call_soon(_settle, answer, what)

    def _line(self, member: str) -> bool:
        return any(process.line and process.member == member for process in self.processes)

    # Faults.

    def start(self, **options: Any) -> Process:
        process = Process(self, len(self.processes), **options)
        self.processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        process.excused_at_death = self._excused(process)
        process.alive = process.frozen = False
        process.server.lose_all()

        def hang_up() -> None:
            process.line = False

        if process.cut_since == math.inf:
            self.later(self.random.random(), hang_up)
        else:
            hang_up()

    def freeze(self, process: Process) -> None:
        process.frozen = True

    def thaw(self, process: Process) -> None:
        process.frozen = False

    def cut(self, process: Process, *, noticed: bool) -> None:
        """Cut a process off; the coordinator notices that its line is gone, or not."""
        process.cut_since = self.now
        if noticed:
            process.line = False

    def mend(self, process: Process) -> None:
        process.cut_since = math.inf

    def stop_coordinator(self) -> None:
        self.coordinator_up = False
        for process in self.processes:
            process.line = False

    def start_coordinator(self, *, empty: bool) -> None:
        self.coordinator_up = True
        if empty:
            self.coordinator.lose_memory()
            self.lost_memory_at = self.now
        else:
            self.coordinator.restart()

    # The oracle.

    @property
    def open(self) -> int:
        """What the server sees."""
        return sum(len(process.server.seen) for process in self.processes)

    def look(self) -> None:
        """The invariant: no more than `limit`, but for those of a member that was forgotten while it lived."""
        seen = self.open
        self.most = max(self.most, seen)
        if seen > self.limit:
            excused = sum(map(self._excused, self.processes)) + self._overcommitted
            self.excuses += 1
            assert seen <= self.limit + excused, f"at {self.now:.3f} {seen} of {self.limit}, {excused} excused"
        assert not self.complaints

    @property
    def _overcommitted(self) -> int:
        """How many it has to get back from others since a member has come back that was forgotten."""
        over = max(0, self.coordinator.reserved + self.coordinator.lent - self.limit)
        self.returned = self.returned and over > 0
        return over if self.returned else 0

    def _excused(self, process: Process) -> int:
        """How many connections the coordinator can't know of, by what it says of itself in its docstring."""
        missing = self._missing(process)
        process.forgotten |= process.frozen and not process.line
        if missing <= 0 or process.forgotten:
            return max(0, missing)
        if not process.alive:
            return min(missing, process.excused_at_death)
        lost = self.lost_memory_at > process.heard_at
        over_at = min(process.heard_at + RESERVATION, self.lost_memory_at + LEASE if lost else math.inf)
        return min(missing, process.max_size) if self.now >= over_at else 0

    def _missing(self, process: Process) -> int:
        account = self.coordinator.members.get(process.member)
        return len(process.server.seen) - (account.firm + account.burst if account else 0)

    def inspect(self) -> FleetStats:
        model = self.coordinator
        members = [
            FleetMember(account.label, account.firm, account.burst, account.expires - self.now)
            for account in model.members.values()
        ]
        return FleetStats(model.limit, model.reserved, model.lent, tuple(members))

    def close(self) -> None:
        """End all loops, and what was killed in the middle of something."""
        for process in self.processes:
            process.pool._opened = False  # who was killed closes nothing
            if process.budget._pid:
                process.budget._heart.holdings._of.clear()
            for _ in range(20):
                for task in asyncio.all_tasks(process.loop):
                    task.cancel()
                process.loop.step()
            process.loop.close()


def _settle(answer: asyncio.Future[Reply], what: Reply | Exception) -> None:
    if answer.done():
        return
    if isinstance(what, Exception):
        answer.set_exception(what)
    else:
        answer.set_result(what)
