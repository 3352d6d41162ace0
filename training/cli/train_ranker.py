"""`vows-edge train ranker`: its options."""

import argparse
from pathlib import Path

from training.data import public
from training.data.command import FEWEST_EVENTS, add_sources

DESCRIPTION = f"""\
Fit the weights of the hybrid ranker to the newest tenth of a log and count neighbours in all of it. Takes minutes for a
million events. A log of fewer than {FEWEST_EVENTS:,} engaged events is refused: without a bundle the server ranks with
weights that were chosen on public logs.

  vows-edge train ranker --events data --out models/rankers/mine
  vows-edge models install models/rankers/mine"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "train ranker",
        help="train the hybrid ranker of a log",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the bundle; it must not exist yet")
    parser.add_argument("--name", help="the public model_version (default: the folder's name)")
    parser.add_argument("--set", choices=public.NAMES, dest="public_set", help="a public data set instead of a log")
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument(
        "--sequence", type=Path, metavar="FOLDER",
        help="the folder of `vows-edge train --events` on the same log, or a sequence bundle that was trained before "
        "its newest tenth: its model then helps to rank and to predict the next action where it is served, as far as "
        "it is better on that tenth (default: what is found of this log, the installed bundle's run in checkpoints/, "
        "this bundle, or the newest run there)",
    )  # fmt: skip
    beside.add_argument("--no-sequence", action="store_true", help="without a sequence model, also where there is one")
    add_sources(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from training.ranker.command import run  # imports torch

    return run(options)
