"""Without prometheus-client the module says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest


def test_the_error_names_the_extra_for_prometheus(monkeypatch):
    for name in [name for name in sys.modules if ".contrib." in name and "prometheus" in name]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install asyncio-connection-pool\[prometheus\]"):
        importlib.import_module("asyncio_connection_pool.contrib.prometheus")
