"""`python -m runtime`: settings from the environment → a server, or a copy of its database."""

import argparse
import logging
import sys
from pathlib import Path

from runtime.allocator import one_heap
from runtime.settings import Settings, SettingsError, settings_table


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m runtime",
        description="Serve embeddings, user vectors and rankings over HTTP, or run a command.",
        epilog=f"Every setting comes from the environment:\n\n{settings_table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands (without one: serve)")
    backup = commands.add_parser("backup", help="copy the database to FILE, also while the server runs")
    backup.add_argument("file", type=Path, metavar="FILE", help="where the copy goes; must not exist yet")
    restore = commands.add_parser("restore", help="make the backup FILE the database; the server must not run")
    restore.add_argument("file", type=Path, metavar="FILE", help="what `backup` wrote")
    restore.add_argument("--replace", action="store_true", help="lose the database that is there")
    chosen = parser.parse_args()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        return _refuse("start", error)
    if chosen.command is not None:
        return _copy(chosen, settings)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout
    )
    one_heap()
    from runtime.server import StartError, serve  # after the settings, so that a bad one is told at once

    try:
        serve(settings)
    except StartError as error:
        return _refuse("start", error)
    return 0


def _copy(chosen: argparse.Namespace, settings: Settings) -> int:
    """Back up or restore; nothing of the model is loaded."""
    from runtime.store import StoreError
    from runtime.store.backup import back_up, restore
    from runtime.store.connection import DATABASE

    try:
        if chosen.command == "backup":
            copy = back_up(settings.data_dir / DATABASE, chosen.file)
        else:
            copy = restore(chosen.file, settings.data_dir, replace=chosen.replace)
    except StoreError as error:
        return _refuse("back up" if chosen.command == "backup" else "restore", error)
    rows = copy.rows
    print(
        f"{copy.path}: {copy.bytes} bytes, checked and synced; {rows.content} items of content, {rows.users} users, "
        f"{rows.interactions} interactions, {rows.preferences} preferences"
    )
    return 0


def _refuse(what: str, error: Exception) -> int:
    print(f"vows-edge cannot {what}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
