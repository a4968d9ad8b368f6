"""Spans that a pool enters and leaves."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Span, Status, StatusCode


class EnteredSpan:
    """A span that ends where it is left, in error where an `Exception` is passing.

    A cancellation or another exit is no error; its name is an attribute of the span all the same.

    Args:
        span: Has been started.
        current: Make it the parent of what is started inside. Only where the block belongs to a task
            of its own, which nobody else leaves.
    """

    __slots__ = ("_current", "_span", "_token")

    _token: Token[Any]

    def __init__(self, span: Span, *, current: bool) -> None:
        self._span = span
        self._current = current

    def __enter__(self) -> Span:
        """Make it current, if it is to be."""
        if self._current:
            self._token = context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it."""
        if self._current:
            context.detach(self._token)
        if exc is not None:
            self._note(exc)
        self._span.end()

    def _note(self, exc: BaseException) -> None:
        self._span.set_attribute("error.type", type(exc).__qualname__)
        if isinstance(exc, Exception):
            self._span.record_exception(exc)
            self._span.set_status(Status(StatusCode.ERROR, f"{type(exc).__name__}: {exc}"))
