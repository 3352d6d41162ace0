"""`vows-edge backup` and `restore`: copies of the database; nothing of the model is loaded."""

import argparse
import sys
from pathlib import Path
from typing import Any

from runtime.environment import read_settings
from runtime.setting_fields import SettingsError


def add_command(commands: Any) -> None:
    backup = commands.add_parser("backup", help="copy the database to FILE, also while the server runs")
    backup.add_argument("file", type=Path, metavar="FILE", help="where the copy goes; must not exist yet")
    backup.set_defaults(run=_run, command="back up")
    restore = commands.add_parser("restore", help="make the backup FILE the database; the server must not run")
    restore.add_argument("file", type=Path, metavar="FILE", help="what `backup` wrote")
    restore.add_argument("--replace", action="store_true", help="lose the database that is there")
    restore.set_defaults(run=_run, command="restore")


def _run(options: argparse.Namespace) -> int:
    from runtime.store import StoreError
    from runtime.store.sqlite.backup import back_up, restore
    from runtime.store.sqlite.connection import DATABASE

    try:
        settings = read_settings()
        if settings.database_url:
            raise SettingsError("VOWS_DATABASE_URL is set: use pg_dump and pg_restore for that database")
        if options.command == "back up":
            copy = back_up(settings.data_dir / DATABASE, options.file)
        else:
            copy = restore(options.file, settings.data_dir, replace=options.replace)
    except (SettingsError, StoreError) as error:
        print(f"vows-edge cannot {options.command}: {error}", file=sys.stderr)
        return 1
    rows = copy.rows
    print(
        f"{copy.path}: {copy.bytes} bytes, checked and synced; {rows.content} items of content, {rows.users} users, "
        f"{rows.interactions} interactions, {rows.preferences} preferences"
    )
    return 0
