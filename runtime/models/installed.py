"""Which sequence bundle is served, and back to the one before.

    models/sequence            link to the bundle that is served; the server looks at it every few seconds
    models/sequence.previous   link to the one before
    models/sequences/          the bundles

A link is replaced in one rename, so that a server that looks sees the old bundle or the new one, whole.
"""

import argparse
import os
import sys
from pathlib import Path

from runtime.settings import Settings, SettingsError

DESCRIPTION = "Show or change which sequence bundle is served; a running server follows within seconds."
SEQUENCE, PREVIOUS, BUNDLES = "sequence", "sequence.previous", "sequences"


class SwitchError(Exception):
    """The bundle cannot be switched; the message says what to do."""


def install(models: Path, folder: Path) -> None:
    """Serve the bundle at `folder` from now on, and remember the one before. Raises SwitchError."""
    if not (folder / "manifest.json").exists():
        raise SwitchError(f"{folder} is not a bundle: it has no manifest.json")
    current = models / SEQUENCE
    if current.exists() and not current.is_symlink():
        raise SwitchError(f"{current} is a folder, not a link: move it to {models / BUNDLES / 'first'} and link it")
    before = os.readlink(current) if current.is_symlink() else None
    target = os.path.relpath(folder.resolve(), models.resolve())
    if before is not None and before != target:
        _link(models / PREVIOUS, before)
    _link(current, target)


def back(models: Path) -> Path:
    """Serve the bundle before the current one, which becomes the one before. Raises SwitchError without one."""
    previous = models / PREVIOUS
    if not previous.is_symlink():
        raise SwitchError(f"there is no {previous}: no other bundle was served before")
    folder = models / os.readlink(previous)
    install(models, folder)
    return folder


def _link(link: Path, target: str) -> None:
    made = link.with_name(f".{link.name}-{os.getpid()}")
    made.symlink_to(target)
    os.replace(made, link)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m runtime.models.installed", description=DESCRIPTION)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--back", action="store_true", help="serve the bundle before the current one again")
    choice.add_argument("--to", type=Path, metavar="FOLDER", help="serve the bundle in this folder")
    options = parser.parse_args(arguments)
    try:
        models = Settings.from_environment().models_dir
        if options.back:
            back(models)
        elif options.to is not None:
            install(models, options.to)
    except (SwitchError, SettingsError) as error:
        print(f"nothing was switched: {error}", file=sys.stderr)
        return 1
    current = models / SEQUENCE
    print(f"{current} → {os.readlink(current)}" if current.is_symlink() else f"{current}: no sequence bundle")
    for folder in sorted((models / BUNDLES).glob("*")):
        print(f"  {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
