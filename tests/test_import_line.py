"""The architecture holds: imports go one way, files and functions stay small.

Each layer of `LINE` may import the layers before it, and none its own. A new module of the core has to be given a place
here. What is imported for type checkers only is free: it never runs.
"""

from __future__ import annotations

import sys

import pytest

import source

LINE = [
    {"_overriding", "_seconds"},
    {"_errors", "_stats", "_slot", "_queue", "_policies", "_codel", "_outage"},
    {"_limits", "_lifetimes"},
    {"_retirement"},
    {"_ledger"},
    {"_holders"},
    {"_strategy", "_observe", "events", "_budget", "_account"},
    {"_journal"},
    {"_options", "_questions", "_tasks", "_fork", "_compat"},
    {"_function_strategy", "threads"},
    {"_context_strategy", "_thread_strategy"},
    {"_closing", "_maintenance"},
    {"_placing"},
    {"_supply"},
    {"_borrowing"},
    {"_lease", "_checkout"},
    {"_observed"},
    {"_parts"},
    {"_binding"},
    {"_pool"},
    {"__init__"},
]
LATE = {"_strategy": {"_function_strategy", "_context_strategy", "_thread_strategy"}}
"""What a constructor imports when it is called: a subclass of the class that it belongs to."""
LONGEST_FILE = 350
LONG_FUNCTION = 20
SHORT_ENOUGH = 0.9


def layer_of(module: str) -> int:
    """Find the place of a module of the core on the line."""
    return next(i for i, layer in enumerate(LINE) if module in layer)


def inner(names: set[str]) -> set[str]:
    """Of the modules that are imported, name those of this package."""
    prefix = source.PACKAGE + "."
    return {"__init__" if name == source.PACKAGE else name.removeprefix(prefix) for name in names if is_inner(name)}


def is_inner(name: str) -> bool:
    return name == source.PACKAGE or name.startswith(source.PACKAGE + ".")


@pytest.mark.parametrize("module", source.core_modules())
def test_every_module_of_the_core_has_a_place_on_the_line(module):
    assert any(module in layer for layer in LINE), "give it a layer in LINE"


@pytest.mark.parametrize("module", source.core_modules())
def test_a_module_imports_only_what_stands_before_it(module):
    allowed = set().union(*LINE[: layer_of(module)]) | LATE.get(module, set())
    assert inner(source.imports(source.core_modules()[module])) <= allowed


@pytest.mark.parametrize("module", source.core_modules())
def test_the_core_imports_nothing_but_the_standard_library(module):
    tops = {name.partition(".")[0] for name in source.imports(source.core_modules()[module])}
    assert tops <= sys.stdlib_module_names | {source.PACKAGE}


@pytest.mark.parametrize("module", ["_ledger", "_retirement", "_limits", "_policies", "_queue", "_slot"])
def test_the_state_machine_knows_no_loop_and_no_clock(module):
    tops = {name.partition(".")[0] for name in source.imports(source.core_modules()[module], for_types=True)}
    assert not tops & {"asyncio", "time", "datetime", "threading", "concurrent"}


def test_contrib_testing_and_the_lab_use_public_names_of_the_core_only():
    for module, path in source.satellites().items():
        names = inner(source.imports(path, for_types=True)) - {"__init__"}
        assert not [name for name in names if name.startswith("_")], module


def test_only_contrib_and_the_lab_import_contrib():
    testing = {name: path for name, path in source.satellites().items() if name.startswith("testing")}
    for module, path in {**source.core_modules(), **testing}.items():
        names = inner(source.imports(path, for_types=True))
        assert not [name for name in names if name.partition(".")[0] == "contrib"], module


def test_nothing_imports_the_lab():
    others = {
        name: path for name, path in source.satellites().items() if name.partition("/")[0] not in {"lab", "__main__"}
    }
    for module, path in {**source.core_modules(), **others}.items():
        names = inner(source.imports(path, for_types=True))
        assert not [name for name in names if name.partition(".")[0] == "lab"], module


@pytest.mark.parametrize("module", source.core_modules() | source.satellites())
def test_no_file_is_long(module):
    path = (source.core_modules() | source.satellites())[module]
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_FILE


def test_most_functions_are_short():
    lengths = {}
    for path in source.core_modules().values():
        lengths |= source.function_lengths(path)
    long = {name: lines for name, lines in lengths.items() if lines >= LONG_FUNCTION}
    assert len(long) <= (1 - SHORT_ENOUGH) * len(lengths), long
