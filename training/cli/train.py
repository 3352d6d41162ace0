"""`vows-edge train`: its options."""

import argparse
from pathlib import Path

import numpy as np

from training.data import public
from training.data.command import add_sources
from training.recipes import RECIPES
from training.simulator.parameters import Parameters

REFERENCE_WORLDS = tuple(range(16))

DESCRIPTION = """\
Train the sequence model, with a progress bar and one line of validation per epoch. A run that was killed resumes when
the same command is given again. The best weights so far are always in OUT/best. On a log of your own the newest tenth
chooses the number of epochs, a last epoch then reads everything, and OUT/validated keeps the weights before it, which
`vows-edge train ranker --sequence OUT` needs.

  vows-edge train --out checkpoints/mine --events data          your server's log, all of it
  vows-edge train --out checkpoints/judged --events data --hold-out 0.2
                                                                without its newest fifth, for `vows-edge evaluate`
  vows-edge train --out checkpoints/next --events data --from checkpoints/mine/best --since 2026-05-01
                                                                         fine-tuned from an earlier checkpoint
  vows-edge train ranker --events data --out models/rankers/mine        the hybrid ranker, in minutes: see its --help
  vows-edge train --out checkpoints/reference                   the simulated worlds of the reference"""

RECIPE_COSTS = "\n".join(f"{name}: {make.__doc__}" for name, make in RECIPES.items())


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "train",
        help="train the sequence model",
        description=DESCRIPTION,
        epilog=RECIPE_COSTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the run; its result is FOLDER/best")
    parser.add_argument(
        "--recipe", choices=sorted(RECIPES), help="default: for a log one of its size, and else reference"
    )
    parser.add_argument("--name", help="public name of the model of a log (default: the name of FOLDER)")
    parser.add_argument(
        "--hold-out", type=float, default=0.0, metavar="SHARE",
        help="with --events: leave out the newest share of the log, so that the model can be judged on it",
    )  # fmt: skip
    parser.add_argument("--set", choices=public.NAMES, dest="public_set", help="a public data set")
    add_sources(parser)
    parser.add_argument(
        "--worlds", type=int, nargs="+", default=list(REFERENCE_WORLDS), metavar="SEED",
        help="simulated worlds, where neither --set nor --events is given (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--expected-actions", action="store_true",
        help="train on the probabilities of the actions in these worlds, which their simulator knows",
    )  # fmt: skip
    parser.add_argument("--users", type=int, default=Parameters().users, help="of a world (default: %(default)s)")
    parser.add_argument("--layers", type=int, help="4 to 24 (default: the recipe's)")
    parser.add_argument("--epochs", type=int, help="at most (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--from", type=Path, dest="start", metavar="CHECKPOINT", help="fine-tune these weights")
    parser.add_argument(
        "--since", type=np.datetime64, metavar="DATE", help="with --from: events since this day are new"
    )
    parser.add_argument(
        "--replay",
        type=float,
        default=0.5,
        help="windows of older events per window of new ones (default: %(default)s)",
    )
    parser.add_argument(
        "--push", metavar="REPOSITORY", help="also upload the result to this repository of the Hugging Face Hub"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from training.command import run  # imports torch

    return run(options)
