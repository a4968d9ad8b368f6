"""What must be true of a world: after each event, whenever nothing is left to do, and at the very end."""

from __future__ import annotations

from exploring_callers import ENDED, ENTERING, INSIDE, LEAVING, UNSTARTED, Caller
from oracle import check, check_settled


def check_step(world) -> None:
    """Hold what is true at every moment."""
    ledger, limit = world.pool._ledger, world.pool._ledger.limit
    taken = len(ledger.slots)
    world.ceiling = max(limit, min(world.ceiling, taken))
    if taken <= limit:
        check(world.pool)
    if taken > world.ceiling or world.strategy.alive > world.ceiling:
        world.blame(f"C1: {taken} slots, {world.strategy.alive} connections at the server, limit {world.ceiling}")
    _check_idle(world, ledger)
    if world.loop.complaints:
        world.blame(f"the loop had to complain: {world.loop.complaints}")
        world.loop.complaints.clear()


def _check_idle(world, ledger) -> None:
    kept = not ledger.idle or ledger.held <= ledger.max_size or world.config.shrink_delay
    if not kept:
        world.blame("C8: a surplus connection idles")
    if ledger.idle and world.pool.closed:
        world.blame("C12: a connection idles though the pool is closed")
    for slot in ledger.idle:
        conn = slot.conn
        if conn.holder is not None or conn.spoilt or conn.closes:
            world.blame(f"C9: {conn} idles though it is held, closed or {conn.spoilt}")
        if not conn.clean:
            world.blame(f"C9: {conn} idles and is not reset")


def check_quiet(world) -> None:
    """Hold what is true whenever nothing is left to do before the next event."""
    waiting: list[Caller] = []
    held = 0
    for caller in world.callers:
        if caller.phase != ENDED:
            _check_caller(world, caller)
            held += caller.phase == INSIDE and not caller.conn.aborted
            if caller.phase == ENTERING:
                waiting.append(caller)
    for caller in waiting:
        _check_waiter(world, caller)
    _check_calls(world)
    _check_counts(world, held, len(waiting))
    _check_timers(world, waiting)


def _check_caller(world, caller) -> None:
    phase = caller.phase
    if caller.cancelled and not (phase == UNSTARTED and caller.task.cancelled()):
        world.blame(f"C10: caller {caller.number} is {phase} though it was cancelled")
    elif phase == LEAVING and not any(op.conn is caller.conn for op in world.strategy.closes):
        world.blame(f"C5: caller {caller.number} cannot leave")


def _check_waiter(world, caller) -> None:
    if not caller.waits or not caller.patient:
        world.blame(f"C6: caller {caller.number} waits for nothing")
    if world.pool.closed:
        world.blame(f"C12: caller {caller.number} waits for a pool that is closed")
    if caller.deadline is not None and caller.deadline <= world.loop.time():
        world.blame(f"caller {caller.number} waits after its time")


def _check_calls(world) -> None:
    """Each connection has its slot or is being closed, and each call of the strategy has its slot."""
    ledger, strategy = world.pool._ledger, world.strategy
    conns = [slot.conn for slot in ledger.slots if hasattr(slot, "conn")]
    opening = len(ledger.slots) - len(conns)
    if len(strategy.creates) != opening:
        world.blame(f"C10: {len(strategy.creates)} creates run, for {opening} slots")
    for what, ops, slots in (
        ("resets", strategy.resets, ledger.resetting),
        ("validations", strategy.validates, ledger.validating),
    ):
        if len(ops) != slots:
            world.blame(f"C10: {len(ops)} {what} run, not {slots}")
    closing = [op.conn for op in strategy.closes]
    for conn in strategy.conns:
        if conn.open and conn not in conns and conn not in closing:
            world.blame(f"C10: {conn} is lost")
    for slot in ledger.slots:
        if slot.state == "closing" and getattr(slot, "conn", closing) not in (closing, *closing):
            world.blame(f"C12: nobody closes {slot.conn}")


def _check_counts(world, held: int, waiting: int) -> None:
    """Count those inside and those that wait, as the ledger does."""
    ledger, config, creates = world.pool._ledger, world.config, len(world.strategy.creates)
    if held != ledger.in_use:
        world.blame(f"C10: {held} hold a connection, not {ledger.in_use}")
    if waiting != ledger.queue.length:
        world.blame(f"C10: {waiting} wait, not {ledger.queue.length}")
    if config.max_waiting is not None and waiting - ledger.opening > config.max_waiting:
        world.blame(f"{waiting} wait with {ledger.opening} opening, max_waiting is {config.max_waiting}")
    if config.max_connecting is not None and creates > config.max_connecting:
        world.blame(f"{creates} creates run at once, max_connecting is {config.max_connecting}")


def _check_timers(world, waiting: list[Caller]) -> None:
    """No timer is armed without need, and none is late (C13)."""
    config, strategy, loop = world.config, world.strategy, world.loop
    if loop.timers:
        needed = len(waiting) * (config.acquire_timeout is not None)
        needed += bool(config.shrink_delay or config.policies)  # one for all that is due over time
        needed += len(strategy.creates + strategy.validates) * (config.connect_timeout is not None)
        needed += len(strategy.closes) * (config.close_timeout is not None)
        needed += sum(closer.timeout is not None and not closer.task.done() for closer in world.closers)
        if loop.timers > needed:
            world.blame(f"C13: {loop.timers} timers are armed, {needed} needed")
    timed = [(strategy.closes, config.close_timeout), (strategy.creates, config.connect_timeout)]
    timed[1:1] = [(strategy.validates, config.connect_timeout)]
    for ops, timeout in timed[: 2 if config.stubborn else 3]:
        if timeout is not None and any(op.since + timeout <= loop.now for op in ops):
            world.blame("a call of the strategy goes on after its time")


def check_at_rest(world) -> None:
    """All have left, and no timer is armed any more."""
    check_settled(world.pool)
    if len(world.pool._ledger.idle) > world.pool.max_size:
        world.blame("C8: surplus connections idle for ever")


def check_capacity(world, crowd) -> None:
    """As many callers as the limit allows are inside at once."""
    inside = sum(caller.phase == INSIDE for caller in crowd)
    if inside != len(crowd):
        world.blame(f"C10: only {inside} of {len(crowd)} slots can be used")


def check_closed(world) -> None:
    """Everything has ended, and nothing is left over."""
    check(world.pool)
    for user in (*world.callers, *world.closers, *world.openers):
        task = user.task
        if not task.done():
            world.blame(f"C10: {task!r} never ends")
        elif not task.cancelled() and task.exception() is not None:
            raise task.exception()
    for caller in world.callers:
        if caller.task.cancelled() != caller.cancelled and not _cancelled_by_strategy(world, caller):
            world.blame(f"C10: caller {caller.number} cancelled: {caller.cancelled}, ended: {caller.task!r}")
    if world.pool._ledger.slots or world.strategy.alive:
        world.blame(f"C12: {world.strategy.alive} connections are left")
    if world.loop.timers or world.loop.running:
        world.blame("C13: a timer or a task outlives close()")
    _check_goodbyes(world)
    _check_errors(world)


def _cancelled_by_strategy(world, caller) -> bool:
    """Whether the caller got a `CancelledError` that the strategy raised of its own."""
    return caller.phase == ENDED and any(error is caller.error for error in world.strategy.raised)


def _check_goodbyes(world) -> None:
    for conn in world.strategy.conns:
        if conn.closes > 1 + conn.interruptions or not (conn.closes or conn.aborted):
            world.blame(f"C7: {conn} was closed {conn.closes} times")


def _check_errors(world) -> None:
    """Each error of a create went to one caller, to those that open the pool, or to the log (C6).

    With `reconnect` it may go to nobody: an outage is told of once.
    """
    for error in world.strategy.raised:
        told = sum(error is other for other in world.delivered) + sum(error is other for other in world.logged)
        told += any(error is other for other in world.told)
        if told != 1 and (told or not world.config.reconnects):
            world.blame(f"C6: {error!r} was told {told} times")
