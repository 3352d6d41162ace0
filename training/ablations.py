"""`python -m training ablate`: what each part of the model is worth, by training without it."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data import public
from training.data.command import add_sources
from training.data.events import ACTIONS, Dataset
from training.data.split import Split, by_time
from training.errors import TrainingError
from training.evaluation.trials import ABLATIONS
from training.recipes import RECIPES, Recipe
from training.simulator.parameters import Parameters
from training.trials import Bench, Planned
from training.worlds import worlds

_WARMUP, _BATCH = 40, 4  # steps, and windows of each: a small log has few
DEVELOPMENT_SEEDS = 1_000  # worlds from here on are for evaluation

DESCRIPTION = """\
Train a recipe, and again with one thing changed: weights of actions, window, depth, width, the contrastive loss, the
id-embedding, the text. Each is a line in the file, with figures of the validation events; the report has the table. A
run that was killed goes on where it stopped.

  python -m training ablate                  on a development world (a seed below 1,000)
  python -m training ablate deskdrop         on a public set"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "ablate",
        help="train with one thing changed at a time",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, out=ABLATIONS, scratch="ablations")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help="some of the groups (default: all)")
    parser.set_defaults(run=_run)


def add_options(parser: argparse.ArgumentParser, *, out: str, scratch: str) -> None:
    """What is trained on and by which recipe, the file of results and the folder of checkpoints."""
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"world, {', '.join(public.NAMES)} (default: world)")
    add_sources(parser)
    parser.add_argument("--recipe", choices=sorted(RECIPES), help="default: the one of the name")
    parser.add_argument("--epochs", type=int, default=4, help="at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=100, help="of the world (default: %(default)s)")
    parser.add_argument("--users", type=int, default=400, help="of the world (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("training") / out, help="default: %(default)s")
    parser.add_argument("--scratch", type=Path, default=Path("build") / scratch, help="default: %(default)s")


def plan(base: Recipe, train: Dataset) -> list[Planned]:
    """The recipe with two other seeds, which show what chance does, and with one thing changed at a time."""
    loss = base.loss
    planned = [
        Planned("as it is", "seed 0", base),
        *(Planned("as it is", f"seed {seed}", replace(base, seed=seed)) for seed in (1, 2)),
        Planned("actions", "inverse frequency", replace(base, loss=replace(loss, action=inverse_frequency(train)))),
        Planned("actions", "engaged only", replace(base, loss=replace(loss, action=(0.0, 1.0, 1.0, 1.0)))),
        Planned("items", "by strength 1, 3, 5", replace(base, loss=replace(loss, item=(0.0, 1.0, 3.0, 5.0)))),
        Planned("items", "skips too", replace(base, loss=replace(loss, item=(1.0, 1.0, 1.0, 1.0)))),
        *(Planned("window", f"{n} events", replace(base, window=n)) for n in (16, 32, 64)),
        *(Planned("layers", str(n), replace(base, layers=n)) for n in (4, 6, 8)),
        *(Planned("width", str(n), replace(base, width=n)) for n in (32, 64, 96)),
        *(Planned("steps of a taste", str(n), replace(base, taste_steps=n)) for n in (1, 2, 8)),
        Planned("contrastive", "off", replace(base, loss=replace(loss, contrastive=0.0))),
        Planned("ids", "off", replace(base, id_rank=0)),
        Planned("ids", "begin at zero", replace(base, factors=False)),
        Planned("text", "off", base, text=False),
    ]
    return [one for one in planned if one.recipe != base or not one.text or one.group == "as it is"]


def inverse_frequency(train: Dataset) -> tuple[float, float, float, float]:
    """Weights of actions such that each kind weighs the same in all, 1 on average over the events."""
    counts = np.bincount(train.events.action, minlength=len(ACTIONS))
    present = max(int((counts > 0).sum()), 1)
    a, b, c, d = (round(float(len(train.events) / (present * count)), 4) if count else 0.0 for count in counts)
    return a, b, c, d


def world(seed: int, users: int) -> Split:
    """A development world. Raises TrainingError for a seed that is kept for evaluation."""
    if seed >= DEVELOPMENT_SEEDS:
        raise TrainingError(f"world {seed} is for evaluation; choose a seed below {DEVELOPMENT_SEEDS:,}")
    return worlds([seed], replace(Parameters(), users=users))


def base_recipe(name: str, given: str | None, epochs: int) -> Recipe:
    """A recipe cut to so many epochs; on a world, which is small, with steps that it has enough of."""
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
        Bench(split, data, options.out, options.scratch / name).run_all(chosen)
        print(f"{data}: {len(chosen)} trials in {options.out}")
    return 0
