"""Waiting for a server to come back, without a herd at its door."""

from __future__ import annotations

from dataclasses import dataclass

from asyncio_connection_pool._seconds import check_positive_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """What to do while connections can't be opened: wait, and try with one.

    Callers then wait up to their own timeout in place of being told of each failure. One
    open at a time is tried, after a random part of a time that doubles from `first` to
    `longest` (exponential backoff with full jitter). Once one succeeds 1, 2, 4, … may run
    at once, up to `max_connecting`.

    Args:
        first: Seconds that the first wait may take at most.
        longest: Seconds that any wait may take at most.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A time is not above 0, or not finite, or `longest` is below `first`.
    """

    first: float = 0.1
    longest: float = 10.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        for name in ("first", "longest"):
            check_positive_seconds(name, getattr(self, name))
        if self.longest < self.first:
            raise ValueError(f"longest must not be below first: longest is {self.longest}, first is {self.first}")


class Recovery:
    """How many opens may run at once after one has failed."""

    def __init__(self, policy: Reconnect) -> None:
        """Begin with a server that is there."""
        self._policy = policy
        self.allowance: int | None = None
        """Opens that may run at once; None: as many as the limits allow."""
        self._failures = 0
        self._probing = False

    def failed(self) -> float | None:
        """Take note of a failure.

        Returns:
            Seconds of which a random part is to be waited before the next open; None if
            that is being waited for already.
        """
        if self.allowance == 0:
            return None
        wait: float = min(self._policy.longest, self._policy.first * 2**self._failures)
        self._failures = min(self._failures + 1, 60)
        self.allowance = 0
        return wait

    def probe(self) -> None:
        """Allow one open, to see whether the server is back."""
        self.allowance = 1
        self._probing = True

    def succeeded(self, enough: int) -> None:
        """Take note of a success: allow twice as many, until that is `enough`."""
        self._failures = 0
        if not self.allowance:
            return
        self.allowance += not self._probing
        self._probing = False
        if self.allowance >= enough:
            self.allowance = None
