"""`vows-edge evaluate`: compare models under one protocol, on real data and on held-out simulated worlds.

Its options are in `training.cli.evaluate`.
"""

import argparse
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from training.data import public
from training.data.command import load_own
from training.data.events import Dataset
from training.data.files import DataError
from training.evaluation import results, trial_records
from training.evaluation.evaluate import Factory, real_set, simulated_worlds
from training.evaluation.protocol import Recommender
from training.evaluation.queries import QueryBudget
from training.evaluation.sequence_blends import MODEL, sequence_blends
from training.simulator.parameters import Parameters


def run(
    options: argparse.Namespace,
    print_verdict: Callable[[Dataset, argparse.Namespace], int],
    write_report: Callable[[Path, Path, Path], None],
) -> int:
    """Returns the exit status. print_verdict: what --events alone does. write_report: from results, to report, with a
    checkpoint's curve. They come from layers above this one."""
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
