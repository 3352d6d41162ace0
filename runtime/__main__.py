"""`python -m runtime`: settings from the environment → a server. Its commands look after one."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Sequence

from runtime.deprecated_settings import replace_deprecated
from runtime.settings import Settings, SettingsError, settings_table
from runtime.system import logs
from runtime.system.allocator import one_heap


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, or run a subcommand; returns the exit status (0 done, 1 refused or impossible, 2 bad usage)."""
    parser = argparse.ArgumentParser(
        prog="python -m runtime",
        usage="python -m runtime [-h] [COMMAND ...]",
        description="Serve embeddings, user vectors and rankings over HTTP. Every setting comes from the environment:",
        epilog=settings_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(
        prog="python -m runtime", metavar="COMMAND", title="commands; without one the server starts"
    )
    # Imported here so that each command's options stand beside its code.
    from runtime.cli import backup, doctor
    from runtime.http import api_keys as keys

    backup.add_commands(commands)
    doctor.add_command(commands)
    keys.add_command(commands)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


def _serve(options: argparse.Namespace) -> int:
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        return _refuse(error)
    logs.configure(settings.log_level, settings.log_format)
    for notice in replace_deprecated(os.environ)[1]:
        logging.getLogger("vows").warning("%s", notice)
    one_heap()
    gc.disable()  # until all is loaded: none of it is garbage, and looking for some takes a twentieth of the start
    from runtime.app import serve  # after the settings, so that a bad one is told at once
    from runtime.http.server import StartError

    try:
        serve(settings)
    except StartError as error:
        return _refuse(error)
    return 0


def _refuse(error: Exception) -> int:
    print(f"vows-edge cannot start: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
