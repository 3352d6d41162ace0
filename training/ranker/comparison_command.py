"""`vows-edge evaluate ranker`: the hybrid ranker against tuned baselines and blends, on every set and both splits."""

import argparse
import sys
from pathlib import Path

import msgspec

from training.data import public
from training.data.command import add_sources
from training.data.files import DataError
from training.data.split import by_time
from training.ranker import comparison_results
from training.ranker.comparison import MOST_QUERIES, World, compare, rank_all, recommenders, split_of
from training.ranker.comparison_results import Comparison
from training.simulator.parameters import Parameters
from training.simulator.world import simulate

NAME = "evaluate ranker"  # two words of the command line, see `training.__main__`
SIMULATED = "simulated"
# Worlds that nothing was selected on: the prior was chosen on others.
HELD_OUT_SEEDS = (3001, 3002, 3003)
ORDER_STRENGTHS = (0.0, 1.0)

DESCRIPTION = f"""\
Compare the hybrid ranker, fitted to each log, with its prior, the simple model as served, and tuned baselines and
blends: NDCG@10 of the next engaged item over the whole catalogue, on every target, on items the user never met and on
those other than the last one; R(0) and R(5). Intervals resample users, and worlds. Each set and split is an entry of
the results file; one that is there already is kept unless it is named with --again.

  vows-edge evaluate ranker                            every set that is there, both splits, and simulated worlds
  vows-edge evaluate ranker deskdrop --protocol last --again
  vows-edge evaluate --report-only                     write the report from what was kept

Simulated worlds: seeds {HELD_OUT_SEEDS}, order strengths {ORDER_STRENGTHS}."""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        NAME,
        help="compare the hybrid ranker with tuned baselines and blends",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{SIMULATED}, {', '.join(public.NAMES)}")
    parser.add_argument("--protocol", nargs="+", choices=("time", "last"), default=["time", "last"])
    parser.add_argument("--worlds", type=int, nargs="+", default=list(HELD_OUT_SEEDS), metavar="SEED")
    parser.add_argument("--order-strengths", type=float, nargs="+", default=list(ORDER_STRENGTHS), metavar="ω")
    parser.add_argument("--world-users", type=int, default=Parameters().users, help="default: %(default)s")
    parser.add_argument("--sample-users", type=int, metavar="N", help="of a real set, evenly spaced (default: all)")
    parser.add_argument("--queries", type=int, default=MOST_QUERIES, help="of a set or world (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="replace entries that are there")
    parser.add_argument(
        "--results", type=Path, default=Path("training/ranker_results.json"), help="default: %(default)s"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path("build/predictions"), help="keeps what baselines rank (default: %(default)s)"
    )
    add_sources(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if unknown := set(options.sets) - {SIMULATED, *public.NAMES}:
        raise DataError(f"no set is called {', '.join(sorted(unknown))}; there are {SIMULATED}, "
                        f"{', '.join(public.NAMES)}")  # fmt: skip
    for name in options.sets or (*public.NAMES, SIMULATED):
        if name == SIMULATED:
            for strength in options.order_strengths:
                _kept(options, f"{SIMULATED}, order strength {strength:g}", strength)
            continue
        try:
            public.load(name, options.data_dir)
        except DataError as error:
            if options.sets:
                raise
            print(f"{name}: not available. {error}", file=sys.stderr)
            continue
        for protocol in options.protocol:
            _kept(options, f"{name}, {protocol}", None)
    print(f"{options.results}: {len(comparison_results.read(options.results).sets)} entries")
    return 0


def _kept(options: argparse.Namespace, key: str, strength: float | None) -> None:
    """Compare and write the entry, unless it is there."""
    found = comparison_results.read(options.results)
    if not options.again and any(one.key == key for one in found.sets):
        print(f"{key}: already in {options.results}; --again replaces it", file=sys.stderr)
        return
    entry = _real(options, key) if strength is None else _simulated(options, key, strength)
    # Read again: another process may have added an entry in the meantime
    comparison_results.write(comparison_results.read(options.results).with_set(entry), options.results)


def _real(options: argparse.Namespace, key: str) -> Comparison:
    name, protocol = key.split(", ")
    dataset = public.load(name, options.data_dir)
    if options.sample_users:
        dataset = dataset.some_users(options.sample_users)
    return compare(
        key,
        protocol,
        dataset,
        [rank_all(split_of(dataset, protocol), recommenders(), key, options.queries, options.cache)],
    )


def _simulated(options: argparse.Namespace, key: str, strength: float) -> Comparison:
    parameters = Parameters(order_strength=strength, users=options.world_users)
    worlds: list[World] = []
    for seed in options.worlds:
        dataset = simulate(parameters, seed).dataset
        worlds.append(
            rank_all(by_time(dataset), recommenders(), f"{key}, world {seed}", options.queries, options.cache)
        )
    found = compare(key, "time", dataset, worlds)
    return msgspec.structs.replace(found, name=SIMULATED, order_strength=strength, seeds=list(options.worlds))
