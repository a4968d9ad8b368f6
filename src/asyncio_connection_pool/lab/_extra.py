"""What the extra `lab` brings, where it is installed: rich for terminals, matplotlib for plots."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

INSTALL: Final = "pip install asyncio-connection-pool[lab]"


def find(module: str) -> Any:
    """Import the module of the lab that needs a library of the extra; None where that is missing."""
    try:
        return import_module(f"asyncio_connection_pool.lab.{module}")
    except ImportError:
        return None
