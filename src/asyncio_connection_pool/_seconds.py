"""Times in the options of policies."""

from __future__ import annotations

import sys


def check_positive_seconds(name: str, value: object) -> None:
    """Check a time that has to pass.

    Raises:
        TypeError: It is no number.
        ValueError: It is not above 0, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not 0 < value <= sys.float_info.max:
        raise ValueError(f"{name} must be finite and more than 0 seconds, not {value!r}")
