"""`vows-edge serve`: settings from the environment → a server."""

import argparse
import gc
import logging
import sys
from typing import Any

from runtime.environment import read_settings, settings_notices, settings_table
from runtime.setting_fields import SettingsError
from runtime.system import logs
from runtime.system.allocator import one_heap


def add_command(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        help="serve embeddings, user vectors and rankings over HTTP",
        description="Serve embeddings, user vectors and rankings over HTTP. Every setting comes from the environment:",
        epilog=settings_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        settings = read_settings()
    except SettingsError as error:
        return _refuse(error)
    logs.configure(settings.log_level, settings.log_format)
    for notice in settings_notices():
        logging.getLogger("vows").warning("%s", notice)
    one_heap()
    gc.disable()  # until all is loaded: none of it is garbage, and looking for some takes a twentieth of the start
    from runtime.app import serve  # after the settings, so that a bad one is reported at once
    from runtime.http.server import StartError

    try:
        serve(settings)
    except StartError as error:
        return _refuse(error)
    return 0


def _refuse(error: Exception) -> int:
    print(f"vows-edge cannot start: {error}", file=sys.stderr)
    return 1
