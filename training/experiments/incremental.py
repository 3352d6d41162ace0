"""`python -m training incremental`: fine-tune a checkpoint on new events, and measure what it forgets of the old."""

import argparse
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

from training.batches import Windows
from training.checkpoint import Checkpoint
from training.data import public
from training.data.command import add_sources
from training.data.events import Dataset
from training.data.split import Split, joined, joined_with_mask, periods
from training.errors import TrainingError
from training.evaluation.incremental_records import INCREMENTAL, IncrementalResult, PeriodMetrics, add, read
from training.evaluation.trial_records import as_stored
from training.recipes import RECIPES, Recipe
from training.simulator.multi_world import multi_world
from training.simulator.parameters import Parameters
from training.train import VALIDATION_WINDOWS, train, validate

# Shares of the events in order of time: train, validation and test of an old period, then of a new one.
SHARES = (0.45, 0.05, 0.1, 0.25, 0.05, 0.1)
REPLAYS = (0.0, 0.5, 1.0)
_WARMUP, _BATCH = 40, 4  # steps and windows per step, at most: a small log has few
DEVELOPMENT_SEEDS = 1_000  # seeds from here on are for evaluation

DESCRIPTION = f"""\
Split a log in an old and a new period. Train on the old one; fine-tune that checkpoint on the new events, with and
without older ones among them (--replay of `train`); and train from scratch on both. Each is tested on later
events of both periods: a higher loss on the old one is forgetting. Replays: {REPLAYS}."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "incremental",
        help="measure what incremental training gains and forgets",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"world, {', '.join(public.NAMES)} (default: world)")
    add_sources(parser)
    parser.add_argument("--recipe", choices=sorted(RECIPES), help="default: the one named like the data set")
    parser.add_argument("--epochs", type=int, default=4, help="at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=100, help="of the world (default: %(default)s)")
    parser.add_argument("--users", type=int, default=400, help="of the world (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("training") / INCREMENTAL, help="default: %(default)s")
    parser.add_argument("--scratch", type=Path, default=Path("build/incremental"), help="default: %(default)s")
    parser.set_defaults(run=_run)


class Periods:
    """The six parts of a log, by SHARES."""

    def __init__(self, dataset: Dataset) -> None:
        self.old, self.old_validation, self.old_test, self.new, self.new_validation, self.new_test = periods(
            dataset, SHARES
        )
        self.before_new = joined(self.old, self.old_validation, self.old_test)
        # The training data once the new events exist; the old test part is never in it
        self.both = joined(self.old, self.new)
        self.is_new = self.both.events.time_us >= self.new.events.time_us.min()

    def test(self, checkpoint: Checkpoint) -> tuple[PeriodMetrics, PeriodMetrics]:
        """Figures on the test parts of the old and the new period, each with everything before it as history."""
        history = joined(self.before_new, self.new, self.new_validation)
        return (
            _period(checkpoint, joined(self.old, self.old_validation), self.old_test),
            _period(checkpoint, history, self.new_test),
        )


def measure(
    dataset: Dataset, data: str, recipe: Recipe, file: Path, scratch: Path, device: str = "cpu"
) -> list[IncrementalResult]:
    """The rows of one log. Those that are in the file already are not trained again."""
    parts = Periods(dataset)
    plain = as_stored(recipe.parameters())
    done = {row.name: row for row in read(file, data) if row.recipe == plain}
    found: list[IncrementalResult] = []

    def row(name: str, checkpoint: Checkpoint, events: int) -> None:
        old, new = parts.test(checkpoint)
        curve = [line for line in checkpoint.metrics if line["epoch"] > 0]
        found.append(
            IncrementalResult(
                data=data, name=name, recipe=plain, events=events, epochs=len(curve), seconds=curve[-1]["seconds"],
                old=old, new=new,
            )
        )  # fmt: skip
        add(file, found[-1])

    base = scratch / "old"
    print(f"{data}: the old period", file=sys.stderr, flush=True)
    if not (scratch / "old-done").exists():
        train(parts.old, parts.old_validation, recipe, base, device=device)
        (scratch / "old-done").touch()
    start = Checkpoint.load(base / "best")
    if "before" in done:
        found.append(done["before"])
    else:
        row("before", start, len(parts.old.events))
    for name, replay in [*((f"continued, replay {replay:g}", replay) for replay in REPLAYS), ("from scratch", None)]:
        if name in done:
            found.append(done[name])
            continue
        print(f"{data}: {name}", file=sys.stderr, flush=True)
        out = scratch / name.replace(" ", "-").replace(",", "")
        if replay is None:
            made = train(parts.both, parts.new_validation, recipe, out, device=device)
        else:
            made = train(
                parts.both, parts.new_validation, recipe, out, start=start, new=parts.is_new, replay=replay,
                device=device,
            )  # fmt: skip
        row(name, made, len(parts.both.events) if replay is None else int(parts.is_new.sum()))
    shutil.rmtree(scratch, ignore_errors=True)
    return found


def _period(checkpoint: Checkpoint, history: Dataset, test: Dataset) -> PeriodMetrics:
    """EvaluationQueries of these events, each with everything before it."""
    both, scored = joined_with_mask(history, test)
    windows = Windows(both, checkpoint.recipe.context, scored).limited_to(VALIDATION_WINDOWS)
    seen = validate(checkpoint.model, windows, checkpoint.recipe)
    return PeriodMetrics(
        events=seen.events, loss=round(seen.loss, 5), accuracy=round(seen.accuracy, 5),
        hit_rate=round(seen.hit_rate, 5),
    )  # fmt: skip


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
    started = time.monotonic()
    for name in options.sets or ["world"]:
        if name == "world":
            split, data = world(options.seed, options.users), f"world {options.seed}, {options.users} users"
            dataset = joined(*split)
        else:
            dataset, data = public.load(name, options.data_dir), name
        recipe = base_recipe(name, options.recipe, options.epochs)
        rows = measure(dataset, data, recipe, options.out, options.scratch / name, options.device)
        print(f"{data}: {len(rows)} rows in {options.out}, {time.monotonic() - started:.0f} s")
    return 0
