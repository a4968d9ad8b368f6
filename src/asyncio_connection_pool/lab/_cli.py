"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from io import TextIOWrapper
from typing import NoReturn

from asyncio_connection_pool.lab import _command_advise, _command_demo, _command_load
from asyncio_connection_pool.lab._people import Complaint

COMMANDS = {"demo": _command_demo, "load": _command_load, "advise": _command_advise}


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong."""
        raise Complaint(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit status: 2 where something can't be done."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no µ gets a question mark
    try:
        options = parser().parse_args(arguments)
        status: int = options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # as a shell reports a process that Ctrl-C has ended
    except Complaint as complaint:
        print(f"asyncio_connection_pool: {' '.join(str(complaint).split())}", file=sys.stderr)
        return 2
    return status


def parser() -> argparse.ArgumentParser:
    """Describe what can be asked for."""
    whole = Parser(prog="python -m asyncio_connection_pool", description="See, measure and size a pool.")
    whole.set_defaults(run=partial(_help, whole))
    commands = whole.add_subparsers(metavar="COMMAND")
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").strip()
        command = commands.add_parser(name, help=text.splitlines()[0], description=text)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return whole


def _help(whole: argparse.ArgumentParser, _: argparse.Namespace) -> int:
    whole.print_help()
    return 0
