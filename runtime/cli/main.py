"""`vows-edge`: one sub-command a module of this package."""

import argparse
import os
import sys
from collections.abc import Sequence

from runtime import VERSION
from runtime.cli import backup, doctor, experiments, extras, import_data, key, models, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; returns the exit status (0 done, 1 refused or impossible, 2 bad usage, 130 interrupted)."""
    try:
        status = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("vows-edge: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # what reads the output has ended, as in `vows-edge doctor | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the interpreter can flush as it ends
        return 1
    return status


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in extras.COMMANDS:  # with options of their own, which are not known here
        return extras.run(arguments[0], arguments[1:])
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vows-edge",
        description="Text embeddings, user vectors and rankings over HTTP. `serve --help` lists the settings.",
    )
    parser.add_argument("--version", action="version", version=f"vows-edge {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (serve, doctor, key, backup, import_data, models, experiments):
        module.add_command(commands)
    for name, command in extras.COMMANDS.items():
        commands.add_parser(name, help=command.help, add_help=False)
    return parser


def serve_or_command() -> int:
    """`python -m runtime`: as `vows-edge`, and without a command it serves."""
    return main(sys.argv[1:] or ["serve"])
