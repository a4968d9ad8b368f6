"""What a pool does over time, as its options say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policies:
    """The options that look at a clock or a count; all times in seconds.

    With the defaults nothing is done over time, and the fast path asks for nothing.
    """

    min_size: int = 0
    max_lifetime: float | None = None
    max_uses: int | None = None
    max_idle: float | None = None
    validate_after: float | None = None
    shrink_delay: float = 0
    burst_delay: float = 0

    @property
    def looks_at_entry(self) -> bool:
        """Whether an idle connection is more than popped when it is handed out."""
        return self.max_lifetime is not None or self.validate_after is not None

    @property
    def looks_at_exit(self) -> bool:
        """Whether a returned connection is more than laid by."""
        return self.wears or self.dates

    @property
    def wears(self) -> bool:
        """Whether a connection is retired by age or by uses."""
        return self.max_lifetime is not None or self.max_uses is not None

    @property
    def dates(self) -> bool:
        """Whether it matters since when a connection is idle, surplus or not."""
        return self.max_idle is not None or self.validate_after is not None
