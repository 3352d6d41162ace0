"""`vows-edge models`: the bundles that are served, another sequence bundle, and back."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from runtime.environment import read_settings
from runtime.setting_fields import SettingsError
from runtime.settings import Settings


def add_command(commands: Any) -> None:
    parser = commands.add_parser(
        "models",
        help="list the model bundles, serve another sequence bundle or ranker, or the one before",
        description="Show or change which model bundles are served; a running server follows within seconds.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="the bundles that are served, and those that could be").set_defaults(act=_list)
    install = actions.add_parser("install", help="serve the sequence or ranker bundle in FOLDER")
    install.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="what `vows-edge export sequence` or `vows-edge train ranker` wrote",
    )
    install.set_defaults(act=_install)
    back = actions.add_parser("back", help="serve the bundle before the current one again")
    back.add_argument("kind", nargs="?", choices=("sequence", "ranker"), default="sequence", help="default: sequence")
    back.set_defaults(act=_back)
    prepare = actions.add_parser("prepare", help="make every encoding of the text encoder, as an image's build does")
    prepare.set_defaults(act=_prepare)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from runtime.models.bundle import BundleError
    from runtime.models.installed import SwitchError

    try:
        options.act(options, read_settings())
    except (BundleError, OSError, SettingsError, SwitchError) as error:
        print(f"vows-edge models: {error}", file=sys.stderr)
        return 1
    return 0


def _list(options: argparse.Namespace, settings: Settings) -> None:
    from runtime.models.bundle import MANIFEST
    from runtime.models.installed import BUNDLES, DEFAULT, RANKER, SEQUENCE, TEXT_ENCODER, bundle_folders

    for name in (TEXT_ENCODER, SEQUENCE, RANKER):
        folders = bundle_folders(settings.models_dir, name)
        served = next((folder for folder in folders if (folder / MANIFEST).exists()), None)
        link = f" → {os.readlink(served)}" if served is not None and served.is_symlink() else ""
        looked = " or ".join(str(folder) for folder in folders)
        print(f"{name:8}  {served}{link}" if served else f"{name:8}  none; looked at {looked}")
    for bundles in (BUNDLES, f"{RANKER}s"):
        for folder in sorted(((settings.models_dir or DEFAULT) / bundles).glob("*")):
            print(f"  {folder}")


def _install(options: argparse.Namespace, settings: Settings) -> None:
    from runtime.models.installed import DEFAULT, install

    install(settings.models_dir or DEFAULT, options.folder)
    _list(options, settings)


def _back(options: argparse.Namespace, settings: Settings) -> None:
    from runtime.models.installed import DEFAULT, back

    back(settings.models_dir or DEFAULT, options.kind)
    _list(options, settings)


def _prepare(options: argparse.Namespace, settings: Settings) -> None:
    from runtime.models.installed import TEXT_ENCODER, find_bundle, make_derived

    for file in make_derived(find_bundle(settings.models_dir, TEXT_ENCODER), settings.derived_dir):
        print(file)
