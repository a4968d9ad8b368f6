"""Refusing callers while the queue is too slow to be worth waiting in."""

from __future__ import annotations

from dataclasses import dataclass

from asyncio_connection_pool._seconds import check_positive_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CoDel:
    """A queue policy that looks at nothing but how long callers have waited.

    After an interval in which every hand-over had waited longer than the target, callers
    that have waited over twice the target are refused when their turn comes, until nobody
    had to be refused for an interval. So the queue stays short in time, however long the overload,
    and who is served is served soon. After "controlled delay" by Nichols and Jacobson
    (RFC 8289), in the form that servers use for requests.

    Args:
        target: Seconds of waiting that are fine.
        interval: Seconds for which waits have to be longer before anybody is refused.
        observe: Only count who would have been refused (`PoolStats.would_be_rejections`).

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: A time is not above 0, or is not finite.
    """

    target: float = 0.05
    interval: float = 2.0
    observe: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        if type(self.observe) is not bool:
            raise TypeError(f"observe must be True or False, not {self.observe!r}")
        for name in ("target", "interval"):
            check_positive_seconds(name, getattr(self, name))


class Overload:
    """Whether a queue is overloaded, as a `CoDel` policy sees it."""

    def __init__(self, policy: CoDel) -> None:
        """Begin without overload."""
        self.policy = policy
        self.overloaded = False
        self._long_since: float | None = None
        """When the waits began to be long."""
        self._refused_at = 0.0
        """When a caller was last refused, or the overload began."""

    def relax(self) -> None:
        """Take note that nobody waits: whoever comes next need not."""
        self._long_since = None

    def refuses(self, waited: float, now: float) -> bool:
        """Take note of a caller whose turn it is, and say whether it has waited too long.

        Args:
            waited: Its seconds in the queue.
            now: The time.
        """
        self._look_for_the_end(now)
        if waited <= self.policy.target:
            self.relax()
            return False
        if self._long_since is None:
            self._long_since = now
        elif not self.overloaded and now - self._long_since >= self.policy.interval:
            self.overloaded = True
            self._refused_at = now
        if not self.overloaded or waited <= 2 * self.policy.target:
            return False
        self._refused_at = now
        return True

    def _look_for_the_end(self, now: float) -> None:
        if self.overloaded and now - self._refused_at >= self.policy.interval:
            self.overloaded = False
            self.relax()
