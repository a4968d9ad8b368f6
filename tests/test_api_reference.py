"""Every public name has an entry in the API reference, and its docstring says what it takes."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

import source

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / "api.md", ROOT / "docs" / "api-adapters.md"]
ENTRY = re.compile(r"^\.\. auto(?:class|exception|function|data):: (?P<name>[\w.]+)$", re.MULTILINE)
WHOLE = re.compile(
    r"^\.\. automodule:: (?P<name>[\w.]+)\n   :members:\n(?P<imported>   :imported-members:)?", re.MULTILINE
)


@cache
def public_modules() -> dict[str, list[str]]:
    """List what each module that a user may import has in its `__all__`, without importing it."""
    found = {}
    for path in sorted(source.FOLDER.rglob("*.py")):
        parts = path.relative_to(source.FOLDER.parent).with_suffix("").parts
        if not any(part.startswith("_") for part in parts[1:] if part != "__init__"):
            name = ".".join(part for part in parts if part != "__init__")
            found[name] = names_of(path)
    return {name: names for name, names in found.items() if names}


def names_of(path: Path) -> list[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def entries() -> set[str]:
    """List what the pages show, by its full name."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    single = {name if "." in name else f"{source.PACKAGE}.{name}" for name in ENTRY.findall(text)}
    whole = {match["name"] for match in WHOLE.finditer(text)}
    return single | {
        f"{module}.{name}" for module, names in public_modules().items() if module in whole for name in names
    }


def test_the_public_modules_are_found():
    """Else the tests below prove nothing."""
    assert {
        "asyncio_connection_pool",
        "asyncio_connection_pool.contrib.redis",
        "asyncio_connection_pool.events",
        "asyncio_connection_pool.lab",
        "asyncio_connection_pool.testing",
        "asyncio_connection_pool.threads",
    } <= set(public_modules())


@pytest.mark.parametrize("module", public_modules())
def test_every_public_name_has_an_entry(module):
    assert {f"{module}.{name}" for name in public_modules()[module]} <= entries()


@cache
def documented() -> dict[str, object]:
    """List the public classes and functions that need no library, and the methods of theirs that are their own."""
    found = {}
    for module in (name for name in public_modules() if ".contrib." not in name):
        for name in public_modules()[module]:
            thing = getattr(import_module(module), name)
            if inspect.isroutine(thing) or inspect.isclass(thing):
                found[f"{module}.{name}"] = thing
            if inspect.isclass(thing):
                found |= {f"{module}.{name}.{member}": value for member, value in members(thing)}
    return found


def members(cls: type) -> list[tuple[str, object]]:
    own = {name: value for name, value in vars(cls).items() if not name.startswith("_")}
    return [
        (name, getattr(value, "__func__", value))
        for name, value in own.items()
        if inspect.isroutine(value) or isinstance(value, property)
    ]


@pytest.mark.parametrize("name", documented())
def test_every_public_thing_says_what_it_is(name):
    assert inspect.getdoc(documented()[name])


def needs_words(thing: object) -> list[str]:
    """List the arguments whose name and type alone do not tell: several, and what has a default."""
    if isinstance(thing, property) or is_dataclass(thing) or issubclass_of(thing, Exception):
        return []
    given = [a for a in inspect.signature(thing).parameters.values() if a.name not in {"self", "cls", "conn", "args"}]
    return [a.name for a in given if len(given) > 1 or a.default is not inspect.Parameter.empty]


def issubclass_of(thing: object, parent: type) -> bool:
    return inspect.isclass(thing) and issubclass(thing, parent)


@pytest.mark.parametrize("name", documented())
def test_every_argument_is_explained(name):
    thing = documented()[name]
    words = set(re.findall(r"\w+", inspect.getdoc(thing)))
    assert set(needs_words(thing)) <= words


def unexplained(cls: type) -> list[str]:
    """Name the fields of a dataclass that no docstring follows, and that those above it don't speak of."""
    (node,) = ast.parse(inspect.getsource(cls)).body
    above = f"{cls.__doc__} {import_module(cls.__module__).__doc__}"
    return [
        field.target.id
        for field, after in pairwise([*node.body, ast.Pass()])
        if isinstance(field, ast.AnnAssign) and not is_string(after)
        if not re.search(rf"\b{field.target.id}\b", above)
    ]


def is_string(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@pytest.mark.parametrize("cls", [thing for thing in documented().values() if is_dataclass(thing)])
def test_every_field_is_explained(cls):
    assert not unexplained(cls)
