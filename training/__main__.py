"""`python -m training`: one subcommand per step, from data to a report."""

import argparse
import sys
from collections.abc import Sequence

from runtime.cli.extras import run_module

DESCRIPTION = """\
From interactions to a checkpoint and a report: data describes data sets, simulate simulates a world, train makes a
checkpoint, train ranker the hybrid ranker of a log, tune selects a recipe, incremental measures the effect of
fine-tuning an earlier checkpoint, study compares the model's parts and settings, published models and worlds with
intervals, evaluate judges on a log of your own, or compares models under one protocol and writes results and report,
and replay estimates what another ranking would have got from the rankings that an experiment showed."""


def main(arguments: Sequence[str] | None = None, prog: str = "python -m training") -> int:
    """Run a subcommand; returns the exit status (0 done, 1 impossible, 2 bad usage)."""
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Imported here so that a missing extra is one line, see `run_module`.
    from runtime.models.bundle import BundleError
    from runtime.store.errors import StoreError
    from training import command as training
    from training.data import command as data
    from training.data.files import DataError
    from training.errors import TrainingError
    from training.evaluation import command as evaluation
    from training.experiments import incremental, tuning
    from training.experiments.study import command as study
    from training.off_policy import command as off_policy
    from training.ranker import action_comparison, verdict
    from training.ranker import command as ranker
    from training.ranker import comparison_command as comparison
    from training.report.files import write_report
    from training.simulator import command as simulator

    data.add_command(commands)
    simulator.add_command(commands)
    training.add_command(commands)
    ranker.add_command(commands)
    tuning.add_command(commands)
    incremental.add_command(commands)
    comparison.add_command(commands)
    action_comparison.add_command(commands)
    study.add_command(commands)
    evaluation.add_command(commands, verdict.add_options, verdict.print_verdict, write_report)
    off_policy.add_command(commands)
    typed = list(sys.argv[1:] if arguments is None else arguments)
    if (two := " ".join(typed[:2])) in (ranker.NAME, comparison.NAME, action_comparison.NAME):
        typed[:2] = [two]
    options = parser.parse_args(typed)
    try:
        status: int = options.run(options)
    except (BundleError, DataError, FileNotFoundError, StoreError, TrainingError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(run_module(main, "training", extra="train"))
