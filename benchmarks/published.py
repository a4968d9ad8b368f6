"""The published asyncio-connection-pool 1.1.1, loaded beside ours under a name of its own.

Both packages import as `asyncio_connection_pool`, so this one cannot be installed: its wheel is fetched with pip once,
checked against the hash below, unpacked into `.cache/`, and imported from there by file.
"""

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from types import ModuleType

REQUIREMENT = "asyncio-connection-pool==1.1.1"
SHA256 = "7377deefc6ae16120b68a0520768936ec83691a79e0a68fabc9c6be732a28a42"
MODULE = "published_pool"
CACHE = Path(__file__).resolve().parent / ".cache"


def folder() -> Path:
    """Return the folder that the package can be imported from, fetching it the first time."""
    unpacked = CACHE / REQUIREMENT
    if not unpacked.exists():
        with zipfile.ZipFile(_wheel()) as wheel:
            wheel.extractall(unpacked)
    return unpacked


@cache
def load() -> ModuleType:
    """Import the package as `published_pool`."""
    init = folder() / "asyncio_connection_pool" / "__init__.py"
    spec = importlib.util.spec_from_file_location(MODULE, init)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {init}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _wheel() -> Path:
    """Download the wheel, and refuse one that is not the file that was measured before."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "--dest", str(CACHE), REQUIREMENT], check=True)
    (wheel,) = CACHE.glob("asyncio_connection_pool-1.1.1-*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        raise ImportError(f"{wheel}: expected SHA-256 {SHA256}, got {digest}")
    return wheel
