"""A thread that serves one connection of a library that blocks.

`ThreadConnection` is what a pool of `ConnectionStrategy.from_blocking_functions` hands out.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, NoReturn, ParamSpec, TypeVar

__all__ = ("ThreadConnection",)

Raw = TypeVar("Raw")
T = TypeVar("T")
P = ParamSpec("P")
log: logging.Logger = logging.getLogger("asyncio_connection_pool")

Job = tuple[Callable[[], Any], "Future[Any]"]
NOTHING: Final[Any] = object()
"""In the place of a connection that was never opened."""


class ThreadConnection(Generic[Raw]):
    """A connection of a library that blocks, and the one thread in which everything is done with it.

    A call whose caller is cancelled runs on to its end. Until then the connection is `busy`, and a pool does not hand
    it out: see `ConnectionStrategy.from_blocking_functions`, which makes these.

    Args:
        create: Opens the connection, when `open()` is called.
        close: Closes it.
        interrupt: Ends the call that runs, where the library can; None: it can't.
    """

    def __init__(
        self,
        create: Callable[[], Raw],
        close: Callable[[Raw], object],
        interrupt: Callable[[Raw], object] | None,
    ) -> None:
        """Start the thread, which has nothing to do yet."""
        self._box: list[Raw] = []
        self._create = create
        self._close = close
        self._interrupt = interrupt
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._unfinished: set[Future[Any]] = set()
        self._callers: set[asyncio.Future[None]] = set()
        self._end: Future[None] | None = Future()  # until there is a thread
        self._process = os.getpid()
        # A daemon, so that a call that never ends does not keep the interpreter from its exit.
        Thread(target=_work, args=(self._jobs,), name=f"connection: {_name(create)}", daemon=True).start()
        self._end = None

    @property
    def busy(self) -> bool:
        """Whether a call runs or waits to, be it one that its caller has given up."""
        return bool(self._unfinished)

    @property
    def closed(self) -> bool:
        """Whether the connection is being closed, or was."""
        return self._end is not None

    @property
    def _inherited(self) -> bool:
        """Whether this is a forked child, which has no such thread, and whose parent goes on using the connection."""
        return self._process != os.getpid()

    @property
    def raw(self) -> Raw:
        """The library's own connection, to be looked at; it is to be used in its thread only, by `call`."""
        return self._box[0]

    async def call(self, function: Callable[Concatenate[Raw, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function(connection, *args, **kwargs)` in the connection's thread, and return what it returns.

        The function gets the library's own connection as its first argument. One call runs at a time, in order. A call
        whose caller is cancelled is dropped if it has not begun, and otherwise runs on.

        Raises:
            TypeError: It is no function, or a coroutine function.
            BaseException: What the function raised.
            ConnectionAbortedError: The connection is closed, or was while the call ran; or this process was forked
                by the one that opened it, and has no such thread.
        """
        _refuse_what_does_not_block(function)
        box = self._box  # the thread is not to keep a connection alive that everybody has forgotten
        return await self._run(lambda: function(box[0], *args, **kwargs))

    if not TYPE_CHECKING:  # pragma: no branch

        def __getattr__(self, name: str) -> Any:
            """Say how to reach what the library's connection has."""
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name!r}: what the connection has is reached in its thread, "
                f"by `await conn.call(lambda raw: raw.{name})`",
                name=name,
                obj=self,
            )

    async def open(self) -> None:
        """Open the connection.

        Raises:
            BaseException: What `create` raised.
        """
        box, create = self._box, self._create
        await self._run(lambda: box.append(create()))

    async def _run(self, work: Callable[[], T]) -> T:
        """Do a piece of work in the thread, with the context variables of the caller."""
        if self.closed:
            raise ConnectionAbortedError(f"{self!r} can't be used any more")
        if self._inherited:
            raise ConnectionAbortedError(f"{self!r} belongs to the process that forked this one: open another one")
        job: Future[T] = Future()
        self._unfinished.add(job)
        job.add_done_callback(self._unfinished.discard)
        self._jobs.put((partial(copy_context().run, work), job))
        try:
            await self._until(job)
        finally:
            job.cancel()
        return job.result()

    async def _until(self, job: Future[Any]) -> None:
        """Wait until a job is done, or the connection is aborted."""
        loop = asyncio.get_running_loop()
        caller: asyncio.Future[None] = loop.create_future()
        job.add_done_callback(lambda _: _tell(loop, caller))
        self._callers.add(caller)
        try:
            await caller
        finally:
            self._callers.discard(caller)

    def abort(self) -> None:
        """Have the thread close the connection, once its running call has ended, and end; wait for nothing."""
        if self._end is not None:
            return
        end: Future[None] = Future()
        self._end = end
        for job in list(self._unfinished):
            job.cancel()  # those that have not begun
        self._break_off()
        self._jobs.put((partial(_empty, self._box, self._close), end))
        self._jobs.put(None)
        for caller in self._callers:
            if not (caller.done() or caller.get_loop().is_closed()):
                caller.set_exception(ConnectionAbortedError(f"{self!r} was closed while the call ran"))

    def _break_off(self) -> None:
        """Have the running call end sooner, where the library can."""
        if self._interrupt is None or not (self.busy and self._box):
            return
        try:
            self._interrupt(self._box[0])
        except Exception:
            log.warning("interrupting %r failed", self, exc_info=True)

    async def close(self, patience: float) -> None:
        """Close the connection, and wait for that.

        Args:
            patience: Seconds after which the thread is left to itself.

        Raises:
            BaseException: What `close` raised.
            TimeoutError: It took longer.
        """
        self.abort()
        end = self._end
        assert end is not None
        try:
            async with asyncio.timeout(patience):
                await self._until(end)
        except TimeoutError:
            raise TimeoutError(f"{self!r} was not closed after {patience:g} s; its thread is left to itself") from None
        end.result()

    def __repr__(self) -> str:
        """Say what it is a connection of, and what it is doing."""
        state = "closed, " * self.closed + ("busy" if self.busy else "idle")
        return f"<{type(self).__name__} of {self._box[0] if self._box else _name(self._create)!r}, {state}>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be doubled."""
        raise TypeError(f"{type(self).__name__} can be neither copied nor pickled: it has a thread")

    def __del__(self) -> None:
        """Have the thread of a connection that was forgotten end."""
        if not (self.closed or self._inherited):
            message = f"{self!r} was not closed"
            self.abort()
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)


def _refuse_what_does_not_block(function: Any) -> None:
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise TypeError(f"call() takes a plain function, which is given the connection, not {function!r}")


def _work(jobs: SimpleQueue[Job | None]) -> None:
    """Do one job after the other; what the thread runs."""
    while (job := jobs.get()) is not None:
        _do(*job)
        del job  # what it refers to is not to live until the next one


def _do(work: Callable[[], Any], job: Future[Any]) -> None:
    if not job.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except StopIteration as error:  # which can't be raised from a coroutine
        job.set_exception(RuntimeError(f"the call raised {error!r}"))
    except BaseException as error:
        job.set_exception(error)
    else:
        job.set_result(result)


def _empty(box: list[Raw], close: Callable[[Raw], object]) -> None:
    """Close the connection, if it was ever opened."""
    if box:
        close(box[0])


def _tell(loop: asyncio.AbstractEventLoop, caller: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_wake, caller)


def _wake(caller: asyncio.Future[None]) -> None:
    if not caller.done():
        caller.set_result(None)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)
