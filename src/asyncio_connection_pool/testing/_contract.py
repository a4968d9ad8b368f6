"""The part of the contract that is a strategy's, as checks that can be run against its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from asyncio_connection_pool import ConnectionPool, ConnectionStrategy
from asyncio_connection_pool.testing import _arguments
from asyncio_connection_pool.testing._trial import BreachError, Moment, Trial, require

Conn = TypeVar("Conn")
Check = Callable[[Trial[Any]], Awaitable[None]]

BORROWERS: Final = 10
MOST_OPEN: Final = 3


async def check_strategy(
    strategy: ConnectionStrategy[Conn],
    *,
    echo: Callable[[Conn, str], Awaitable[object]] | None = None,
    cut: Callable[[Conn], Awaitable[object]] | None = None,
    count: Callable[[], int | Awaitable[int]] | None = None,
    session: Callable[[Conn], Awaitable[object]] | None = None,
    dirt: Mapping[str, Callable[[Conn], Awaitable[object]]] | None = None,
    patience: float = 5,
) -> list[str]:
    """Check that a strategy keeps its part of the contract, against the server that it connects to.

    It opens, closes, aborts and cancels some hundred connections, one to three at a time. What it can check depends on
    what it is told of the server.

    Args:
        strategy: The strategy, whose server has to be up.
        echo: Has the server send a text back over a connection, and returns it. Without it nobody can tell whether a
            reply reaches the wrong caller.
        cut: Has the server, or somebody between, cut this connection.
        count: How many connections the server sees, from whomever; a plain or a coroutine function, called once at a
            time.
        session: Describes the state of a session at the server; equal for all fresh connections. Goes with `dirt`.
        dirt: Ways to leave a connection in a state that the next user must not find, by name.
        patience: Seconds that anything may take that has to end.

    Returns:
        What was checked, each in words that begin with the clause. Look whether all is there that you expect.

    Raises:
        AssertionError: The strategy breaks the contract. The message begins with the number of the clause.
        TypeError: A pool would refuse this strategy, or an argument can't be used as it will be.
        ValueError: `dirt` was given without `session`, or the other way round, or `patience` is not above 0.
        BaseException: What the strategy raises where all should go well, with a note of what was being checked.
    """
    _arguments.check_strategy_itself(strategy)
    trial = Trial(
        strategy,
        echo=echo and _arguments.asking("echo", echo, "a connection", "a text"),
        cut=cut and _arguments.of_connection("cut", cut),
        count=count and _arguments.counting(count),
        session=session and _arguments.of_connection("session", session),
        dirt=_arguments.dirt(dirt, session),
        patience=_arguments.patience(patience),
    )
    trial.before = await trial.seen()
    tasks = asyncio.all_tasks()
    checked = [title async for title in _run(trial)]
    await _no_task_left(trial, tasks)
    return [*checked, "C13: no task is left over"]


async def _run(trial: Trial[Any]) -> AsyncGenerator[str]:
    for title, check in _checks(trial):
        try:
            await check(trial)
            await trial.all_gone(title.partition(":")[0], "when all was closed")
        except BaseException as error:
            error.add_note(f"while checking {title!r}")
            raise
        yield title


async def _no_task_left(trial: Trial[Any], before: set[asyncio.Task[Any]]) -> None:
    def left() -> list[asyncio.Task[Any]]:
        return list(asyncio.all_tasks() - before)

    try:
        await trial.until(lambda: not left(), "C13: all connections are closed, but tasks are left over")
    except BreachError as error:
        error.add_note(f"one of them, of {len(left())}: {left()[0]!r}")
        raise


def _checks(trial: Trial[Any]) -> Iterator[tuple[str, Check]]:
    """List what can be checked of this strategy."""
    yield "C7: a connection is open until it is closed", _open_and_close
    yield "C9: a connection that nothing happened to is reusable", _reusable
    if trial.count is not None:
        yield "C1: one create_connection is one connection", _one_is_one
    if trial.overrides("abort_connection"):
        yield "C12: an aborted connection is closed, without waiting", _abort
    if trial.overrides("reset_connection"):
        yield "C9: a connection that was reset is fit for use", _reset
    if trial.overrides("validate_connection"):
        yield "C7: validation tells the living from the dead", _validate
    if trial.cut is not None:
        yield "C7: a connection that the server cut is known to be closed", _cut
    yield "C10: a cancelled create_connection leaves nothing half-open", _cancel_create
    yield "C10: a cancelled close_connection can be done again", _cancel_close
    for work in ("reset_connection", "validate_connection"):
        if trial.overrides(work):
            yield f"C10: a cancelled {work} ends", _cancel(work)
    yield "C1: a pool under load keeps its limit", _load
    if trial.echo is not None:
        yield "C9: the reply to a cancelled operation reaches nobody else", _cancel_echo
    if trial.dirt:
        yield "C9: what one user leaves behind the next one does not find", _dirt


async def _open_and_close(trial: Trial[Any]) -> None:
    async with trial.connection() as conn:
        closed = trial.is_closed(conn)
        require(not closed, f"C7: connection_is_closed says that a new connection is closed{trial.raised}")
        await trial.close(conn)
        require(trial.is_closed(conn), "C7: connection_is_closed says that a connection is open which was closed")


async def _reusable(trial: Trial[Any]) -> None:
    async with trial.connection() as conn:
        reusable = trial.is_reusable(conn, None)
        require(reusable, f"C9: connection_is_reusable refuses a connection that nothing happened to{trial.raised}")
        for error in (ValueError(), TimeoutError(), asyncio.CancelledError()):
            trial.is_reusable(conn, error)


async def _one_is_one(trial: Trial[Any]) -> None:
    async with trial.connection():
        seen = await trial.seen()
        require(seen == 1, f"C1: after one create_connection the server sees {seen} connections more")


async def _abort(trial: Trial[Any]) -> None:
    async with trial.connection() as conn:
        trial.abort(conn)
        await trial.until(
            lambda: trial.is_closed(conn), "C12: connection_is_closed says that a connection is open which was aborted"
        )
        await trial.all_gone("C12", "after abort_connection alone")


async def _reset(trial: Trial[Any]) -> None:
    async with trial.connection() as conn:
        for _ in range(2):
            await trial.ends("C9", "reset_connection", trial.work("C9", "reset_connection", conn))
            require(not trial.is_closed(conn), "C9: reset_connection closed the connection")
            require(trial.is_reusable(conn, None), "C9: a connection that was reset is not reusable")


async def _validate(trial: Trial[Any]) -> None:
    async with trial.connection() as conn:
        for _ in range(2):
            await trial.ends("C7", "validate_connection", trial.work("C7", "validate_connection", conn))
            require(not trial.is_closed(conn), "C7: validate_connection closed the connection")
        await trial.close(conn)
        await _finds_dead(trial, conn, "was closed")
    if trial.cut is not None:
        async with trial.connection() as conn:
            await trial.cut(conn)
            await _finds_dead(trial, conn, "the server cut")


async def _finds_dead(trial: Trial[Any], conn: Any, how: str) -> None:
    task = asyncio.ensure_future(trial.work("C7", "validate_connection", conn))
    await trial.ended("C7", f"validate_connection of a connection that {how}", task)
    found = task.cancelled() or task.exception() is not None
    require(found, f"C7: validate_connection raises nothing of a connection that {how}")


async def _cut(trial: Trial[Any]) -> None:
    assert trial.cut is not None
    async with trial.connection() as conn:
        await trial.cut(conn)
        await trial.until(
            lambda: trial.is_closed(conn), "C7: connection_is_closed says that a connection is open which was cut"
        )


async def _cancel_create(trial: Trial[Any]) -> None:
    conns: list[Any] = []

    async def create() -> None:
        conns.append(await trial.create())

    for moment in await trial.moments("C5", "create_connection", create):
        await trial.cancelled_or_done("create_connection", moment, create)
        while conns:
            await _close_all_the_same(trial, conns.pop(), moment)
        await trial.all_gone("C10", f"after a create_connection that was cancelled {moment}")


async def _close_all_the_same(trial: Trial[Any], conn: Any, moment: Moment) -> None:
    """Close what a cancelled `create_connection` has returned, as a pool does."""
    try:
        await trial.close(conn)
    except BreachError:
        raise
    except Exception as error:
        raise BreachError(
            f"C10: create_connection, cancelled {moment}, returned {conn!r} all the same, "
            f"which can't be closed: {error!r}"
        ) from error


async def _cancel_close(trial: Trial[Any]) -> None:
    conn = await trial.open()
    for moment in await trial.moments("C12", "close_connection", partial(trial.destroy, conn)):
        async with trial.connection() as conn:
            await trial.cancelled_or_done("close_connection", moment, partial(trial.destroy, conn))
            if trial.overrides("abort_connection"):
                trial.abort(conn)
        await trial.all_gone("C10", f"after a close_connection that was cancelled {moment}, and done again")


def _cancel(method: str) -> Check:
    """Make the check of a method whose cancellation leads to the connection's end."""

    async def check(trial: Trial[Any]) -> None:
        work = partial(trial.work, "C10", method)
        async with trial.connection() as conn:
            moments = await trial.moments("C10", method, partial(work, conn))
        for moment in moments:
            async with trial.connection() as conn:
                await trial.cancelled_or_done(method, moment, partial(work, conn))

    return check


async def _load(trial: Trial[Any]) -> None:
    async with trial.pool(1, burst_limit=MOST_OPEN) as pool:
        borrowers = [_borrow(trial, pool, n) for n in range(BORROWERS)]
        await trial.ends("C10", f"a load of {BORROWERS} borrowers", _all(borrowers), steps=BORROWERS)


async def _all(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*work)


async def _borrow(trial: Trial[Any], pool: ConnectionPool[Any], number: int) -> None:
    async with pool.get_connection() as conn:
        seen = await trial.seen()
        require(seen <= MOST_OPEN, f"C1: the server sees {seen} connections of a pool that may have {MOST_OPEN}")
        if trial.echo is not None:
            await _own_reply(trial, conn, f"borrower {number}", "under load")


async def _own_reply(trial: Trial[Any], conn: Any, token: str, when: str) -> None:
    assert trial.echo is not None
    reply = await trial.ends("C9", "echo", trial.echo(conn, token))
    require(reply == token, f"C9: {when}, the reply to {token!r} was {reply!r}")


async def _cancel_echo(trial: Trial[Any]) -> None:
    async with trial.pool(1) as pool:
        work = partial(_echo, trial, pool, "first")
        await work()
        for moment in await trial.moments("C9", "echo", work):
            await trial.cancelled("echo", moment, work)
            async with pool.get_connection() as conn:
                await _own_reply(trial, conn, "second", f"after an operation that was cancelled {moment}")


async def _echo(trial: Trial[Any], pool: ConnectionPool[Any], token: str) -> None:
    assert trial.echo is not None
    async with pool.get_connection() as conn:
        await trial.echo(conn, token)


async def _dirt(trial: Trial[Any]) -> None:
    assert trial.session is not None
    for name, spoil in trial.dirt.items():
        async with trial.pool(1) as pool:
            async with pool.get_connection() as conn:
                fresh = await trial.session(conn)
            async with pool.get_connection() as conn:
                await spoil(conn)
            async with pool.get_connection() as conn:
                found = await trial.session(conn)
        require(found == fresh, f"C9: after {name!r} the next user finds {found!r} in the place of {fresh!r}")
