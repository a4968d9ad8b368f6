"""Whether an object has a method of its own."""

from __future__ import annotations


def overrides(thing: object, base: type[object], method: str) -> bool:
    """Say whether an object has its own method in place of that of `base`, which it need not be derived from."""
    own = getattr(thing, method, None)
    return own is not None and getattr(own, "__func__", own) is not getattr(base, method)
