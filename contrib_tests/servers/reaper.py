"""End what a test run left behind, whatever ended the run: a small process that outlives its parent.

It is told on its standard input what lives (``+ PID FOLDER``) and what was stopped (``- PID``). The input
ends when the parent does, by SIGKILL too; then what still lives is killed and its folder removed. It needs
no signal of the operating system's own making (such as Linux's PR_SET_PDEATHSIG), nor code between fork and
exec, of which Python warns where there are threads.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return a process and all its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for child, parent in _processes():
        children.setdefault(parent, []).append(child)
    found = [pid]
    for member in found:  # grows as it is walked
        found += children.get(member, [])
    return found


def _processes() -> Iterator[tuple[int, int]]:
    """Yield the id of every process, with its parent's."""
    if not Path("/proc/self/stat").exists():
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
        yield from ((int(pid), int(parent)) for pid, parent in map(str.split, table.splitlines()))
        return
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            stat = (folder / "stat").read_text()
            yield int(folder.name), int(stat.rpartition(")")[2].split()[1])  # the name before ")" may hold anything


def send(signal_number: int, pids: Iterable[int]) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal_number)


class Reaper:
    """The parent's end of the process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True)
        atexit.register(self._end)

    def adopt(self, pid: int, folder: Path) -> None:
        """Ask for the end of a process, and of its folder, should this process end first."""
        self._tell(f"+ {pid} {folder}\n")

    def forget(self, pid: int) -> None:
        """Take that back: the process was ended in good order."""
        self._tell(f"- {pid}\n")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()

    def _end(self) -> None:
        self._process.communicate()  # closes its input


@cache
def reaper() -> Reaper:
    """Return the one of this process, started at the first call."""
    return Reaper()


def main() -> None:
    """Follow the parent to its end, and clean up after it."""
    living: dict[int, str] = {}
    for line in sys.stdin:
        what, pid, *folder = line.rstrip("\n").split(" ", 2)
        if what == "+":
            living[int(pid)] = folder[0]
        else:
            living.pop(int(pid), None)
    for pid, place in living.items():
        send(signal.SIGKILL, family(pid))
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
