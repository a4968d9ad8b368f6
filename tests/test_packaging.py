"""What a user installs: a small, typed surface, and nothing besides."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import asyncio_connection_pool

FOLDER = Path(asyncio_connection_pool.__file__).parent
MOST_NAMES = 15


def test_the_public_surface_is_small():
    assert len(asyncio_connection_pool.__all__) <= MOST_NAMES


def test_all_is_sorted():
    assert list(asyncio_connection_pool.__all__) == sorted(asyncio_connection_pool.__all__)


@pytest.mark.parametrize("name", asyncio_connection_pool.__all__)
def test_a_name_in_all_exists_and_says_that_it_is_public(name):
    thing = getattr(asyncio_connection_pool, name)
    assert getattr(thing, "__module__", "asyncio_connection_pool").startswith("asyncio_connection_pool")


def test_nothing_public_is_left_out_of_all():
    seen = {name for name, thing in vars(asyncio_connection_pool).items() if isinstance(thing, type)}
    assert {name for name in seen if not name.startswith("_")} <= set(asyncio_connection_pool.__all__)


def test_the_package_says_that_it_is_typed():
    assert (FOLDER / "py.typed").is_file()


def test_importing_the_core_imports_no_other_package():
    code = "import sys, asyncio; before = set(sys.modules); import asyncio_connection_pool; "
    code += "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    # -I: neither the current folder nor PYTHON* variables have a say in it.
    out = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True).stdout
    assert set(out.split()) <= sys.stdlib_module_names | {"asyncio_connection_pool"}


def test_the_core_needs_nothing():
    requires = metadata.requires("asyncio-connection-pool") or []
    assert [line for line in requires if "extra ==" not in line] == []


@pytest.mark.skipif("ACP_NO_SKIPS" not in os.environ, reason="run by hand: the package may be an editable install")
def test_what_is_tested_is_the_installed_wheel():
    assert FOLDER.is_relative_to(sys.prefix)
