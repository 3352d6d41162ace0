"""`python -m training tune`: select a recipe for a data set on its validation events."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.data import public
from training.data.command import add_sources
from training.data.split import by_time
from training.evaluation.trial_records import TUNING, Trial, as_stored
from training.experiments.trials import PlannedTrial, TrialRunner
from training.recipes import LossWeights, Recipe

# Tried one after another on top of those kept so far, the most important first.
CHANGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("no ids", {"id_rank": 0}),
    ("pointer 6, fading", {"pointer_gain": 6.0, "pointer_decay": 0.3}),
    ("4 epochs", {"epochs": 4}),
    ("pointer 12", {"pointer_gain": 12.0}),
    ("id dropout 0.6", {"id_dropout": 0.6}),
    ("dropout 0.3", {"dropout": 0.3}),
    ("id rank 64, half 5", {"id_rank": 64, "id_half": 5.0}),
    ("weight decay 0.5", {"weight_decay": 0.5}),
    ("learning rate 0.006", {"learning_rate": 6e-3}),
    ("factorised ids", {"factorised_ids": True}),
    ("batch 16", {"batch": 16}),
    ("no contrastive loss", {"loss": LossWeights(contrastive=0.0)}),
    ("id dropout 0", {"id_dropout": 0.0}),
    ("width 128", {"width": 128}),
    ("context 128", {"context": 128}),
)

DESCRIPTION = f"""\
Coordinate search: {len(CHANGES)} changes, one after another; a change is kept if NDCG@10 on the validation events of
the global time split is better with it than without. Every training is a line in the file, and a search that was killed
resumes. Its result belongs in training/recipes.py, under the name of the data set."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "tune",
        help="select a recipe for a public data set",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="+", choices=public.NAMES, metavar="SET", help=", ".join(public.NAMES))
    add_sources(parser)
    parser.add_argument("--sample-users", type=int, metavar="N", help="as for evaluate")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="start no trial after so many minutes (default: %(default)s)"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("training") / TUNING, help="default: %(default)s")
    parser.add_argument("--scratch", type=Path, default=Path("build/trials"), help="default: %(default)s")
    parser.set_defaults(run=_run)


def start(name: str) -> Recipe:
    """The recipe that the search starts from, on every data set."""
    return Recipe(name, context=64, batch=32, epochs=6, patience=2, learning_rate=3e-3, warmup=40)


def search(run: Callable[[PlannedTrial], Trial], name: str, until: float) -> Trial:
    """The best trial. Starts no trial after `until` (time.monotonic), but the first."""
    recipe = start(name)
    best = run(PlannedTrial("start", recipe))
    for what, change in CHANGES:
        if time.monotonic() > until:
            print(f"{name}: out of time before {what}", file=sys.stderr)
            break
        changed = replace(recipe, **change)
        print(f"{name}: {what} (best so far {best.ndcg10:.4f})", file=sys.stderr, flush=True)
        trial = run(PlannedTrial(what, changed))
        if trial.ndcg10 > best.ndcg10:
            best, recipe = trial, changed
    return best


def _run(options: argparse.Namespace) -> int:
    until = time.monotonic() + 60 * options.minutes
    for name in options.sets:
        dataset = public.load(name, options.data_dir)
        if options.sample_users:
            dataset = dataset.some_users(options.sample_users)
        runner = TrialRunner(by_time(dataset), name, options.out, options.scratch / name, options.device)
        best = search(runner.trial, name, until)
        default = as_stored(start(name).parameters())
        changes = {key: value for key, value in best.recipe.items() if value != default[key]}
        print(f"{name}: NDCG@10 {best.ndcg10:.4f} with {best.name}; changed from the start: {changes}")
    return 0
