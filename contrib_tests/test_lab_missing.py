"""Without the extra `lab` all is plain, plots are SVGs, and who asks for another is told what to install."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from asyncio_connection_pool.lab import _screen
from asyncio_connection_pool.lab._cli import main
from asyncio_connection_pool.lab._plot import Line, draw
from asyncio_connection_pool.lab._progress import Progress


@pytest.fixture(autouse=True)
def missing(monkeypatch):
    """Neither library can be imported, whether it is installed or not."""
    for name in ("_rich", "_matplotlib"):
        monkeypatch.delitem(sys.modules, f"asyncio_connection_pool.lab.{name}", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] in {"rich", "matplotlib"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_who_asks_for_another_plot_is_told_what_to_install(ending, capsys):
    assert main(["advise", "shop.jsonl", "--plot", f"waits.{ending}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"asyncio_connection_pool: waits.{ending} needs matplotlib, without which a plot is a .svg: "
        "pip install asyncio-connection-pool[lab]\n"
    )


def test_an_svg_is_drawn_by_hand(tmp_path):
    plot = tmp_path / "waits.svg"
    draw(plot, "Waits", "max_size", "ms", [Line("p99", [(1, 1)])])
    assert "<polyline" in plot.read_text(encoding="utf-8")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_sent_what_a_file_is(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with redirect_stdout(Terminal()) as terminal, redirect_stderr(terminal):
        _screen.table(["size"], [["5"]], ["5"])
        _screen.cells("██░░")
        assert type(_screen.progress()) is Progress
    assert terminal.getvalue() == "size\n----\n   5\n██░░\n"


def test_neither_library_is_imported_where_nobody_sees_it():
    program = (
        "import sys; from asyncio_connection_pool.lab._cli import main; main([]); "
        "print(sys.modules.keys() & {'rich', 'matplotlib'}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stderr == "set()\n"
