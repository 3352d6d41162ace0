"""`vows-edge evaluate`: its options."""

import argparse
from pathlib import Path

from training.data import public
from training.data.command import add_sources
from training.evaluation.queries import QueryBudget
from training.simulator.parameters import Parameters

# Worlds that nothing is selected on: training and tuning use seeds below 1,000.
HELD_OUT_SEEDS = (1001, 1002, 1003)
ORDER_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

DESCRIPTION = f"""\
With --events: judge on your own log what is and could be served, in one sentence; nothing is written.

  vows-edge evaluate --events data                a trained ranker, and how to install it if it is better
  vows-edge evaluate --events data --model checkpoints/mine/best
                                                           the sequence model of a checkpoint, too

With sets, --recommender or --sequence: fit, tune and compare models. Each data set is one row of the results file;
measuring it again replaces the row, so a long evaluation can be done in pieces. The report and the model card are
written from the results file alone.

  vows-edge evaluate deskdrop ml-100k             real data, global time split, baselines alone
  vows-edge evaluate deskdrop --sequence          also the sequence model, with the recipe named like the set:
                                                           alone, with recency, and in the blend of all baselines
  vows-edge evaluate ml-100k --protocol last      leave-last-out
  vows-edge evaluate simulated                    held-out worlds {HELD_OUT_SEEDS}, all order strengths ω
  vows-edge evaluate --report-only                write the report again

A recommender is named as module:function=argument, the hybrid ranker as training.ranker.recommender:trained= and
training.ranker.recommender:untrained=; the function is called with the argument and a seed and returns it.
{{order_strength}} and {{seed}} in the argument are replaced, so each world can have its own checkpoint."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "evaluate",
        help="compare models and write results, report and model card",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"simulated, {', '.join(public.NAMES)}")
    add_sources(parser)
    parser.add_argument("--model", type=Path, metavar="CHECKPOINT", help="with --events: a checkpoint to judge, too")
    parser.add_argument("--json", action="store_true", help="with --events: the verdict as JSON")
    parser.add_argument("--protocol", choices=("time", "last"), default="time", help="default: %(default)s")
    parser.add_argument("--recommender", action="append", default=[], metavar="MODULE:FUNCTION=ARGUMENT")
    parser.add_argument(
        "--sequence", action="store_true", help="the sequence model with the recipe that has the name of the set"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of --sequence (default: %(default)s)")
    parser.add_argument(
        "--sample-users", type=int, metavar="N", help="of a real data set, evenly spaced (default: all)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the models, on real data")
    parser.add_argument("--worlds", type=int, nargs="+", default=list(HELD_OUT_SEEDS), help="seeds of worlds")
    parser.add_argument("--order-strengths", type=float, nargs="+", default=list(ORDER_STRENGTHS), metavar="ω")
    parser.add_argument("--world-users", type=int, default=Parameters().users, help="of a world (default: %(default)s)")
    parser.add_argument("--world-items", type=int, default=Parameters().items, help="of a world (default: %(default)s)")
    parser.add_argument("--oracle-users", type=int, default=100, help="users per world for the oracle, 0 for none")
    budget = QueryBudget()
    parser.add_argument("--rankings", type=int, default=budget.ranking, help="at most (default: %(default)s)")
    parser.add_argument("--actions", type=int, default=budget.actions, help="at most (default: %(default)s)")
    parser.add_argument(
        "--cache", type=Path, default=Path("build/predictions"),
        help="keeps predictions of baselines and trained weights for the next run (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--no-baselines", action="store_true", help="only the given models, for a quick look")
    parser.add_argument("--results", type=Path, default=Path("training/results.json"), help="default: %(default)s")
    parser.add_argument("--report", type=Path, default=Path("training/REPORT.md"), help="default: %(default)s")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("checkpoints/reference"),
        help="whose training curve the report shows (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--report-only", action="store_true", help="write the report from the results file")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from training.evaluation.command import run  # these import scikit-learn and torch
    from training.ranker.verdict import print_verdict
    from training.report.files import write_report

    return run(options, print_verdict, write_report)
