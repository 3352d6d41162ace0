"""`python -m training incremental`: going on from a checkpoint with new events, and what is forgotten of the old."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from training.ablations import add_options, base_recipe, world
from training.checkpoint import Checkpoint
from training.data import public
from training.data.events import Dataset
from training.data.split import periods
from training.evaluation.baselines.tuned import joined
from training.evaluation.continued import INCREMENTAL, Continued, Period, add, read
from training.evaluation.trials import as_stored
from training.recipes import Recipe
from training.train import VALIDATION_WINDOWS, Validation, together, train, validate
from training.windows import Windows

# Of the events, in order of time: an old time and a new one, each with a part to train on, to stop on, to be asked of.
SHARES = (0.45, 0.05, 0.1, 0.25, 0.05, 0.1)
REPLAYS = (0.0, 0.5, 1.0)

DESCRIPTION = f"""\
Cut a log in two times, old and new. Train on the old one; go on from that checkpoint with the new events, with and
without older ones among them (--replay of `train`); and train from scratch on both. Each is asked of later events of
the old time and of the new one: what is lost on the old ones is what was forgotten. Replays: {REPLAYS}."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "incremental",
        help="measure what going on from a checkpoint gains and forgets",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, out=INCREMENTAL, scratch="incremental")
    parser.set_defaults(run=_run)


class Times:
    """The six parts of a log, in SHARES."""

    def __init__(self, dataset: Dataset) -> None:
        self.old, self.old_validation, self.old_test, self.new, self.new_validation, self.new_test = periods(
            dataset, SHARES
        )
        self.before_new = joined(joined(self.old, self.old_validation), self.old_test)
        # What is trained on when the new events are there; the old test never is
        self.both = joined(self.old, self.new)
        self.is_new = self.both.events.time_us >= self.new.events.time_us.min()

    def asked(self, checkpoint: Checkpoint) -> tuple[Period, Period]:
        """Figures on the old time's test and on the new one's, each with everything before it as history."""
        history = joined(joined(self.before_new, self.new), self.new_validation)
        return (
            _period(checkpoint, joined(self.old, self.old_validation), self.old_test),
            _period(checkpoint, history, self.new_test),
        )


def measure(dataset: Dataset, data: str, recipe: Recipe, file: Path, scratch: Path) -> list[Continued]:
    """The rows of one log; those that are in the file already are not trained again."""
    times = Times(dataset)
    plain = as_stored(recipe.parameters())
    done = {row.name: row for row in read(file, data) if row.recipe == plain}
    found: list[Continued] = []

    def row(name: str, checkpoint: Checkpoint, events: int) -> None:
        old, new = times.asked(checkpoint)
        curve = [line for line in checkpoint.metrics if line["epoch"] > 0]
        found.append(
            Continued(
                data=data, name=name, recipe=plain, events=events, epochs=len(curve), seconds=curve[-1]["seconds"],
                old=old, new=new,
            )
        )  # fmt: skip
        add(file, found[-1])

    base = scratch / "old"
    print(f"{data}: the old time", file=sys.stderr, flush=True)
    if not (scratch / "old-done").exists():
        train(times.old, times.old_validation, recipe, base)
        (scratch / "old-done").touch()
    start = Checkpoint.load(base / "best")
    if "before" in done:
        found.append(done["before"])
    else:
        row("before", start, len(times.old.events))
    for name, replay in [*((f"continued, replay {replay:g}", replay) for replay in REPLAYS), ("from scratch", None)]:
        if name in done:
            found.append(done[name])
            continue
        print(f"{data}: {name}", file=sys.stderr, flush=True)
        out = scratch / name.replace(" ", "-").replace(",", "")
        if replay is None:
            made = train(times.both, times.new_validation, recipe, out)
        else:
            made = train(
                times.both, times.new_validation, recipe, out, start=start, new=times.is_new, replay=replay
            )  # fmt: skip
        row(name, made, len(times.both.events) if replay is None else int(times.is_new.sum()))
    shutil.rmtree(scratch, ignore_errors=True)
    return found


def _period(checkpoint: Checkpoint, history: Dataset, test: Dataset) -> Period:
    """Asked of these events, each with everything before it."""
    both, scored = together(history, test)
    windows = Windows(both, checkpoint.recipe.context, scored).some(VALIDATION_WINDOWS)
    seen: Validation = validate(checkpoint.model, windows, checkpoint.recipe)
    return Period(
        events=seen.events, loss=round(seen.loss, 5), accuracy=round(seen.accuracy, 5),
        hit_rate=round(seen.hit_rate, 5),
    )  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    for name in options.sets or ["world"]:
        if name == "world":
            split, data = world(options.seed, options.users), f"world {options.seed}, {options.users} users"
            dataset = joined(joined(split.train, split.validation), split.test)
        else:
            dataset, data = public.load(name, options.data_dir), name
        recipe = base_recipe(name, options.recipe, options.epochs)
        rows = measure(dataset, data, recipe, options.out, options.scratch / name)
        print(f"{data}: {len(rows)} rows in {options.out}, {time.monotonic() - begun:.0f} s")
    return 0
