"""What can happen to a world, and to whom or what in it."""

from __future__ import annotations

from exploring_callers import ENDED, INSIDE, Caller, Closer, Opener
from exploring_strategy import Fatal, UnluckyError


class Verb:
    """A kind of event.

    Args:
        can: Lists of a world to whom or what it can happen now.
        do: Lets it happen to one of these.
    """

    def __init__(self, can, do) -> None:
        self.can = can
        self.do = do

    def __set_name__(self, owner, name: str) -> None:
        self.__name__ = name


def _end(ops: str, outcome: str) -> Verb:
    """Ends a call of the strategy; which one: by its place among those that run."""

    def can(world):
        return [i for i, op in enumerate(getattr(world.strategy, ops)) if not op.told]

    return Verb(can, lambda world, which: getattr(world.strategy, ops)[which].tell(outcome))


def _body(make_error) -> Verb:
    """Ends the body of a caller."""

    def can(world):
        return [c.number for c in world.callers if c.phase == INSIDE and not c.body.done() and not c.cancelled]

    def do(world, which):
        if make_error is None:
            world.callers[which].body.set_result(None)
        else:
            world.callers[which].body.set_exception(make_error())

    return Verb(can, do)


def _cut(answer) -> Verb:
    """Lets the server cut a connection that is not being closed, and the client say so in its way when asked."""

    def can(world):
        slots = world.pool._ledger.slots
        return [slot.conn.number for slot in slots if hasattr(slot, "conn") and slot.conn.open and not slot.conn.closes]

    return Verb(can, lambda world, which: world.strategy.cut(world.strategy.conns[which], answer))


def _start(*, patient: bool) -> Verb:
    def can(world):
        return [0] if len(world.callers) < world.config.callers else []

    return Verb(can, lambda world, _: world.callers.append(Caller(world, len(world.callers), patient=patient)))


def _close(timeout: float | None) -> Verb:
    def can(world):
        return [0] if len(world.closers) < 2 else []

    return Verb(can, lambda world, _: world.closers.append(Closer(world, timeout)))


def _can_cancel(world):
    return [c.number for c in world.callers if c.phase != ENDED and not c.cancelled and not c.task.done()]


def _can_discard(world):
    return [c.number for c in world.callers if c.phase == INSIDE and not c.conn.spoilt and not c.conn.aborted]


def _discard(world, which):
    conn = world.callers[which].conn
    conn.spoilt = "it was discarded"
    world.pool.discard(conn)


def _kill(world, which):
    task = world.loop.running[which]
    world.killed.append(task)
    task.cancel()


def _can_kill(world):
    spared = set(world.killed)
    if not world.config.aborts and any(map(_closes, spared)):  # what is cancelled a second time is given up
        spared.update(filter(_closes, world.loop.running))
    return [i for i, task in enumerate(world.loop.running) if task not in spared]


def _closes(task) -> bool:
    return task.get_name().endswith(": close")


def _resize(world, which):
    world.ceiling = max(world.ceiling, which)
    world.pool.max_size = which


def _evict(world, _):
    for slot in world.pool._ledger.slots:
        if hasattr(slot, "conn") and not slot.handed and not slot.conn.spoilt:
            slot.conn.spoilt = "it was evicted"
    world.pool.evict()


def _can_open(world):
    return [0] if len(world.openers) < 2 and not world.pool.closed else []


class Verbs:
    """All kinds of events."""

    start = _start(patient=True)
    start_now = _start(patient=False)
    create_done = _end("creates", "done")
    create_fails = _end("creates", "fails")
    create_cancels = _end("creates", "cancels")
    create_stillborn = _end("creates", "stillborn")
    close_done = _end("closes", "done")
    close_fails = _end("closes", "fails")
    reset_done = _end("resets", "done")
    reset_fails = _end("resets", "fails")
    validate_done = _end("validates", "done")
    validate_fails = _end("validates", "fails")
    body_ends = _body(None)
    body_raises = _body(ValueError)
    body_times_out = _body(TimeoutError)
    discard = Verb(_can_discard, _discard)
    cancel = Verb(_can_cancel, lambda world, which: world.callers[which].cancel())
    kill = Verb(_can_kill, _kill)
    fire = Verb(lambda world: [0] if world.loop.timers else [], lambda world, _: world.loop.fire())
    second = Verb(lambda world: [0], lambda world, _: world.loop.pass_second())
    evict = Verb(lambda world: [] if world.pool.closed else [0], _evict)
    open = Verb(_can_open, lambda world, _: world.openers.append(Opener(world)))
    cut = _cut(answer=True)
    cut_raises = _cut(answer=UnluckyError)
    cut_aborts = _cut(answer=Fatal)
    resize = Verb(lambda world: [n for n in world.config.sizes if n != world.pool.max_size], _resize)
    close = _close(timeout=None)
    close_within = _close(timeout=1.0)
    cancel_close = Verb(
        lambda world: [i for i, c in enumerate(world.closers) if not c.cancelled and not c.task.done()],
        lambda world, which: world.closers[which].cancel(),
    )
