"""Run the Python code of a Markdown file, as a reader would who types it in from top to bottom.

All blocks of a file share one namespace and one event loop, in which a block may ``await`` at the top level. A
block without an ``await`` runs with no loop, so that it may call `asyncio.run`.

A block that needs a server says so on the line above it, ``<!-- requires: redis -->``. It runs only where that
server is at hand, and everywhere else it is compiled, so that at least it is Python.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"^(?:<!--\s*requires:\s*(?P<needs>[\w, -]+?)\s*-->\n+)?```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One block of code, and the servers that it needs."""

    code: str
    line: int
    needs: frozenset[str]

    def compile(self, path: Path):
        """Compile the block so that a traceback points into the Markdown file."""
        source = "\n" * (self.line - 1) + self.code
        return compile(source, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def blocks(path: Path) -> list[Block]:
    """Find the Python blocks of a file."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(
            match["code"],
            text.count("\n", 0, match.start("code")) + 1,
            frozenset(re.split(r"[\s,]+", match["needs"])) if match["needs"] else frozenset(),
        )
        for match in BLOCK.finditer(text)
    ]


def files(root: Path) -> list[Path]:
    """List the files whose code is executed."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def links(path: Path) -> list[tuple[str, str]]:
    """List the links of a file inside the project: the file that is meant, empty for itself, and the anchor."""
    targets = re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", path.read_text(encoding="utf-8"))
    return [(target, anchor) for target, anchor in targets if "://" not in target]


def anchors(path: Path) -> set[str]:
    """List the anchors of a file's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def run(
    path: Path,
    *,
    servers: Collection[str] = (),
    addresses: Mapping[str, str] | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> dict[str, object]:
    """Run a file's blocks in order, and return the namespace that they leave.

    Args:
        path: The Markdown file.
        servers: What is at hand; blocks that need something else are compiled only.
        addresses: What the reader would replace in the code, and what it is here, such as a server's address.
        loop_factory: Makes the loop for blocks with a top-level ``await``.
    """
    namespace: dict[str, object] = {"__name__": "__main__", "__file__": str(path)}
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        for block in blocks(path):
            code = _replace(block, addresses or {}).compile(path)
            if block.needs <= set(servers):
                _execute(code, namespace, runner)
    return namespace


def _replace(block: Block, addresses: Mapping[str, str]) -> Block:
    code = block.code
    for written, here in addresses.items():
        code = code.replace(written, here)
    return Block(code, block.line, block.needs)


def _execute(code, namespace: dict[str, object], runner: asyncio.Runner) -> None:
    if not code.co_flags & inspect.CO_COROUTINE:
        exec(code, namespace)
        return

    async def enter() -> None:
        await eval(code, namespace)

    runner.run(enter())
