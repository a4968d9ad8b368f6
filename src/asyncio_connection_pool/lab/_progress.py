"""A line that changes in place while something takes its time, where there is a terminal to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, TextIO


class Progress:
    """Writes to a terminal, and nothing to anything else."""

    def __init__(self, stream: TextIO) -> None:
        """Begin with nothing shown."""
        self._stream = stream
        self._shows = stream.isatty()
        self._width = 0

    def show(self, text: str, share: float | None = None) -> None:
        """Replace what is shown; `share` is how much of it is done."""
        if self._shows:
            bar = "" if share is None else f"[{'#' * round(24 * share):.<24}] "
            self._stream.write(f"\r{bar + text:<{self._width}}")
            self._stream.flush()
            self._width = len(bar + text)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wipe it away."""
        self.show("")
        if self._shows:
            self._stream.write("\r")
