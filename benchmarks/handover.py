"""Hand-over: what it costs to give a connection to the next of 100 callers, and to the next of up to 50,000.

A pool of one connection has a queue before it. Its first BATCH callers are served, each of which leaves at once; that
is timed. Then as many new ones queue up, untimed, so that the length stays what it is said to be. Finished tasks are
kept until the clock has stopped, for their end is no part of a hand-over.

50,000 tasks lie in colder memory than 100, which costs whoever implements the pool; how much, "fifo" shows. So a queue
of 100 is measured twice: alone, and as one of 500 such queues, before 500 pools. Then as many tasks wait as in the long
queue, and what differs is its length alone. That is asked of the lower bound, ours and the published pool at once; then
all contenders are compared, one length after the other.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice

from .contenders import WITH_FIFO, Pool, close
from .figures import Budget, Figure, timed
from .measure import Rounds, Spread, interleave, now, settle

ROUNDS = 20
BATCH = 50
BATCHES = 40
SHORT, LONG = 100, 50_000
LENGTHS = (SHORT, 1_000, 10_000, LONG)
FAMILY = ("fifo", "ours", "published")
CASES = {
    "one of 100": (1, SHORT),
    f"one of 100 in {LONG // SHORT} queues": (LONG // SHORT, SHORT),
    "one of 50,000": (1, LONG),
}
"""Name: how many queues, and how long each is."""

LONG_TO_SHORT = Budget("at most", 1.3)
TO_FIFO = Budget("at most", 1.6)


def run() -> Sequence[Figure]:
    """Measure every contender in one event loop."""
    return asyncio.run(_run())


async def _run() -> Sequence[Figure]:
    cases = {f"{name}, {case}": (name, *CASES[case]) for name in FAMILY for case in CASES}
    figures = [*_ratios(await _measure(cases))]
    for length in LENGTHS:
        taken = await _measure({name: (name, 1, length) for name in WITH_FIFO})
        figures += timed(f"hand-over in a queue of {length:,}", taken)
    return figures


async def _measure(cases: Mapping[str, tuple[str, int, int]]) -> Rounds:
    """Build the queues of each label, serve them in turns, and send everybody away."""
    queues = {label: await Queues.of(*case) for label, case in cases.items()}
    taken = await interleave({label: each.serve for label, each in queues.items()}, ROUNDS)
    for each in queues.values():
        await each.end()
    return taken


def _ratios(taken: Rounds) -> Iterator[Figure]:
    """Compare the long queue with both short ones, and ours with the lower bound."""
    alone, among_many, long = CASES
    for short in (alone, among_many):
        for name in FAMILY:
            ratio = Spread.of_ratio(taken[f"{name}, {long}"], taken[f"{name}, {short}"])
            yield Figure(f"{name}, {long} / {short}", "×", ratio, LONG_TO_SHORT if name == "ours" else None)
    for case in CASES:
        ratio = Spread.of_ratio(taken[f"ours, {case}"], taken[f"fifo, {case}"])
        yield Figure(f"ours / fifo, {case}", "×", ratio, TO_FIFO if case == alone else None)


class Queues:
    """The queues of one case, which are served in turns."""

    def __init__(self, queues: Sequence["Queue"]) -> None:
        """Begin with queues that are there already."""
        self._queues = queues
        self._turns = cycle(queues)

    @classmethod
    async def of(cls, name: str, number: int, length: int) -> "Queues":
        """Build so many pools of one contender, and let callers queue up before each."""
        queues = [Queue(await WITH_FIFO[name](1), length) for _ in range(number)]
        for queue in queues:
            await queue.begin()
        return cls(queues)

    async def serve(self) -> float:
        """Return the nanoseconds per hand-over."""
        spent = 0
        for queue in islice(self._turns, BATCHES):
            spent += await queue.serve()
            queue.top_up()
            await settle()
        return spent / (BATCH * BATCHES)

    async def end(self) -> None:
        """Send everybody away."""
        for queue in self._queues:
            await queue.end()


class Queue:
    """Callers of one pool: one holds the connection until it is told to go, the others wait."""

    def __init__(self, pool: Pool, length: int) -> None:
        """Prepare; nobody calls before `begin`."""
        self._pool = pool
        self._length = length
        self._loop = asyncio.get_running_loop()
        self._callers: deque[asyncio.Task[None]] = deque()
        self._until_stop = 1
        self._arrived = self._loop.create_future()
        self._gate = self._loop.create_future()
        self._ended = 0

    async def begin(self) -> None:
        """Let the first caller take the connection and the others queue up."""
        self._call(1)
        await self._arrived
        self._call(self._length)
        await settle()

    async def serve(self) -> int:
        """Return the nanoseconds from the first caller's exit to the arrival of the one BATCH places behind it."""
        self._until_stop = BATCH
        self._arrived = self._loop.create_future()
        began = now()
        self._gate.set_result(None)
        await self._arrived
        return self._ended - began

    def top_up(self) -> None:
        """Forget the callers that were served, and call as often."""
        for _ in range(BATCH):
            self._callers.popleft()
        self._call(BATCH)

    async def end(self) -> None:
        """Serve everybody, and close the pool; to cancel them all is quadratic for some."""
        self._until_stop = len(self._callers) + 1
        self._gate.set_result(None)
        await asyncio.wait(self._callers)
        await close(self._pool)

    def _call(self, count: int) -> None:
        self._callers.extend(self._loop.create_task(self._caller()) for _ in range(count))

    async def _caller(self) -> None:
        async with self._pool.get_connection():
            self._until_stop -= 1
            if not self._until_stop:
                self._ended = now()
                self._gate = self._loop.create_future()
                self._arrived.set_result(None)
                await self._gate
