"""`python -m training`: one subcommand per step, from data to a report."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from runtime.cli.extras import run_module

DESCRIPTION = """\
From interactions to a checkpoint and a report: data describes data sets, simulate simulates a world, train makes a
checkpoint, train ranker the hybrid ranker of a log, tune selects a recipe, incremental measures the effect of
fine-tuning an earlier checkpoint, study compares the model's parts and settings, published models and worlds with
intervals, evaluate judges on a log of your own, or compares models under one protocol and writes results and report,
and replay estimates what another ranking would have got from the rankings that an experiment showed."""

# Name of one word or two → module with `add_command`. Only the module of the command is imported: torch takes seconds.
COMMANDS = {
    "data": "training.data.command",
    "simulate": "training.simulator.command",
    "train": "training.cli.train",
    "train ranker": "training.cli.train_ranker",
    "tune": "training.experiments.tuning",
    "incremental": "training.experiments.incremental",
    "evaluate ranker": "training.ranker.comparison_command",
    "evaluate actions": "training.ranker.action_comparison",
    "study": "training.experiments.study.command",
    "evaluate": "training.cli.evaluate",
    "replay": "training.cli.replay",
}


def main(arguments: Sequence[str] | None = None, prog: str = "python -m training") -> int:
    """Run a subcommand; returns the exit status (0 done, 1 impossible, 2 bad usage)."""
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Imported here so that a missing extra is one line, see `run_module`.
    from runtime.models.bundle import BundleError
    from runtime.store.errors import StoreError
    from training.data.files import DataError
    from training.errors import TrainingError

    typed = list(sys.argv[1:] if arguments is None else arguments)
    if (two := " ".join(typed[:2])) in COMMANDS:
        typed[:2] = [two]
    named = typed[0] if typed and typed[0] in COMMANDS else None
    for module in COMMANDS.values() if named is None else [COMMANDS[named]]:
        importlib.import_module(module).add_command(commands)
    options = parser.parse_args(typed)
    try:
        status: int = options.run(options)
    except (BundleError, DataError, FileNotFoundError, StoreError, TrainingError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(run_module(main, "training", extra="train"))
