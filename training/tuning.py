"""`python -m training tune`: a recipe for a data set, found on validation with an effort like the baselines."""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.data import public
from training.data.command import add_sources
from training.data.split import by_time
from training.evaluation.trials import TUNING, Trial, as_stored
from training.losses import LossWeights
from training.recipes import Recipe
from training.trials import Bench, Planned

# One after another on top of what was kept so far, what matters most first.
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
    ("codes from factors", {"factors": True}),
    ("batch 16", {"batch": 16}),
    ("no contrastive loss", {"loss": LossWeights(contrastive=0.0)}),
    ("id dropout 0", {"id_dropout": 0.0}),
    ("width 128", {"width": 128}),
    ("context 128", {"context": 128}),
)

DESCRIPTION = f"""\
Coordinate search from one start: {len(CHANGES)} changes, one after another, and one is kept where NDCG@10 on the
validation events of the global time split is better with it than without. Each training is a line in the file; a
search that was killed goes on. What it ends with belongs in training/recipes.py, under the name of the set."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "tune",
        help="find a recipe for a public set",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="+", choices=public.NAMES, metavar="SET", help=", ".join(public.NAMES))
    add_sources(parser)
    parser.add_argument("--sample-users", type=int, metavar="N", help="as for evaluate")
    parser.add_argument("--minutes", type=float, default=60.0, help="start no trial after (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("training") / TUNING, help="default: %(default)s")
    parser.add_argument("--scratch", type=Path, default=Path("build/trials"), help="default: %(default)s")
    parser.set_defaults(run=_run)


def start(name: str) -> Recipe:
    """Where the search begins on any set."""
    return Recipe(name, context=64, batch=32, epochs=6, patience=2, learning_rate=3e-3, warmup=40)


def search(bench: Bench, name: str, until: float) -> Trial:
    """The best trial; starts none after `until` (time.monotonic)."""
    recipe = start(name)
    best, _ = bench.run(Planned("tuning", "start", recipe))
    for what, change in CHANGES:
        if time.monotonic() > until:
            print(f"{name}: the time is over before {what}", file=sys.stderr)
            break
        changed = replace(recipe, **change)
        print(f"{name}: {what} (best so far {best.ndcg10:.4f})", file=sys.stderr, flush=True)
        trial, _ = bench.run(Planned("tuning", what, changed))
        if trial.ndcg10 > best.ndcg10:
            best, recipe = trial, changed
    return best


def _run(options: argparse.Namespace) -> int:
    until = time.monotonic() + 60 * options.minutes
    for name in options.sets:
        dataset = public.load(name, options.data_dir)
        if options.sample_users:
            dataset = dataset.some_users(options.sample_users)
        bench = Bench(by_time(dataset), name, options.out, options.scratch / name)
        best = search(bench, name, until)
        default = as_stored(start(name).parameters())
        changes = {key: value for key, value in best.recipe.items() if value != default[key]}
        print(f"{name}: NDCG@10 {best.ndcg10:.4f} with {best.name}; other than the start: {changes}")
    return 0
