"""How a budget speaks of its coordinator, and of what went wrong with it."""

from __future__ import annotations

from urllib.parse import urlsplit


def address(url: str) -> str:
    """Say where a URL leads, without the user, the password and the options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def reason(error: BaseException) -> str:
    """Say what an error is: some have nothing to say of themselves, or keep it out of their `repr`."""
    return f"{type(error).__name__}: {str(error).rstrip('.') or 'no answer in time'}"
