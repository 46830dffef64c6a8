"""The command `duomo`. Each command imports what it needs when it runs.

Exit codes: 0 done, 2 bad usage or input, 3 a dependency is unavailable.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from duomo.cli import improving, learning, models, policies, replaying, service, testing
from duomo.errors import Conflict, Denied, DuomoError, InputError, NotFound, Unavailable

DONE, BAD_INPUT, UNAVAILABLE = 0, 2, 3

Add = Callable[[Callable[[argparse.Namespace], Any], argparse.ArgumentParser], argparse.ArgumentParser]
"""Makes a command of a function: its name, its docstring as help, the options of a parent."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns: the exit code."""
    given = _parser().parse_args(arguments)
    given.arguments = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin for work take it from other processes
    try:
        return int(given.run(given) or DONE)
    except (InputError, NotFound, Conflict, Denied) as error:
        return _refuse(given, error, BAD_INPUT)
    except Unavailable as error:
        return _refuse(given, error, UNAVAILABLE)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _refuse(given: argparse.Namespace, error: DuomoError, code: int) -> int:
    if getattr(given, "json", False):
        print(json.dumps({"error": {"code": error.code, "message": str(error)}}, ensure_ascii=False))
    print(f"duomo {given.command}: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", type=Path, help="where all state lies (default: DUOMO_HOME or ~/.duomo)")
    parser = argparse.ArgumentParser(
        prog="duomo", description="Customer service that understands what people write, say and photograph."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(function: Callable[[argparse.Namespace], Any], parent: argparse.ArgumentParser) -> argparse.ArgumentParser:
        text = (function.__doc__ or "").strip()
        name = function.__name__.replace("_", "-")
        command = commands.add_parser(name, help=text, description=text, parents=[parent])
        command.set_defaults(run=function)
        return command

    service.add_commands(add, common)
    models.add_commands(add, common)
    policies.add_commands(add, common)
    learning.add_commands(add, common)
    improving.add_commands(add, common)
    replaying.add_commands(add, common)
    testing.add_commands(add, common)
    return parser
