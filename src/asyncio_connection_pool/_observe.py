"""Observers: those who are told what happens in a pool, and who may put spans around it."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from contextvars import Context
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal

from asyncio_connection_pool._overriding import overrides

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from asyncio_connection_pool import events
    from asyncio_connection_pool._errors import Stage
    from asyncio_connection_pool._pool import ConnectionPool

log = logging.getLogger("asyncio_connection_pool")


class PoolObserver:
    """Told what happens in a pool: override the methods of interest, and pass it in `observers`.

    What is not overridden costs nothing. Counts by state are not told: ask `stats()` of the
    pool for them when they are wanted. Hooks are plain functions and have to be quick, since
    the event loop stands still. One that raises is logged with its traceback, and its
    observer is told nothing any more; the pool goes on.

    One observer may observe several pools: each event names its pool. `on_acquire`,
    `on_release`, `on_timeout` and `on_reject` are told in the step in which they happen (a
    rejection by a `queue_policy` aside), in the context of the caller; the others, in order,
    soon after.
    """

    def on_attach(self, pool: ConnectionPool[Any]) -> None:
        """Take note of a pool that was built with this observer; keep no reference that keeps it alive."""

    def on_detach(self, pool: ConnectionPool[Any]) -> None:
        """Take note that a pool was closed: nothing more will be told of it."""

    def on_acquire(self, event: events.Acquired) -> None:
        """Take note that a caller has got its connection."""

    def on_release(self, event: events.Released) -> None:
        """Take note that a caller has given its connection back."""

    def on_create(self, event: events.Created) -> None:
        """Take note of a connection that was opened."""

    def on_create_failure(self, event: events.CreateFailed) -> None:
        """Take note of a connection that could not be opened."""

    def on_reset(self, event: events.Reset) -> None:
        """Take note of a connection that was brought back to its fresh state."""

    def on_close(self, event: events.Closed) -> None:
        """Take note of a connection that leaves the pool."""

    def on_timeout(self, event: events.TimedOut) -> None:
        """Take note of a caller whose time ran out."""

    def on_reject(self, event: events.Rejected) -> None:
        """Take note of a caller that was refused."""

    def on_burst(self, event: events.Bursting) -> None:
        """Take note of a burst: its beginning, its reaching the limit, its end."""

    def acquiring_span(self, pool: str) -> AbstractContextManager[object] | None:
        """Return what is to be entered around each acquisition, in the caller's context, or None."""

    def waiting_span(self, pool: str) -> AbstractContextManager[object] | None:
        """Return what is to be entered around each wait in the queue, in the caller's context, or None."""

    def opening_span(self, pool: str) -> AbstractContextManager[object] | None:
        """Return what is to be entered around each `create_connection`, in a task of the pool, or None.

        That task has the context of the caller on whose behalf the connection is opened.
        """


HARMLESS: Final = (Exception, CancelledError)
"""What a hook may raise without an effect on the pool."""
HOOKS: Final = tuple(name for name in vars(PoolObserver) if name.startswith("on_") or name.endswith("_span"))
CALLERS_HOOKS: Final = ("on_acquire", "on_release", "acquiring_span", "waiting_span")
"""Those on the way of a caller."""


class Span:
    """What one observer has entered around one thing, and what those before it have."""

    __slots__ = ("_below", "_manager", "_observer", "_observers")

    def __init__(
        self, below: Span | None, observers: Observers, observer: PoolObserver, manager: AbstractContextManager[object]
    ) -> None:
        """Begin with a manager that was entered."""
        self._below = below
        self._observers = observers
        self._observer = observer
        self._manager = manager

    def close(self, exc: BaseException | None = None) -> None:
        """Leave it, and those below; none can swallow `exc`."""
        try:
            if exc is None:
                self._manager.__exit__(None, None, None)
            else:
                self._manager.__exit__(type(exc), exc, exc.__traceback__)
        except HARMLESS as error:
            self._observers.drop(self._observer, error)
        if self._below is not None:
            self._below.close(exc)


class NoSpan(Span):
    """What is around a thing that no observer has entered anything around."""

    __slots__ = ()

    def __init__(self) -> None:
        """Begin with nothing."""

    def close(self, exc: BaseException | None = None) -> None:
        """Do nothing."""


NO_SPAN: Final = NoSpan()


class Observers:
    """The observers of one pool, with their overridden hooks, found once."""

    def __init__(self, pool: str, observers: Iterable[PoolObserver]) -> None:
        """Begin; `pool` is its name."""
        self.pool = pool
        self._hooks: dict[str, tuple[tuple[PoolObserver, Callable[[Any], Any]], ...]] = dict.fromkeys(HOOKS, ())
        """Replaced, never changed: a hook may drop an observer while others are still being told."""
        self._journal: list[tuple[str, object]] = []
        """What is to be told soon: in the midst of a step of the pool a hook could see, or do, harm."""
        self._loop: AbstractEventLoop | None = None
        for observer in observers:
            for name in HOOKS:
                if overrides(observer, PoolObserver, name):
                    self._hooks[name] += ((observer, getattr(observer, name)),)

    def __bool__(self) -> bool:
        """Say whether there is anybody to tell."""
        return any(self._hooks.values())

    def hears_of(self, hook: str) -> bool:
        """Say whether somebody wants to be told of such a thing."""
        return bool(self._hooks[hook])

    @property
    def watch_callers(self) -> bool:
        """Whether somebody wants to know of each acquisition."""
        return any(map(self.hears_of, CALLERS_HOOKS))

    def drop(self, observer: PoolObserver, error: BaseException) -> None:
        """Log what an observer has raised, and tell it nothing any more."""
        known = False
        for name, told in self._hooks.items():
            self._hooks[name] = tuple(entry for entry in told if entry[0] is not observer)
            known = known or len(self._hooks[name]) < len(told)
        if known:
            what = "pool %r: observer %r raised, and is told nothing any more"
            log.error(what, self.pool, observer, exc_info=error)

    def end(self, pool: Any) -> None:
        """Tell what is left to tell, and that the pool is closed; and nothing after that."""
        self.flush()
        self.tell("on_detach", pool)
        self._hooks = dict.fromkeys(HOOKS, ())

    # Telling.

    def tell(self, hook: str, event: object) -> None:
        """Tell at once, where no harm can be done."""
        for observer, told in self._hooks[hook]:
            try:
                told(event)
            except HARMLESS as error:
                self.drop(observer, error)

    def note(self, hook: str, event: object) -> None:
        """Tell soon, when the pool has ended its step."""
        if not self._hooks[hook]:
            return
        self._journal.append((hook, event))
        if len(self._journal) == 1:
            self._flush_soon()

    def bind(self, loop: AbstractEventLoop) -> None:
        """Have a loop in which to tell."""
        self._loop = loop
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._journal and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon(self.flush, context=Context())

    def flush(self) -> None:
        """Tell all that was noted."""
        journal, self._journal = self._journal, []
        for hook, event in journal:
            self.tell(hook, event)

    # Spans.

    def span(self, hook: str) -> Span:
        """Enter what the observers want around something."""
        span: Span = NO_SPAN
        for observer, asked in self._hooks[hook]:
            try:
                manager = asked(self.pool)
                if manager is not None:
                    manager.__enter__()
                    span = Span(None if span is NO_SPAN else span, self, observer, manager)
            except HARMLESS as error:
                self.drop(observer, error)
        return span

    # What the shell has to tell; the rest is told by the ledger and the lease.

    def created(self, seconds: float) -> None:
        """Tell of an open that has yielded a connection after so many seconds."""
        if self._hooks["on_create"]:
            self.note("on_create", _events().Created(self.pool, seconds))

    def create_failed(self, seconds: float, error: BaseException) -> None:
        """Tell of an open that has failed after so many seconds."""
        if self._hooks["on_create_failure"]:
            self.note("on_create_failure", _events().CreateFailed(self.pool, seconds, error))

    def was_reset(self, seconds: float) -> None:
        """Tell of a reset that has brought a connection back after so many seconds."""
        if self._hooks["on_reset"]:
            self.note("on_reset", _events().Reset(self.pool, seconds))

    def timed_out(self, seconds: float, stage: Stage) -> None:
        """Tell of a caller whose time ran out."""
        if self._hooks["on_timeout"]:
            self.tell("on_timeout", _events().TimedOut(self.pool, seconds, stage))

    def rejected(self, by: Literal["max_waiting", "queue_policy"]) -> None:
        """Tell of a caller that was refused."""
        if self._hooks["on_reject"]:
            tell = self.tell if by == "max_waiting" else self.note
            tell("on_reject", _events().Rejected(self.pool, by))


def _events() -> Any:
    """Import the events where somebody is told of one: that takes milliseconds."""
    return import_module("asyncio_connection_pool.events")
