"""`python -m training incremental`: fine-tune a checkpoint on new events, and measure what it forgets of the old."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from training.batches import Windows
from training.checkpoint import Checkpoint
from training.data import public
from training.data.events import Dataset
from training.data.split import joined, joined_with_mask, periods
from training.evaluation.incremental_records import INCREMENTAL, IncrementalResult, PeriodMetrics, add, read
from training.evaluation.trial_records import as_stored
from training.experiments.ablations import add_options, base_recipe, world
from training.recipes import Recipe
from training.train import VALIDATION_WINDOWS, train, validate

# Shares of the events in order of time: train, validation and test of an old period, then of a new one.
SHARES = (0.45, 0.05, 0.1, 0.25, 0.05, 0.1)
REPLAYS = (0.0, 0.5, 1.0)

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
    add_options(parser, out=INCREMENTAL, scratch="incremental")
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


def measure(dataset: Dataset, data: str, recipe: Recipe, file: Path, scratch: Path) -> list[IncrementalResult]:
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
        train(parts.old, parts.old_validation, recipe, base)
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
            made = train(parts.both, parts.new_validation, recipe, out)
        else:
            made = train(
                parts.both, parts.new_validation, recipe, out, start=start, new=parts.is_new, replay=replay
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


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    for name in options.sets or ["world"]:
        if name == "world":
            split, data = world(options.seed, options.users), f"world {options.seed}, {options.users} users"
            dataset = joined(*split)
        else:
            dataset, data = public.load(name, options.data_dir), name
        recipe = base_recipe(name, options.recipe, options.epochs)
        rows = measure(dataset, data, recipe, options.out, options.scratch / name)
        print(f"{data}: {len(rows)} rows in {options.out}, {time.monotonic() - started:.0f} s")
    return 0
