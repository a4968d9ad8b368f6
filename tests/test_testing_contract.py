"""`check_strategy` lets good strategies pass, and says of each broken one which clause it breaks."""

from __future__ import annotations

import asyncio
from functools import cache

import pytest

from asyncio_connection_pool import ConnectionStrategy
from asyncio_connection_pool.testing import FakeStrategy, check_strategy
from scenarios import outcome, run_virtual, virtual


class Line:
    """A connection over which replies come in the order of the requests, a second after each."""

    def __init__(self):
        self.closed = False
        self.requests = []
        self.name = None


class Lines(ConnectionStrategy):
    """A strategy that does everything right, and the server with it. The broken ones each change one thing."""

    def __init__(self):
        self.open = []
        self.closed_once = []

    # What the server does.

    def count(self):
        return len(self.open)

    async def echo(self, line, text):
        line.requests.append(text)
        await asyncio.sleep(1)
        return line.requests.pop(0)

    async def cut(self, line):
        self.forget(line)

    async def session(self, line):
        return line.name

    async def rename(self, line):
        line.name = "renamed"

    async def listen(self, line):
        line.requests.append("listening")

    def forget(self, line):
        line.closed = True
        if line in self.open:
            self.open.remove(line)

    # What the strategy does.

    async def create_connection(self):
        self.open.append(line := Line())
        try:
            await asyncio.sleep(1)
            await asyncio.sleep(1)
        except BaseException:
            self.forget(line)
            raise
        return line

    def connection_is_closed(self, line):
        return line.closed

    async def close_connection(self, line):
        if not line.closed:
            await asyncio.sleep(1)
        self.forget(line)

    def connection_is_reusable(self, line, exc):
        return exc is None and not line.requests

    async def reset_connection(self, line):
        await asyncio.sleep(1)
        line.name = None

    async def validate_connection(self, line):
        await asyncio.sleep(1)
        if line.closed:
            raise OSError("closed")

    def abort_connection(self, line):
        self.forget(line)

    # What is told of it.

    @property
    def whole(self):
        return {
            "echo": self.echo,
            "cut": self.cut,
            "count": self.count,
            "session": self.session,
            "dirt": {"a name": self.rename, "a subscription": self.listen},
        }


async def check(strategy, **options):
    return await check_strategy(strategy, **strategy.whole | options)


@virtual
async def test_a_strategy_that_does_everything_right_passes():
    strategy = Lines()
    checked = await check(strategy)
    assert checked == [
        "C7: a connection is open until it is closed",
        "C9: a connection that nothing happened to is reusable",
        "C1: one create_connection is one connection",
        "C12: an aborted connection is closed, without waiting",
        "C9: a connection that was reset is fit for use",
        "C7: validation tells the living from the dead",
        "C7: a connection that the server cut is known to be closed",
        "C10: a cancelled create_connection leaves nothing half-open",
        "C10: a cancelled close_connection can be done again",
        "C10: a cancelled reset_connection ends",
        "C10: a cancelled validate_connection ends",
        "C1: a pool under load keeps its limit",
        "C9: the reply to a cancelled operation reaches nobody else",
        "C9: what one user leaves behind the next one does not find",
        "C13: no task is left over",
    ]
    assert not strategy.open


@virtual
async def test_what_is_not_told_of_the_server_is_not_checked():
    checked = await check_strategy(FakeStrategy(create=iter(lambda: 1, None), close=iter(lambda: 1, None)))
    assert checked == [
        "C7: a connection is open until it is closed",
        "C9: a connection that nothing happened to is reusable",
        "C10: a cancelled create_connection leaves nothing half-open",
        "C10: a cancelled close_connection can be done again",
        "C1: a pool under load keeps its limit",
        "C13: no task is left over",
    ]


@virtual
async def test_a_strategy_of_functions_and_a_sync_close_passes():
    lines = Lines()
    strategy = ConnectionStrategy.from_functions(
        create=lines.create_connection, is_closed=lines.connection_is_closed, close=lines.forget
    )
    await check_strategy(strategy, count=lines.count)


@virtual
async def test_a_strategy_of_1_x_passes():
    class Old(ConnectionStrategy):
        async def make_connection(self):
            return Line()

        def connection_is_closed(self, line):
            return line.closed or None

        def close_connection(self, line):
            line.closed = True

    await check_strategy(Old())


@virtual
async def test_a_connection_that_refuses_to_be_closed_twice_passes():
    """C7: a pool suppresses what closing a closed connection raises."""

    class Strict(Lines):
        async def close_connection(self, line):
            if line.closed:
                raise OSError("closed already")
            await super().close_connection(line)

    await check(Strict())


@virtual
async def test_a_connection_whose_second_close_finds_the_first_one_cancelled_passes():
    """As `asyncio.StreamWriter.wait_closed()` does: all who wait for the end wait for one future."""

    class Streams(Lines):
        async def close_connection(self, line):
            if not hasattr(line, "end"):
                line.end = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_later(1, self.ended, line)
            await line.end

        def ended(self, line):
            self.forget(line)
            if not line.end.done():
                line.end.set_result(None)

    await check(Streams())


@virtual
async def test_a_strategy_that_only_has_the_methods_passes():
    """A pool takes it as well."""

    class Ducks:
        def __init__(self):
            self.lines = Lines()
            self.make_connection = self.lines.create_connection
            self.connection_is_closed = self.lines.connection_is_closed
            self.close_connection = self.lines.close_connection

    strategy = Ducks()
    await check_strategy(strategy, count=strategy.lines.count)


@virtual
async def test_a_validation_is_checked_without_a_way_to_cut_too():
    assert "C7: validation tells the living from the dead" in await check(Lines(), cut=None)


@virtual
async def test_count_may_be_a_coroutine_function_and_others_may_be_connected():
    async def count():
        return lines.count() + 7

    lines = Lines()
    await check(lines, count=count)


async def never():
    await asyncio.get_running_loop().create_future()


class NotAwaitable(Lines):
    "C5: create_connection must be a coroutine function; it returned <"

    def create_connection(self):
        return Line()


class EndlessCreate(Lines):
    "C5: create_connection did not end within 5 s"

    async def create_connection(self):
        await never()


class BornClosed(Lines):
    "C7: connection_is_closed says that a new connection is closed"

    def connection_is_closed(self, line):
        return True


class RaisingLook(Lines):
    "C7: connection_is_closed says that a new connection is closed: it raised AttributeError('no flag')"

    def connection_is_closed(self, line):
        raise AttributeError("no flag")


class NeverClosed(Lines):
    "C7: connection_is_closed says that a connection is open which was closed"

    def connection_is_closed(self, line):
        return False


class AsyncLook(Lines):
    "C7: connection_is_closed must be a plain function, which answers at once; it returned <coroutine"

    def connection_is_closed(self, line):
        return asyncio.sleep(0, line.closed)


class EndlessClose(Lines):
    "C12: close_connection did not end within 5 s"

    async def close_connection(self, line):
        await never()


class EndlessSecondClose(Lines):
    "C12: close_connection did not end within 5 s"

    async def close_connection(self, line):
        if line.closed:
            await never()
        self.forget(line)


class HalfClose(Lines):
    "C7: when all was closed, the server still sees 1 more than before"

    async def close_connection(self, line):
        line.closed = True


class NeverReusable(Lines):
    "C9: connection_is_reusable refuses a connection that nothing happened to: it raised AttributeError('no flag')"

    def connection_is_reusable(self, line, exc):
        raise AttributeError("no flag")


class AsyncJudgement(Lines):
    "C9: connection_is_reusable must be a plain function, which answers at once; it returned <coroutine"

    def connection_is_reusable(self, line, exc):
        return asyncio.sleep(0, True)


class TwoAtOnce(Lines):
    "C1: after one create_connection the server sees 2 connections more"

    async def create_connection(self):
        line = await super().create_connection()
        line.other = await super().create_connection()
        return line

    def forget(self, line):
        super().forget(line)
        if hasattr(line, "other"):
            super().forget(line.other)


class AsyncAbort(Lines):
    "C12: abort_connection must be a plain function, which answers at once; it returned <coroutine"

    async def abort_connection(self, line):
        self.forget(line)


class IdleAbort(Lines):
    "C12: connection_is_closed says that a connection is open which was aborted, 5 s later"

    def abort_connection(self, line):
        pass


class HalfAbort(Lines):
    "C12: after abort_connection alone, the server still sees 1 more than before"

    def abort_connection(self, line):
        line.closed = True


class ClosingReset(Lines):
    "C9: reset_connection closed the connection"

    async def reset_connection(self, line):
        self.forget(line)


class PlainReset(Lines):
    "C9: reset_connection must be a coroutine function; it returned None"

    def reset_connection(self, line):
        line.name = None


class PlainValidation(Lines):
    "C7: validate_connection must be a coroutine function; it returned None"

    def validate_connection(self, line):
        pass


class SelfCancellingReset(Lines):
    "C9: reset_connection raised CancelledError, though nobody had cancelled it"

    async def reset_connection(self, line):
        raise asyncio.CancelledError


class EndlessReset(Lines):
    "C9: reset_connection did not end within 5 s"

    async def reset_connection(self, line):
        await never()


class SoilingReset(Lines):
    "C9: a connection that was reset is not reusable"

    async def reset_connection(self, line):
        line.requests.append("reset")


class ClosingValidation(Lines):
    "C7: validate_connection closed the connection"

    async def validate_connection(self, line):
        self.forget(line)


class CredulousValidation(Lines):
    "C7: validate_connection raises nothing of a connection that was closed"

    async def validate_connection(self, line):
        await asyncio.sleep(1)


class BlindValidation(Lines):
    "C7: validate_connection raises nothing of a connection that the server cut"

    async def close_connection(self, line):
        await super().close_connection(line)
        self.closed_once.append(line)

    async def validate_connection(self, line):
        if line in self.closed_once:
            raise OSError("closed")


class EndlessValidation(Lines):
    "C7: validate_connection of a connection that was closed did not end within 5 s"

    async def validate_connection(self, line):
        if line.closed:
            await never()


class BlindToCuts(Lines):
    "C7: connection_is_closed says that a connection is open which was cut, 5 s later"

    async def cut(self, line):
        self.open.remove(line)

    async def validate_connection(self, line):
        if line not in self.open:
            raise OSError("closed")


class HalfOpen(Lines):
    "C10: after a create_connection that was cancelled at its wait no. 1, the server still sees 1 more than before"

    async def create_connection(self):
        self.open.append(line := Line())
        await asyncio.sleep(1)
        return line


class HalfOpenInTheLastTick(Lines):
    "C10: after a create_connection that was cancelled as what it waits for comes, at its wait no. 1, the server"

    async def create_connection(self):
        opening = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(1, self.opened, opening)
        return await opening

    def opened(self, opening):
        if not opening.cancelled():
            self.open.append(line := Line())
            opening.set_result(line)


class HalfOpenInTheBackground(Lines):
    "C10: after a create_connection that was cancelled after"

    async def create_connection(self):
        loop = asyncio.get_running_loop()
        began = loop.time()
        opening = asyncio.create_task(super().create_connection())
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if not 0.1 < loop.time() - began < 1.9:
                opening.add_done_callback(lambda task: self.forget(task.result()))
            raise


class CancellationAsError(Lines):
    "C10: create_connection, cancelled at its wait no. 1, raised ConnectionError('broken off') in its place"

    async def create_connection(self):
        try:
            return await super().create_connection()
        except asyncio.CancelledError:
            raise ConnectionError("broken off") from None


class NothingForCancellation(Lines):
    "C10: create_connection, cancelled at its wait no. 1, returned None all the same, which can't be closed: Attribute"

    async def create_connection(self):
        try:
            return await super().create_connection()
        except asyncio.CancelledError:
            return None


class LateAndEndless(Lines):
    "C12: close_connection did not end within 5 s"

    async def create_connection(self):
        try:
            return await super().create_connection()
        except asyncio.CancelledError:
            return None

    async def close_connection(self, line):
        await (never() if line is None else super().close_connection(line))


class UncancellableCreate(Lines):
    "C10: create_connection, cancelled at its wait no. 1, did not end within 5 s"

    async def create_connection(self):
        try:
            return await super().create_connection()
        except asyncio.CancelledError:
            await never()


class CloseOnce(Lines):
    "C10: after a close_connection that was cancelled at its wait no. 1, and done again, the server still sees 1 more"

    abort_connection = ConnectionStrategy.abort_connection

    async def close_connection(self, line):
        if not line.closed:
            line.closed = True
            await asyncio.sleep(1)
            self.forget(line)


class ResetThatHidesCancellation(Lines):
    "C10: reset_connection, cancelled at its wait no. 1, raised OSError('cut') in its place"

    async def reset_connection(self, line):
        try:
            await super().reset_connection(line)
        except asyncio.CancelledError:
            raise OSError("cut") from None


class EarlyClose(Lines):
    "C1: the server sees 6 connections of a pool that may have 3"

    async def close_connection(self, line):
        line.closed = True
        asyncio.get_running_loop().call_later(2.5, self.forget, line)

    async def echo(self, line, text):
        self.closed_once.append(line)
        return await super().echo(line, text)

    def connection_is_reusable(self, line, exc):
        return line not in self.closed_once

    abort_connection = ConnectionStrategy.abort_connection


class MixedUpReplies(Lines):
    "C9: under load, the reply to 'borrower 0' was 'BORROWER 0'"

    async def echo(self, line, text):
        return (await super().echo(line, text)).upper()


class LateReply(Lines):
    "C9: after an operation that was cancelled at its wait no. 2, the reply to 'second' was 'first'"

    def connection_is_reusable(self, line, exc):
        return True

    async def listen(self, line):
        pass


class NoReset(Lines):
    "C9: after 'a name' the next user finds 'renamed' in the place of None"

    async def reset_connection(self, line):
        await asyncio.sleep(1)


class Pinging(Lines):
    "C13: all connections are closed, but tasks are left over, 5 s later"

    async def create_connection(self):
        self.closed_once.append(asyncio.create_task(never()))
        return await super().create_connection()


BROKEN = [thing for thing in Lines.__subclasses__() if thing.__module__ == __name__]


@cache
def breach(broken):
    """Check a broken strategy, once; return what that raises."""
    with pytest.raises(AssertionError) as error:
        run_virtual(check(broken()))
    return error.value


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_strategy_is_told_which_clause_it_breaks(broken):
    assert str(breach(broken)).startswith(broken.__doc__)


def test_each_check_can_fail():
    failed = {note for broken in BROKEN for note in breach(broken).__notes__}
    titles = [*run_virtual(check(Lines()))]
    assert titles.pop() == "C13: no task is left over"
    assert titles.pop(titles.index("C10: a cancelled validate_connection ends")), "by the code of the one for the reset"
    assert {f"while checking {title!r}" for title in titles} <= failed


def test_a_task_that_is_left_over_is_shown():
    (note,) = breach(Pinging).__notes__
    assert note.startswith("one of them, of ")
    assert "coro=<never() running" in note


@virtual
async def test_what_the_strategy_raises_is_raised_with_a_note_of_what_was_being_checked():
    error = OSError("refused")
    assert await outcome(check_strategy(FakeStrategy(create=[error]))) is error
    assert error.__notes__ == ["while checking 'C7: a connection is open until it is closed'"]


@virtual
async def test_patience_is_how_long_anything_may_take():
    error = await outcome(check(EndlessCreate(), patience=100))
    assert "did not end within 100 s" in str(error)
    assert asyncio.get_running_loop().time() == 100


async def two(conn, text):
    return text


@pytest.mark.parametrize(
    "arguments, kind, words",
    [
        ({"strategy": Lines}, TypeError, "strategy must be an instance, not the class Lines: call it"),
        ({"strategy": None}, TypeError, "lacks the method create_connection"),
        ({"echo": 3}, TypeError, "echo must be a function, not 3 of type int"),
        ({"echo": never}, TypeError, "echo is called with a connection and a text, which <function never"),
        ({"cut": two}, TypeError, "cut is called with a connection, which <function two"),
        ({"count": two}, TypeError, "count is called with nothing, which <function two"),
        ({"session": two, "dirt": {}}, TypeError, "session is called with a connection, which <function two"),
        ({"dirt": [never]}, TypeError, "dirt must be a mapping of names to functions, not [<function never"),
        ({"dirt": {"a name": two}}, TypeError, "dirt['a name'] is called with a connection, which <function two"),
        ({"dirt": {}}, ValueError, "session needs dirt"),
        ({"patience": "5"}, TypeError, "patience must be a number of seconds, not '5'"),
        ({"patience": 0}, ValueError, "patience must be finite and more than 0 seconds, not 0"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_before_anything_is_opened(arguments, kind, words):
    lines = Lines()

    async def attempt():
        return await check_strategy(**{"strategy": lines, **lines.whole, **arguments})

    error = run_virtual(outcome(attempt()))
    assert (type(error), lines.open) == (kind, [])
    assert words in str(error)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"echo": lambda conn, text: text}, "echo must be a coroutine function; it returned 'borrower 0'"),
        ({"cut": type}, "cut must be a coroutine function; it returned <class"),
        ({"cut": lambda conn: None}, "cut must be a coroutine function; it returned None"),
        ({"session": lambda conn: "state"}, "session must be a coroutine function; it returned 'state'"),
        ({"dirt": {"a name": lambda conn: 3}}, "dirt['a name'] must be a coroutine function; it returned 3"),
        ({"count": lambda: None}, "count must return a number of connections, not None"),
    ],
)
def test_an_argument_that_answers_wrongly_is_named(arguments, words):
    error = run_virtual(outcome(check(Lines(), **arguments)))
    assert isinstance(error, TypeError)
    assert str(error).startswith(words)


@virtual
async def test_somebody_else_who_leaves_the_server_meanwhile_is_not_taken_for_a_breach_of_the_strategy():
    class Others(Lines):
        others = 7

        def count(self):
            return super().count() + self.others

        async def create_connection(self):
            self.others = 5
            return await super().create_connection()

    error = await outcome(check(Others()))
    assert str(error) == (
        "C7: when all was closed, the server sees 2 fewer than before: nobody else may use it during the check"
    )


@virtual
async def test_a_check_that_is_cancelled_leaves_nothing_behind():
    lines = Lines()
    tasks = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10.5):
            await check(lines)
    await asyncio.sleep(0)
    assert (asyncio.all_tasks(), lines.open) == (tasks, [])


@virtual
async def test_dirt_without_a_session_to_look_at_is_refused():
    error = await outcome(check_strategy(Lines(), dirt={"a name": Lines().rename}))
    assert isinstance(error, ValueError)
    assert "dirt needs session" in str(error)
