"""How much work the pool makes for what its callers do: bytecode instructions, calls and bytes.

Counted, not timed, so that it comes out the same on any machine; it depends on the minor version of Python alone.
`work_count.toml` has what is expected. `python tests/work_counting.py` shows what is, and with ``--write`` makes that
the expectation of the interpreter that runs it.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import sysconfig
import tomllib
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy

TABLE = Path(__file__).with_name("work_count.toml")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

STDLIB = sysconfig.get_path("stdlib")
SITE = (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))

WARM_UP = 50
ROUNDS = 50
HEADER = "# Written by work_counting.py: the work of one round of each scenario there, by version of Python."

Work = dict[str, float]
"""Of one round: instructions, calls, and the bytes that it takes when it takes most."""
Build = Callable[..., ConnectionPool[Any]]


def counts(code: CodeType) -> bool:
    """Say whether it is the pool's work: not what is written here, and not what Python brings."""
    name = code.co_filename
    return name != __file__ and not name.startswith("<") and (name.startswith(SITE) or not name.startswith(STDLIB))


class Counter:
    """Instructions and calls, from one moment to another."""

    def __init__(self) -> None:
        self.instructions = 0
        self.calls = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is done inside the block."""
        watch = self._monitor() if sys.version_info >= (3, 12) else self._trace()
        with watch:
            yield

    @contextmanager
    def _monitor(self) -> Iterator[None]:
        monitoring = sys.monitoring
        event, tool = monitoring.events, next(i for i in range(6) if monitoring.get_tool(i) is None)

        def instruction(code: CodeType, offset: int) -> object:
            if not counts(code):
                return monitoring.DISABLE
            self.instructions += 1
            return None

        def call(code: CodeType, *args: object) -> object:
            if not counts(code):
                return monitoring.DISABLE
            self.calls += 1
            return None

        monitoring.use_tool_id(tool, __name__)
        monitoring.register_callback(tool, event.INSTRUCTION, instruction)
        monitoring.register_callback(tool, event.CALL, call)
        monitoring.restart_events()
        monitoring.set_events(tool, event.INSTRUCTION | event.CALL)
        try:
            yield
        finally:
            monitoring.set_events(tool, event.NO_EVENTS)
            monitoring.free_tool_id(tool)

    @contextmanager
    def _trace(self) -> Iterator[None]:
        def trace(frame: Any, event: str, argument: object) -> Any:
            if not counts(frame.f_code):
                return None
            frame.f_trace_opcodes = True
            self.instructions += event == "opcode"
            return trace

        def profile(frame: Any, event: str, argument: object) -> None:
            caller = frame if event == "c_call" else frame.f_back if event == "call" else None
            self.calls += caller is not None and counts(caller.f_code)

        before = sys.gettrace(), sys.getprofile()
        sys.setprofile(profile)
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(before[0])
            sys.setprofile(before[1])


class Strategy(ConnectionStrategy[object]):
    """Opens connections to nowhere, at once."""

    async def create_connection(self) -> object:
        return object()

    def connection_is_closed(self, conn: object) -> bool:
        return False

    async def close_connection(self, conn: object) -> None:
        pass


class Bench:
    """A pool, and callers that are stepped by hand where the event loop has no part in what is counted."""

    def __init__(self, build: Build, **options: Any) -> None:
        self.pool = build(strategy=Strategy(), **options)

    def enter(self) -> tuple[Any, Any]:
        """Enter a block; return its lease, and what is left to run if it waits."""
        lease = self.pool.get_connection()
        entry = lease.__aenter__()
        try:
            entry.send(None)
        except StopIteration:
            return lease, None
        return lease, entry

    async def open(self) -> Any:
        """Enter a block for which a connection has to be opened."""
        lease, entry = self.enter()
        await tick()
        finish(entry)
        return lease


async def tick() -> None:
    """Let the pool's tasks run to their end."""
    for _ in range(4):
        await asyncio.sleep(0)


def finish(coro: Any) -> None:
    """Take the last step of a coroutine."""
    try:
        coro.send(None)
    except StopIteration:
        return
    raise AssertionError("it gave control to the loop")


def leave(lease: Any) -> None:
    """Leave a block without waiting."""
    finish(lease.__aexit__(None, None, None))


def cancel(coro: Any) -> None:
    """Cancel a coroutine that waits."""
    try:
        coro.throw(asyncio.CancelledError())
    except asyncio.CancelledError:
        return
    raise AssertionError("it swallowed the cancellation")


# Each scenario goes round for ever, and yields twice a round: when it is half-way, and when it is back.


async def acquire_and_release(build: Build) -> AsyncIterator[None]:
    """Take an idle connection, and give it back."""
    bench = Bench(build, max_size=1)
    leave(await bench.open())
    while True:
        lease, _ = bench.enter()
        yield
        leave(lease)
        yield


async def queue_and_hand_over(build: Build) -> AsyncIterator[None]:
    """Queue up, get the connection from the one before, and take it."""
    bench = Bench(build, max_size=1)
    holder = await bench.open()
    while True:
        lease, entry = bench.enter()
        yield
        leave(holder)
        finish(entry)
        holder = lease
        yield


async def queue_and_cancel(build: Build) -> AsyncIterator[None]:
    """Queue up behind others, and give up."""
    bench = Bench(build, max_size=1)
    _kept = [await bench.open(), *(bench.enter() for _ in range(WARM_UP))]
    while True:
        _, entry = bench.enter()
        yield
        cancel(entry)
        yield


async def open_and_close(build: Build) -> AsyncIterator[None]:
    """Have a connection opened, use it, and have it closed, since it is surplus."""
    bench = Bench(build, max_size=0, burst_limit=1)
    while True:
        lease = await bench.open()
        yield
        await lease.__aexit__(None, None, None)
        await tick()
        yield


SCENARIOS: Mapping[str, Callable[[Build], AsyncIterator[None]]] = {
    "acquire and release": acquire_and_release,
    "queue and hand over": queue_and_hand_over,
    "queue and cancel": queue_and_cancel,
    "open and close": open_and_close,
}


def count(name: str, build: Build = ConnectionPool) -> Work:
    """Count the work of one round of a scenario, in a plain event loop."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop, debug=False) as runner:
        return runner.run(_count(SCENARIOS[name](build)))


async def _count(rounds: AsyncIterator[None]) -> Work:
    await _go(rounds, WARM_UP)
    counter = Counter()
    with counter.counting():
        await _go(rounds, ROUNDS)
    return {
        "instructions": counter.instructions / ROUNDS,
        "calls": counter.calls / ROUNDS,
        "bytes": await _bytes(rounds),
    }


def growth(name: str, rounds: int, build: Build = ConnectionPool) -> int:
    """Count the blocks of memory that so many rounds leave behind."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop, debug=False) as runner:
        return runner.run(_growth(SCENARIOS[name](build), rounds))


async def _growth(cycles: AsyncIterator[None], rounds: int) -> int:
    await _go(cycles, WARM_UP)
    gc.collect()
    before = sys.getallocatedblocks()
    await _go(cycles, rounds)
    gc.collect()
    return sys.getallocatedblocks() - before


async def _go(rounds: AsyncIterator[None], number: int) -> None:
    for _ in range(2 * number):
        await anext(rounds)


async def _bytes(rounds: AsyncIterator[None]) -> float:
    """Weigh what a round takes when it takes most: the median, since a table may grow now and then."""
    taken = []
    with _undisturbed():
        for _ in range(ROUNDS):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            await _go(rounds, 1)
            taken.append(tracemalloc.get_traced_memory()[1] - before)
    return statistics.median(taken)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Trace memory, with neither coverage nor the garbage collector about."""
    gc.collect()
    gc.disable()
    before = sys.gettrace()
    sys.settrace(None)
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        sys.settrace(before)
        gc.enable()


def expected() -> Mapping[str, Mapping[str, Work]]:
    """Read the table: by version, scenario and kind of work."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def write(counted: Mapping[str, Work]) -> None:
    """Make what was counted the expectation for this interpreter."""
    table = {**expected(), VERSION: counted}
    lines = [HEADER]
    for version in sorted(table, key=lambda name: int(name.partition(".")[2])):
        for name, work in table[version].items():
            cells = ", ".join(f"{kind} = {number:g}" for kind, number in work.items())
            lines.append(f'"{version}"."{name}" = {{ {cells} }}')
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    counted = {name: count(name) for name in SCENARIOS}
    for name, work in counted.items():
        print(f"{name:20}", ", ".join(f"{number:g} {kind}" for kind, number in work.items()))
    if "--write" in sys.argv[1:]:
        write(counted)
