"""The installed package's source, parsed, for the tests that hold its shape."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import asyncio_connection_pool

PACKAGE = "asyncio_connection_pool"
FOLDER = Path(asyncio_connection_pool.__file__).parent
CODELESS = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def core_modules() -> dict[str, Path]:
    """Map the name of each private module of the core, and of the façade, to its file."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.stem not in {"testing", "__main__"}}


def satellites() -> dict[str, Path]:
    """Map ``testing``, and each module of ``contrib`` and of the lab, to its file."""
    found = [
        *sorted(FOLDER.glob("testing*.py")),
        *sorted(FOLDER.glob("testing/**/*.py")),
        *sorted(FOLDER.glob("contrib/**/*.py")),
        *sorted(FOLDER.glob("lab/**/*.py")),
        FOLDER / "__main__.py",
    ]
    return {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in found}


def imports(path: Path, *, for_types: bool = False) -> set[str]:
    """Name every module that a file imports, at its top or inside a function.

    Args:
        path: The file.
        for_types: Count what only a type checker imports, too.
    """
    package = [PACKAGE, *path.relative_to(FOLDER).parent.parts]
    names: set[str] = set()
    for node in _walk(ast.parse(path.read_text(encoding="utf-8")), for_types=for_types):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.update(_submodules(module, node))
    return names


def _walk(node: ast.AST, *, for_types: bool) -> Iterator[ast.AST]:
    if not for_types and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, for_types=for_types)


def _submodules(module: str, node: ast.ImportFrom) -> Iterator[str]:
    """``from package import _module`` imports a module too."""
    private = [alias.name for alias in node.names if module == PACKAGE and alias.name.startswith("_")]
    yield from (f"{module}.{name}" for name in private)
    if len(private) < len(node.names):
        yield module


def function_lengths(path: Path) -> dict[str, int]:
    """Count the lines of code of each function: no docstring, no comment, no blank line."""
    text = path.read_text(encoding="utf-8")
    code = _lines_of_code(text)
    lengths: dict[str, int] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = set(range(node.lineno, (node.end_lineno or node.lineno) + 1)) & code
            lengths[f"{path.name}:{node.lineno} {node.name}"] = len(lines - _docstring(node))
    return lengths


def _lines_of_code(text: str) -> set[int]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    spans = (range(t.start[0], t.end[0] + 1) for t in tokens if t.type not in CODELESS)
    return {line for span in spans for line in span}


def _docstring(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[int]:
    if ast.get_docstring(node) is None:
        return set()
    first = node.body[0]
    return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
