"""What a forked child does with the pools of its parent: nothing (C11)."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import Any, Protocol


class Forkable(Protocol):
    """Something that has to know when it finds itself in a forked child."""

    def _forget_parent(self) -> object:
        """Forget what belongs to the parent, and return it."""
        ...


_forkables: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_inherited: list[object] = []
"""Connections of the parent. They are kept, since the finalizer of a connection may
say goodbye to a server that still serves the parent."""


def watch(forkable: Forkable) -> None:
    """Tell `forkable` of forks, for as long as somebody else references it."""
    _forkables[id(forkable)] = forkable


def _in_child() -> None:
    _inherited.extend(forkable._forget_parent() for forkable in list(_forkables.values()))


with suppress(AttributeError):  # Windows does not fork
    os.register_at_fork(after_in_child=_in_child)
