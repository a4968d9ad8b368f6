"""Explores schedules: which orders of events, and of the ticks between them, break the contract of a small pool?

A schedule is a list of steps; a step is an event, and for how many ticks the loop runs after it. The state of a pool
can't be copied, so a schedule is always run from the start. `explore` goes through all schedules of one length, or
shorter where nothing more can happen, depth first, and runs each exactly once; `wander` draws long ones at random;
`replay` runs one that somebody has written down.

Callers are alike until they are started, so they are started in one order only. Nothing else is left out.
"""

from __future__ import annotations

import gc
import random
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from exploring_loop import Laboratory
from exploring_world import Config, World

BATCH = 500
"""Schedules between two collections of garbage, where asyncio complains of exceptions that nobody retrieved."""

OF_CALLERS = {"cancel", "discard", "body_ends", "body_raises", "body_times_out"}
"""Events that happen to a caller, by its number."""


class Step(NamedTuple):
    verb: str
    which: int = 0
    ticks: int | None = None
    """None: until nothing is left to do."""

    def __str__(self) -> str:
        return f"{self.verb} {self.which}" + ("" if self.ticks is None else f" +{self.ticks}")


def write(schedule: list[Step]) -> str:
    """Write a schedule down, for people and for `replay`."""
    return "; ".join(map(str, schedule))


def read(text: str) -> list[Step]:
    """Read what `write` wrote."""
    words = [step.split() for step in text.split(";") if step.strip()]
    return [Step(verb, int(which), int(ticks[0][1:]) if ticks else None) for verb, which, *ticks in words]


class ViolationError(AssertionError):
    """A schedule that breaks the contract, and how."""

    def __init__(self, config: Config, schedule: list[Step], what: str) -> None:
        super().__init__(f"{what}\n    replay({config.name!r}, {write(schedule)!r})")
        self.config = config
        self.schedule = schedule
        self.what = what


class Run:
    """One run of one schedule, step by step."""

    def __init__(self, config: Config, laboratory: Laboratory) -> None:
        self.world = World(config, laboratory)
        self.config = config
        self.done: list[Step] = []
        """The steps so far, after those that the configuration begins with."""
        for step in read(config.first):
            self.world.happen(step.verb, step.which)
            self.world.settle(step.ticks)

    def step(self, step: Step, *, check: bool = True) -> int:
        """Let one event happen; the contract need not be checked where an earlier run did so."""
        self.done.append(step)
        world = self.world
        with self._judge():
            world.happen(step.verb, step.which)
            turns = world.settle(step.ticks)
            if check:
                world.check()
        return turns

    def end(self) -> None:
        with self._judge():
            self.world.drain()

    @contextmanager
    def _judge(self) -> Iterator[None]:
        error = None
        try:
            yield
        except Exception as raised:
            error = raised
            where = traceback.extract_tb(error.__traceback__)[-1].line
            self.world.blame(f"{type(error).__name__} at `{where}`: {error}")
        if self.world.blamed:
            what = "; ".join(self.world.blamed)
            self.world.abandon()
            raise ViolationError(self.config, self.done, what) from error


class Choice:
    """One step of the current schedule, and which others have still to be tried in its place."""

    __slots__ = ("at", "events", "limit", "ticks", "turns")

    def __init__(self, events: list[tuple[str, int]], limit: int) -> None:
        self.events = events
        self.limit = limit
        """Numbers of ticks from 0 up that are tried."""
        self.at = 0
        self.ticks: int | None = None
        self.turns = 0
        """Ticks until nothing was left to do: as many or more make no difference."""

    @property
    def step(self) -> Step:
        return Step(*self.events[self.at], self.ticks)

    def advance(self) -> bool:
        """Go on to the next step; false if there is none."""
        ticks = 0 if self.ticks is None else self.ticks + 1
        if ticks < min(self.limit, self.turns):
            self.ticks = ticks
            return True
        self.ticks = None
        self.at += 1
        return self.at < len(self.events)


@dataclass
class Tally:
    """What was explored of one configuration."""

    config: Config
    depth: int
    schedules: int = 0
    events: int = 0
    seconds: float = 0.0
    complete: bool = False
    """Whether all schedules of this depth were run."""
    exhausted: bool = True
    """Whether none could have been longer."""
    violations: list[ViolationError] = field(default_factory=list)


class Explorer:
    """Goes through all schedules of `depth` steps, or of fewer where no event is possible any more."""

    def __init__(self, config: Config, depth: int, laboratory: Laboratory) -> None:
        self.tally = Tally(config, depth)
        self.laboratory = laboratory
        self._choices: list[Choice] = []
        self._fresh = 0
        """How many steps of the next schedule are those of the last one."""

    def run(self, budget: float = float("inf")) -> Tally:
        """Explore until the end, a violation, or `budget` schedules."""
        tally = self.tally
        began = time.perf_counter()
        try:
            while not tally.complete and tally.schedules < budget:
                self._run_one()
                tally.complete = not self._advance()
                if tally.complete or tally.schedules % BATCH == 0:
                    self._collect()
        except ViolationError as violation:
            tally.violations.append(violation)
        tally.seconds += time.perf_counter() - began
        return tally

    def _run_one(self) -> None:
        tally, choices = self.tally, self._choices
        run = Run(tally.config, self.laboratory)
        tally.schedules += 1
        for i in range(tally.depth):
            fresh = i >= self._fresh
            if i == len(choices):
                events = run.world.enabled()
                if not events:
                    break
                last = i == tally.depth - 1
                choices.append(Choice(events, 0 if last else tally.config.ticks))
            choice = choices[i]
            turns = run.step(choice.step, check=fresh)
            if choice.ticks is None:
                choice.turns = turns
        tally.events += len(run.done)
        tally.exhausted = tally.exhausted and len(run.done) < tally.depth
        run.end()

    def _advance(self) -> bool:
        choices = self._choices
        while choices and not choices[-1].advance():
            choices.pop()
        self._fresh = len(choices) - 1
        return bool(choices)

    def _collect(self) -> None:
        gc.collect()
        if self.laboratory.loop.complaints:
            done = [choice.step for choice in self._choices]
            raise ViolationError(self.tally.config, done, f"within the last {BATCH}: {self.laboratory.loop.complaints}")


def deepen(configs: Iterable[Config], target: int, *, depth: int = 2) -> list[Tally]:
    """Explore each configuration to a depth of its own, such that there are at least `target` schedules in all."""
    with Laboratory() as laboratory:
        tallies = [Explorer(config, depth, laboratory).run() for config in configs]
        while sum(tally.schedules for tally in tallies) < target and not any(tally.violations for tally in tallies):
            unfinished = [tally for tally in tallies if not tally.exhausted]
            if not unfinished:
                break
            shallow = min(unfinished, key=lambda tally: tally.schedules)
            deeper = Explorer(shallow.config, shallow.depth + 1, laboratory).run()
            tallies[tallies.index(shallow)] = deeper
        return tallies


def explore(config: Config, depth: int, budget: float = float("inf"), *, plain: bool = False) -> Tally:
    """Explore all schedules of one length, up to `budget` of them."""
    with Laboratory(plain=plain) as laboratory:
        return Explorer(config, depth, laboratory).run(budget)


def wander(config: Config, seed: int, count: int, depth: int, *, plain: bool = False) -> Tally:
    """Run `count` schedules of `depth` steps that a seed determines."""
    tally = Tally(config, depth)
    began = time.perf_counter()
    with Laboratory(plain=plain) as laboratory:
        for number in range(count):
            chance = random.Random(f"{config.name} {seed} {number}")
            try:
                tally.events += _wander(Run(config, laboratory), chance, depth)
                tally.schedules += 1
                if number % BATCH == 0:
                    gc.collect()
            except ViolationError as violation:
                tally.violations.append(violation)
                break
    tally.seconds = time.perf_counter() - began
    return tally


RARE = {"close", "close_within"}
"""Events after which little of interest can happen."""


def _wander(run: Run, chance: random.Random, depth: int) -> int:
    for _ in range(depth):
        events = run.world.enabled()
        if not events:
            break
        verbs = {verb for verb, _ in events}
        verb = chance.choice(sorted(verbs if chance.random() < 0.1 else verbs - RARE or verbs))
        event = chance.choice([event for event in events if event[0] == verb])
        run.step(Step(*event, chance.choice((None, None, None, 0, 1, 2))))
    run.end()
    return len(run.done)


def replay(config: Config, schedule: str | list[Step], *, plain: bool = False) -> list[Step]:
    """Run one schedule, and leave out the steps that are not possible.

    Returns:
        The steps that were.

    Raises:
        ViolationError: It breaks the contract.
    """
    steps = read(schedule) if isinstance(schedule, str) else schedule
    with Laboratory(plain=plain) as laboratory:
        run = Run(config, laboratory)
        for step in steps:
            if step[:2] in run.world.enabled():
                run.step(step)
        run.end()
        return run.done


def shrink(violation: ViolationError, *, plain: bool = False) -> ViolationError:
    """Drop every step, and every tick, without which the contract is broken all the same."""
    smallest = violation
    while (smaller := _shrink_once(smallest, plain=plain)) is not None:
        smallest = smaller
    return smallest


def _shrink_once(violation: ViolationError, *, plain: bool) -> ViolationError | None:
    for candidate in _smaller(violation.schedule):
        try:
            replay(violation.config, candidate, plain=plain)
        except ViolationError as found:
            if _size(found.schedule) < _size(violation.schedule):
                return found
    return None


def _smaller(schedule: list[Step]) -> Iterator[list[Step]]:
    length = len(schedule) // 2
    while length:
        for i in reversed(range(len(schedule) - length + 1)):
            yield schedule[:i] + schedule[i + length :]
        length //= 2
    for i, step in enumerate(schedule):
        if step.verb in {"start", "start_now"}:
            yield _without_caller(schedule, i)
        if step.ticks is not None:
            yield [*schedule[:i], step._replace(ticks=None), *schedule[i + 1 :]]


def _without_caller(schedule: list[Step], start: int) -> list[Step]:
    """Drop a caller, and all that happens to it, and number the later ones anew."""
    number = sum(step.verb.startswith("start") for step in schedule[:start])
    rest = []
    for step in schedule[:start] + schedule[start + 1 :]:
        if step.verb not in OF_CALLERS or step.which < number:
            rest.append(step)
        elif step.which > number:
            rest.append(step._replace(which=step.which - 1))
    return rest


def _size(schedule: list[Step]) -> tuple[int, int]:
    return len(schedule), sum(step.ticks is not None for step in schedule)


def table(tallies: Iterable[Tally]) -> str:
    """Say what was explored, a line for each configuration."""
    rows = [("configuration", "depth", "schedules", "events", "violations", "seconds")]
    rows += [_row(tally.config.name, tally.depth, [tally]) for tally in tallies]
    rows.append(_row("in all", "", tallies))
    return "\n".join(f"{row[0]:44}" + "".join(f"{cell:>12}" for cell in row[1:]) for row in rows)


def _row(name: str, depth: object, tallies: Iterable[Tally]) -> tuple[str, ...]:
    schedules = sum(tally.schedules for tally in tallies)
    events = sum(tally.events for tally in tallies)
    violations = sum(len(tally.violations) for tally in tallies)
    seconds = sum(tally.seconds for tally in tallies)
    return name, str(depth), f"{schedules:,}", f"{events:,}", str(violations), f"{seconds:.1f}"
