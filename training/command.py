"""`vows-edge train`: a checkpoint from simulated worlds, a public data set, or your own log."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.card import checkpoint_card
from training.checkpoint import BEST, Checkpoint
from training.data import public
from training.data.command import FEWEST_EVENTS, add_sources, load_own
from training.data.events import SKIP, Dataset
from training.data.split import Split, by_time
from training.errors import TrainingError
from training.recipes import RECIPES, Recipe
from training.simulator.multi_world import multi_world
from training.simulator.parameters import Parameters
from training.train import train

REFERENCE_WORLDS = tuple(range(16))

DESCRIPTION = """\
Train the sequence model, with a progress bar and one line of validation per epoch. A run that was killed resumes when
the same command is given again. The best weights so far are always in OUT/best.

  vows-edge train --out checkpoints/mine --events data          your server's log
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
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="reference", help="default: %(default)s")
    parser.add_argument("--set", choices=public.NAMES, dest="public_set", help="a public data set")
    add_sources(parser)
    parser.add_argument(
        "--worlds", type=int, nargs="+", default=list(REFERENCE_WORLDS), metavar="SEED",
        help="simulated worlds, where neither --set nor --events is given (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--users", type=int, default=Parameters().users, help="of a world (default: %(default)s)")
    parser.add_argument("--layers", type=int, help="4 to 24 (default: the recipe's)")
    parser.add_argument("--epochs", type=int, help="at most (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
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
    start = Checkpoint.load(options.start) if options.start else None
    if options.since is not None and start is None:
        raise TrainingError("--since names the events that are new to an earlier checkpoint: give one with --from")
    if start is not None and options.events and not options.days_to_event_key:
        options.days_to_event_key = start.data.get("days_to_event_key")
    split = _split(options)
    recipe = _recipe(options, start)
    checkpoint = train(
        split.train,
        split.validation,
        recipe,
        options.out,
        start=start,
        new=_new(split.train, options.since),
        replay=options.replay,
    )
    best = options.out / BEST
    (best / "README.md").write_text(checkpoint_card(checkpoint, best), encoding="utf-8")
    print(f"the best weights are in {best}; serve them with: vows-edge export sequence --checkpoint {best}")
    if options.push:
        print(f"uploaded to {push(best, options.push)}")
    return 0


def push(folder: Path, repository: str) -> str:
    """Upload a checkpoint's folder to the Hugging Face Hub with the caller's own login; returns its URL.

    Raises TrainingError without huggingface_hub, or when the upload fails.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise TrainingError("--push needs `pip install huggingface_hub` and `hf auth login`") from error
    try:
        api = HfApi()
        api.create_repo(repository, exist_ok=True, private=True)
        return str(api.upload_folder(folder_path=folder, repo_id=repository))
    except Exception as error:  # of the network, the login or the repository; its own words say which
        raise TrainingError(f"the upload to {repository} failed: {error}; the checkpoint is in {folder}") from error


def _split(options: argparse.Namespace) -> Split:
    own = load_own(options)
    if own is not None and (engaged := int((own.events.action != SKIP).sum())) < FEWEST_EVENTS:
        print(
            f"warning: {own.name} has {engaged:,} engaged events; with fewer than {FEWEST_EVENTS:,} a trained model "
            "follows chance, and `vows-edge evaluate` cannot tell whether it is better",
            file=sys.stderr,
        )
    if own is None and options.public_set is None:
        return multi_world(options.worlds, replace(Parameters(), users=options.users))
    return by_time(own if own is not None else public.load(options.public_set, options.data_dir))


def _recipe(options: argparse.Namespace, start: Checkpoint | None) -> Recipe:
    """The checkpoint's own recipe for fine-tuning, because the shapes have to be the same."""
    recipe = start.recipe if start is not None else RECIPES[options.recipe]()
    if start is not None and options.layers not in (None, recipe.layers):
        raise TrainingError(f"{options.start} has {recipe.layers} layers; --layers {options.layers} cannot change them")
    changes: dict[str, int] = {"seed": options.seed}
    changes |= {name: getattr(options, name) for name in ("layers", "epochs") if getattr(options, name) is not None}
    return replace(recipe, **changes)  # type: ignore[arg-type]


def _new(training: Dataset, since: np.datetime64 | None) -> NDArray[np.bool_] | None:
    if since is None:
        return None
    new: NDArray[np.bool_] = training.events.time_us >= since.astype("datetime64[us]").astype(np.int64)
    if not new.any():
        raise TrainingError(f"no event of the training part is from {since} or later; choose an earlier day")
    return new
