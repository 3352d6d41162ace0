"""`python -m training ablate`: the effect of each part of the model, by training without it."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data import public
from training.data.command import add_sources
from training.data.events import ACTIONS, Dataset
from training.data.split import Split, by_time
from training.errors import TrainingError
from training.evaluation.trial_records import ABLATIONS, UNCHANGED
from training.experiments.trials import PlannedTrial, TrialRunner
from training.recipes import RECIPES, Recipe
from training.simulator.multi_world import multi_world
from training.simulator.parameters import Parameters

_WARMUP, _BATCH = 40, 4  # steps and windows per step, at most: a small log has few
DEVELOPMENT_SEEDS = 1_000  # seeds from here on are for evaluation

DESCRIPTION = """\
Train a recipe, then again with one thing changed: action weights, window, depth, width, contrastive loss, id embedding,
text. Every training is a line in the file, with figures of the validation events; the report has the table. A run that
was killed resumes.

  python -m training ablate                  on a development world (a seed below 1,000)
  python -m training ablate deskdrop         on a public data set"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "ablate",
        help="train with one thing changed at a time",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, out=ABLATIONS, scratch="ablations")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="only these groups (default: all)")
    parser.set_defaults(run=_run)


def add_options(parser: argparse.ArgumentParser, *, out: str, scratch: str) -> None:
    """Add the options for data, recipe, result file and scratch folder."""
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"world, {', '.join(public.NAMES)} (default: world)")
    add_sources(parser)
    parser.add_argument("--recipe", choices=sorted(RECIPES), help="default: the one named like the data set")
    parser.add_argument("--epochs", type=int, default=4, help="at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=100, help="of the world (default: %(default)s)")
    parser.add_argument("--users", type=int, default=400, help="of the world (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("training") / out, help="default: %(default)s")
    parser.add_argument("--scratch", type=Path, default=Path("build") / scratch, help="default: %(default)s")


def plan(base: Recipe, train: Dataset) -> list[PlannedTrial]:
    """The base recipe, two other seeds of it, which show the variance, and one thing changed at a time."""
    loss = base.loss
    planned = [
        PlannedTrial(UNCHANGED, "seed 0", base),
        *(PlannedTrial(UNCHANGED, f"seed {seed}", replace(base, seed=seed)) for seed in (1, 2)),
        PlannedTrial(
            "actions", "inverse frequency", replace(base, loss=replace(loss, action=inverse_frequency(train)))
        ),
        PlannedTrial("actions", "engaged only", replace(base, loss=replace(loss, action=(0.0, 1.0, 1.0, 1.0)))),
        PlannedTrial("items", "by strength 1, 3, 5", replace(base, loss=replace(loss, item=(0.0, 1.0, 3.0, 5.0)))),
        PlannedTrial("items", "skips too", replace(base, loss=replace(loss, item=(1.0, 1.0, 1.0, 1.0)))),
        *(PlannedTrial("window", f"{n} events", replace(base, window=n)) for n in (16, 32, 64)),
        *(PlannedTrial("layers", str(n), replace(base, layers=n)) for n in (4, 6, 8)),
        *(PlannedTrial("width", str(n), replace(base, width=n)) for n in (32, 64, 96)),
        *(PlannedTrial("regression steps", str(n), replace(base, regression_steps=n)) for n in (1, 2, 8)),
        PlannedTrial("contrastive", "off", replace(base, loss=replace(loss, contrastive=0.0))),
        PlannedTrial("ids", "off", replace(base, id_rank=0)),
        PlannedTrial("ids", "start at zero", replace(base, factorised_ids=False)),
        PlannedTrial("text", "off", base, text=False),
    ]
    return [one for one in planned if one.recipe != base or not one.text or one.group == UNCHANGED]


def inverse_frequency(train: Dataset) -> tuple[float, float, float, float]:
    """Action weights with which every action has the same total weight; their mean over the events is 1."""
    counts = np.bincount(train.events.action, minlength=len(ACTIONS))
    present = max(int((counts > 0).sum()), 1)
    a, b, c, d = (round(float(len(train.events) / (present * count)), 4) if count else 0.0 for count in counts)
    return a, b, c, d


def world(seed: int, users: int) -> Split:
    """A development world. Raises TrainingError for a seed reserved for evaluation."""
    if seed >= DEVELOPMENT_SEEDS:
        raise TrainingError(f"world {seed} is for evaluation; choose a seed below {DEVELOPMENT_SEEDS:,}")
    return multi_world([seed], replace(Parameters(), users=users))


def base_recipe(name: str, given: str | None, epochs: int) -> Recipe:
    """A recipe limited to `epochs`; for a world, which is small, also with a short warm-up and small batches."""
    recipe = RECIPES[given or (name if name in RECIPES else "reference")]()
    epochs = min(epochs, recipe.epochs)
    recipe = replace(recipe, epochs=epochs, patience=min(recipe.patience, epochs))
    if name != "world":
        return recipe
    return replace(recipe, warmup=min(recipe.warmup, _WARMUP), batch=min(recipe.batch, _BATCH))


def _run(options: argparse.Namespace) -> int:
    for name in options.sets or ["world"]:
        if name == "world":
            split, data = world(options.seed, options.users), f"world {options.seed}, {options.users} users"
        else:
            split, data = by_time(public.load(name, options.data_dir)), name
        planned = plan(base_recipe(name, options.recipe, options.epochs), split.train)
        chosen = [one for one in planned if not options.only or one.group in options.only]
        TrialRunner(split, data, options.out, options.scratch / name).run_all(chosen)
        print(f"{data}: {len(chosen)} trials in {options.out}")
    return 0
