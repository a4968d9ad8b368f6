"""Without aioredis the module says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize("broken", [ImportError, TypeError], ids=["absent", "2.x"])
def test_the_error_names_the_extra(monkeypatch, broken):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "aioredis":
                raise broken

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "aioredis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "asyncio_connection_pool.contrib.aioredis", raising=False)
    with pytest.raises(ImportError, match=r"pip install asyncio-connection-pool\[aioredis\]"):
        importlib.import_module("asyncio_connection_pool.contrib.aioredis")
