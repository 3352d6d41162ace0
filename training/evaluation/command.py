"""`vows-edge evaluate`: contenders under one protocol, on real sets and on held-out simulated worlds."""

import argparse
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from training.data import public
from training.data.command import add_sources, load_own
from training.data.events import Dataset
from training.data.files import DataError
from training.evaluation import results, trials
from training.evaluation.answers import Budget
from training.evaluation.protocol import Contender
from training.evaluation.report import write_report
from training.evaluation.study import real_set, simulated_worlds
from training.evaluation.with_model import MODEL, with_model
from training.simulator.parameters import Parameters

# Worlds that nothing is chosen on: training and its ablations take seeds below 1,000.
HELD_OUT_SEEDS = (1001, 1002, 1003)
OMEGAS = (0.0, 0.25, 0.5, 0.75, 1.0)

DESCRIPTION = f"""\
Fit, tune and compare. Each data set is one row of the results file; a row measured again replaces the old one, so a
long evaluation can be made in pieces. The report and the model card are written from the results file alone.

  vows-edge evaluate deskdrop ml-100k             real sets, global time split, baselines alone
  vows-edge evaluate deskdrop --sequence          and the sequence model by its recipe for the set, alone,
                                                           beside recency, and in the blend of all baselines
  vows-edge evaluate ml-100k --protocol last      leave-last-out
  vows-edge evaluate simulated                    held-out worlds {HELD_OUT_SEEDS}, the whole omega curve
  vows-edge evaluate --report-only                write the report again

A contender is named as module:function=argument; the function is called with the argument and a seed and returns it.
{{omega}} and {{seed}} in the argument are filled in, so each world can have its own checkpoint."""

Factory = Callable[[str, int], Contender]


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "evaluate",
        help="compare contenders and write results, report and model card",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"simulated, {', '.join(public.NAMES)}")
    add_sources(parser)
    parser.add_argument("--protocol", choices=("time", "last"), default="time", help="default: %(default)s")
    parser.add_argument("--contender", action="append", default=[], metavar="MODULE:FUNCTION=ARGUMENT")
    parser.add_argument(
        "--sequence", action="store_true", help="the sequence model by the recipe that has the name of the set"
    )
    parser.add_argument("--sample-users", type=int, metavar="N", help="of a real set, in even steps (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of contenders, on real sets")
    parser.add_argument("--worlds", type=int, nargs="+", default=list(HELD_OUT_SEEDS), help="seeds of worlds")
    parser.add_argument("--omegas", type=float, nargs="+", default=list(OMEGAS))
    parser.add_argument("--world-users", type=int, default=Parameters().users, help="of a world (default: %(default)s)")
    parser.add_argument("--world-items", type=int, default=Parameters().items, help="default: %(default)s")
    parser.add_argument("--bound-users", type=int, default=100, help="users a world for the exact filter")
    parser.add_argument("--ranked", type=int, default=Budget().ranked, help="targets at most (default: %(default)s)")
    parser.add_argument("--acted", type=int, default=Budget().acted, help="actions at most (default: %(default)s)")
    parser.add_argument(
        "--answers", type=Path, default=Path("build/answers"),
        help="where answers of baselines are kept: the same question is not computed again (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--no-baselines", action="store_true", help="contenders only, for a quick look")
    parser.add_argument("--results", type=Path, default=Path("training/results.json"), help="default: %(default)s")
    parser.add_argument("--report", type=Path, default=Path("training/REPORT.md"), help="default: %(default)s")
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("checkpoints/reference"),
        help="whose training curve the report draws (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--report-only", action="store_true", help="write the report from the results file")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    found = results.read(options.results) if options.results.exists() else results.Results()
    if not options.report_only:
        if not options.sets and options.events is None:
            print("training: name a set, give --events, or ask for --report-only", file=sys.stderr)
            return 2
        factories = [factory(text) for text in options.contender]
        budget = replace(Budget(), ranked=options.ranked, acted=options.acted)
        own = load_own(options)
        for dataset in [own] if own is not None else []:
            found = _kept(found, _real(dataset, options, factories, budget), options.results)
        for name in options.sets:
            if name == "simulated":
                for omega in options.omegas:
                    world = replace(Parameters(), omega=omega, users=options.world_users, items=options.world_items)
                    row = simulated_worlds(
                        world, options.worlds, factories, budget,
                        bound_users=options.bound_users, with_baselines=not options.no_baselines,
                    )  # fmt: skip
                    found = _kept(found, row, options.results)
            else:
                dataset = public.load(name, options.data_dir)
                found = _kept(found, _real(dataset, options, factories, budget), options.results)
    write_report(found, options.report, options.results.parent, options.checkpoint)
    print(f"{options.results}: {len(found.sets)} sets; report in {options.report}")
    return 0


def _real(dataset: Dataset, options: argparse.Namespace, factories: list[Factory], budget: Budget) -> results.SetResult:
    if options.sequence:
        factories = [*factories, *_sequence(dataset.name, options.results, options.answers / MODEL)]
    if options.sample_users:
        dataset = dataset.some_users(options.sample_users)
    return real_set(
        dataset, options.protocol, factories, options.seeds, budget, with_baselines=not options.no_baselines,
        answers=options.answers,
    )  # fmt: skip


def _sequence(name: str, path: Path, keep: Path) -> list[Factory]:
    """The model by its recipe for the set, and the blends that it is a part of. Raises DataError without a recipe."""
    from training.contender import SequenceContender  # torch is loaded where it is used
    from training.recipes import RECIPES

    if name not in RECIPES:
        raise DataError(f"no recipe is called {name}; there are {', '.join(RECIPES)}: name one with --contender")
    tried = len(trials.read(path.parent / trials.TUNING, name))

    def model(omega: str, seed: int) -> Contender:
        recipe = replace(RECIPES[name](), seed=seed)
        return SequenceContender(recipe, name=MODEL, again=True, tried=tried, keep=keep)

    def blend(number: int) -> Factory:
        return lambda omega, seed: with_model(MODEL)[number]

    return [model, *(blend(number) for number in range(len(with_model(MODEL))))]


def _kept(found: results.Results, row: results.SetResult, path: Path) -> results.Results:
    """Written after each set: what is measured is not lost to what fails later."""
    found = found.with_set(row)
    results.write(found, path)
    return found


def factory(text: str) -> Callable[[str, int], Contender]:
    """From "module:function=argument": a function of omega (as text, "real" for real data) and seed."""
    place, _, argument = text.partition("=")
    module, _, name = place.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DataError(f"no contender at {text!r} (module:function=argument): {error}") from error

    def made(omega: str, seed: int) -> Contender:
        contender: Contender = make(argument.replace("{omega}", omega).replace("{seed}", str(seed)), seed)
        return contender

    return made
