"""`vows-edge evaluate ranker`: the hybrid ranker against tuned baselines and blends, on every set and both splits."""

import argparse

import msgspec

from training.data.split import Split, by_time
from training.evaluation.protocol import Recommender
from training.ranker import comparison_results
from training.ranker.comparison import compare, recommenders, split_of, with_sequence
from training.ranker.comparison_results import Comparison
from training.ranker.entries import ORDER_STRENGTHS, SIMULATED, Entry, add_options, pending, real_set, simulated_worlds
from training.ranker.ranked_split import MOST_QUERIES, World, rank_all
from training.ranker.recommender import Hybrid
from training.ranker.with_sequence import HybridWithSequence

NAME = "evaluate ranker"  # two words of the command line, see `training.__main__`
# Worlds that nothing was selected on: the prior was chosen on others.
HELD_OUT_SEEDS = (3001, 3002, 3003)

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
    add_options(parser, results="training/ranker_results.json", worlds=HELD_OUT_SEEDS)
    parser.add_argument("--queries", type=int, default=MOST_QUERIES, help="of a set or world (default: %(default)s)")
    parser.add_argument(
        "--with-sequence", action="store_true",
        help="compare the hybrid that reads a sequence model's score, too, trained by the recipe of `vows-edge train`; "
        "an entry without it is compared again",
    )  # fmt: skip
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    for entry in pending(options, lambda: [key for key, one in _kept(options).items() if _is_complete(one, options)]):
        made = _real(options, entry) if entry.order_strength is None else _simulated(options, entry)
        # Read again: another process may have added an entry in the meantime
        comparison_results.write(comparison_results.read(options.results).with_set(made), options.results)
    print(f"{options.results}: {len(comparison_results.read(options.results).sets)} entries")
    return 0


def _is_complete(one: Comparison, options: argparse.Namespace) -> bool:
    return one.has(HybridWithSequence.name) or not options.with_sequence


def _kept(options: argparse.Namespace) -> dict[str, Comparison]:
    return {one.key: one for one in comparison_results.read(options.results).sets}


def _models(options: argparse.Namespace, split: Split) -> list[Recommender]:
    hybrid, *others = recommenders()
    assert isinstance(hybrid, Hybrid)
    second = [with_sequence(split, hybrid, options.cache / "sequence")] if options.with_sequence else []
    return [hybrid, *second, *others]


def _real(options: argparse.Namespace, entry: Entry) -> Comparison:
    dataset = real_set(options, entry)
    split = split_of(dataset, entry.protocol)
    ranked = rank_all(split, _models(options, split), entry.key, options.queries, options.cache)
    return compare(entry.key, entry.protocol, dataset, [ranked])


def _simulated(options: argparse.Namespace, entry: Entry) -> Comparison:
    ranked: list[World] = []
    for title, dataset in simulated_worlds(options, entry):
        split = by_time(dataset)
        ranked.append(rank_all(split, _models(options, split), title, options.queries, options.cache))
    found = compare(entry.key, "time", dataset, ranked)
    return msgspec.structs.replace(
        found, name=SIMULATED, order_strength=entry.order_strength, seeds=list(options.worlds)
    )  # fmt: skip
