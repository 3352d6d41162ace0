"""`vows-edge evaluate`: compare models under one protocol, on real data and on held-out simulated worlds."""

import argparse
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from training.data import public
from training.data.command import add_sources, load_own
from training.data.events import Dataset
from training.data.files import DataError
from training.evaluation import results, trial_records
from training.evaluation.evaluate import Factory, real_set, simulated_worlds
from training.evaluation.protocol import Recommender
from training.evaluation.queries import QueryBudget
from training.evaluation.sequence_blends import MODEL, sequence_blends
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


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    add_verdict_options: Callable[[argparse.ArgumentParser], None],
    print_verdict: Callable[[Dataset, argparse.Namespace], int],
    write_report: Callable[[Path, Path, Path], None],
) -> None:
    """print_verdict: what --events alone does. write_report: from results, to report, with a checkpoint's curve. They
    come from layers above this one."""
    parser = commands.add_parser(
        "evaluate",
        help="compare models and write results, report and model card",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"simulated, {', '.join(public.NAMES)}")
    add_sources(parser)
    add_verdict_options(parser)
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
    parser.set_defaults(run=partial(_run, print_verdict, write_report))


def _run(
    print_verdict: Callable[[Dataset, argparse.Namespace], int],
    write_report: Callable[[Path, Path, Path], None],
    options: argparse.Namespace,
) -> int:
    own = load_own(options)
    compared = options.sets or options.recommender or options.sequence or options.report_only
    if own is not None and not compared:
        return print_verdict(own, options)
    if options.model is not None or options.json:
        raise DataError("--model and --json belong to the verdict on a log: give --events, and nothing to compare")
    found = results.read(options.results) if options.results.exists() else results.Results()
    if not options.report_only:
        if not options.sets and own is None:
            print("training: name a set, give --events, or ask for --report-only", file=sys.stderr)
            return 2
        factories = [factory(text) for text in options.recommender]
        budget = replace(QueryBudget(), ranking=options.rankings, actions=options.actions)
        if own is not None:
            found = _saved(found, _real(own, options, factories, budget), options.results)
        for name in options.sets:
            if name != "simulated":
                row = _real(public.load(name, options.data_dir), options, factories, budget)
                found = _saved(found, row, options.results)
                continue
            for strength in options.order_strengths:
                world = Parameters(order_strength=strength, users=options.world_users, items=options.world_items)
                row = simulated_worlds(
                    world, options.worlds, factories, budget,
                    oracle_users=options.oracle_users, with_baselines=not options.no_baselines,
                )  # fmt: skip
                found = _saved(found, row, options.results)
    write_report(options.results, options.report, options.checkpoint)
    print(f"{options.results}: {len(found.sets)} sets; report in {options.report}")
    return 0


def _real(
    dataset: Dataset, options: argparse.Namespace, factories: list[Factory], budget: QueryBudget
) -> results.SetResult:
    if options.sequence:
        factories = [*factories, *_sequence(dataset.name, options.results, options.cache / MODEL, options.device)]
    if options.sample_users:
        dataset = dataset.some_users(options.sample_users)
    return real_set(
        dataset, options.protocol, factories, options.seeds, budget, with_baselines=not options.no_baselines,
        cache_folder=options.cache,
    )  # fmt: skip


def _sequence(name: str, path: Path, keep: Path, device: str) -> list[Factory]:
    """The sequence model with the recipe of the data set, and the blends with it. Raises DataError without a recipe."""
    from training.evaluation.sequence import SequenceRecommender  # imports torch
    from training.recipes import RECIPES

    if name not in RECIPES:
        raise DataError(f"no recipe is called {name}; there are {', '.join(RECIPES)}: name one with --recommender")
    tried = len(trial_records.read(path.parent / trial_records.TUNING, name))

    def model(order_strength: str, seed: int) -> Recommender:
        recipe = replace(RECIPES[name](), seed=seed)
        return SequenceRecommender(recipe, name=MODEL, refit=True, settings_tried=tried, keep=keep, device=device)

    def blend(number: int) -> Factory:
        return lambda order_strength, seed: sequence_blends(MODEL)[number]

    return [model, *(blend(number) for number in range(len(sequence_blends(MODEL))))]


def _saved(found: results.Results, row: results.SetResult, path: Path) -> results.Results:
    """The results with the row, written to the file: a later failure does not lose what is measured."""
    found = found.with_set(row)
    results.write(found, path)
    return found


def factory(text: str) -> Factory:
    """The factory that "module:function=argument" names. Raises DataError where there is none."""
    place, _, argument = text.partition("=")
    module, _, name = place.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(f"no recommender at {text!r} (module:function=argument): {error}") from error

    def made(order_strength: str, seed: int) -> Recommender:
        filled = argument.replace("{order_strength}", order_strength).replace("{seed}", str(seed))
        recommender: Recommender = make(filled, seed)
        return recommender

    return made
