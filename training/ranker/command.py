"""`vows-edge train ranker`: the hybrid ranker of your own log, as a bundle to serve.

Its options are in `training.cli.train_ranker`.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from runtime.models.bundle import MANIFEST
from runtime.models.installed import DEFAULT
from runtime.models.ranker import SequenceFile
from runtime.personalization.neighbours import Neighbours
from training.checkpoint import VALIDATED, Checkpoint
from training.data import public
from training.data.command import FEWEST_EVENTS, load_own
from training.data.events import SKIP, Dataset
from training.data.split import joined, periods
from training.errors import TrainingError
from training.evaluation import metrics
from training.evaluation.bootstrap import mean_interval, paired_interval
from training.evaluation.queries import Queries, sample_queries
from training.evaluation.ranking import rank_targets
from training.evaluation.sequence import GivenCheckpoint, SequenceRecommender
from training.evaluation.sequence_bundle import GivenBundle
from training.ranker.actions import ActionModel
from training.ranker.bundle import write_bundle
from training.ranker.find_sequence import RUNS, find_sequence, has_seen
from training.ranker.recommender import Hybrid, Prior
from training.ranker.with_sequence import HybridWithSequence, gain_of_sequence

_CHECKED_QUERIES = 1_000
_PERIODS = (0.8, 0.1, 0.1)


def run(options: argparse.Namespace) -> int:
    """Returns the exit status. Raises TrainingError as `train_ranker`."""
    own = load_own(options)
    if own is None and options.public_set is None:
        raise TrainingError("name a log with --events, or a public set with --set")
    data = own if own is not None else public.load(options.public_set, options.data_dir)
    run: Path | None = options.sequence
    if run is None and not options.no_sequence:
        run = _found(data)
    print(train_ranker(data, options.out, options.name or options.out.absolute().name, run))
    print(f"serve it with: vows-edge models install {options.out}")
    return 0


def _found(data: Dataset) -> Path | None:
    """The sequence model that is there for this log; says what it is, and how to leave it out."""
    *_, newest = periods(data, _PERIODS)
    if (found := find_sequence(data, newest)) is None:
        print(f"without a sequence model: none of this log is in {RUNS} or installed in {DEFAULT}; see --sequence")
        return None
    print(f"beside the sequence model of {found.folder}, {found.what}; --no-sequence leaves it out")
    return found.folder


def train_ranker(data: Dataset, out: Path, name: str, run: Path | None = None) -> str:
    """Write the bundle and return what was found, in two or three lines. The weights are those of the newest tenth;
    before that they are checked: fitted to the tenth before it and compared with the prior on the newest one. Those of
    the next action, and the second set that reads the score of a sequence model, are checked on half of its users, when
    they were fitted to the others. run: of the sequence model, or its bundle.

    Raises TrainingError for a log that is too small, or a model that has seen the newest tenth.
    """
    engaged = int((data.events.action != SKIP).sum())
    if engaged < FEWEST_EVENTS:
        raise TrainingError(
            f"{data.name} has {engaged:,} engaged events, a ranker needs {FEWEST_EVENTS:,}: serve without one"
        )
    started = time.perf_counter()
    older, middle, newest = periods(data, _PERIODS)
    queries = sample_queries(
        data.events, newest, per_user=10, at_most=_CHECKED_QUERIES, engaged_only=True, source_order_breaks_ties=False
    )
    found = []
    checked, final = Hybrid(), Hybrid()
    for recommender in (checked, Prior()):
        recommender.fit(older, middle)
        found.append(metrics.ndcg(rank_targets(recommender, data, queries, without_seen=False), 10))
    figure, gain = mean_interval(found[0], queries.user), paired_interval(found[0], found[1], queries.user)
    assert checked.table is not None  # of what is older than the newest tenth
    before = joined(older, middle)
    sequence = None if run is None else _sequence(run, before, newest)
    beside: SequenceFile | None = None
    of_sequence: dict[str, Any] = {}
    if sequence is None:
        final.fit_weights(before, newest, checked.table)
    else:
        beside, of_sequence = _fit_beside(final, sequence, before, newest, queries, checked.table)
    final.learn(joined(older, middle, newest))
    assert final.table is not None
    actions = ActionModel(sequence)
    actions.fit(before, newest)
    quality: dict[str, Any] = {
        "checked_on": "the newest tenth, with weights of the tenth before it",
        "ndcg_10": [round(float(value), 4) for value in figure],
        "gain_over_prior": [round(float(value), 4) for value in gain],
        "queries": len(queries),
    }
    quality |= of_sequence | ({"next_action": actions.quality} if actions.quality else {})
    write_bundle(out, name, data, final.weights, final.table, actions, quality, beside)
    verdict = "better" if gain.low > 0 else "worse" if gain.high < 0 else "no difference found"
    return (
        f"{name}: NDCG@10 {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}] on the newest tenth, "
        f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] against the untrained ranker ({verdict}); "
        f"{len(data.events):,} events in {time.perf_counter() - started:.0f} s\n"
        + _of_sequence(beside, of_sequence)
        + _of_actions(actions)
    )


def _fit_beside(
    final: Hybrid, sequence: SequenceRecommender, before: Dataset, newest: Dataset, queries: Queries, table: Neighbours
) -> tuple[SequenceFile, dict[str, Any]]:
    """Fit both sets of weights, the second one with the score of `sequence`, and keep that where it is better. Returns
    what the bundle says of it, and the gain with its interval."""
    both = HybridWithSequence(sequence, impressions=final.impressions)
    both.fit_weights(before, newest, table)
    final.weights, final.ranker = both.weights, both.ranker
    gain = gain_of_sequence(sequence, before, newest, queries, table)
    kept = both.weights_with_sequence if gain.low > 0 else None
    beside = SequenceFile(model_version=sequence.name, run=sequence.run, weights=kept)
    return beside, {"gain_with_sequence": [round(float(value), 4) for value in gain]}


def _of_sequence(beside: SequenceFile | None, quality: dict[str, Any]) -> str:
    if beside is None:
        return ""
    value, low, high = quality["gain_with_sequence"]
    kept = "kept, for where it is served" if beside.weights is not None else "left out: not clearly better"
    return f"with the score of {beside.model_version}: NDCG@10 {value:+.3f} [{low:+.3f}, {high:+.3f}]; {kept}\n"


def _sequence(given: Path, older: Dataset, newest: Dataset) -> SequenceRecommender:
    """The weights of a run, or of a bundle, that have not seen the newest tenth, under their public name."""
    if (given / MANIFEST).exists():
        bundle = GivenBundle(given)
        found: SequenceRecommender = bundle
        folder, until_us = given, bundle.trained_until_us
    else:
        folder = given / VALIDATED
        checkpoint = Checkpoint.load(folder)
        until_us = checkpoint.data.get("trained_until_us")
        found = GivenCheckpoint(checkpoint, name=str(checkpoint.data.get("model_name")))
    if has_seen(newest, until_us):
        raise TrainingError(
            f"{folder} was fitted to events of the newest tenth of {newest.name}, which the ranker is fitted to: give "
            "the folder of `vows-edge train --events` on the same log, which keeps the weights from before it read them"
        )
    found.fit(older, newest)
    return found


def _of_actions(actions: ActionModel) -> str:
    figures = [
        f"{name}: accuracy {one['accuracy'][0]:.3f}, log-loss {one['log_loss'][0]:.3f}"
        for name, one in actions.quality.items()
        if name != "events"
    ]
    return "next action, " + ("; ".join(figures) or "of one kind alone in this log")
