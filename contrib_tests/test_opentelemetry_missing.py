"""Without OpenTelemetry the module says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest


def test_the_error_names_the_extra_for_opentelemetry(monkeypatch):
    for name in [name for name in sys.modules if ".contrib." in name and "opentelemetry" in name]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install asyncio-connection-pool\[opentelemetry\]"):
        importlib.import_module("asyncio_connection_pool.contrib.opentelemetry")
