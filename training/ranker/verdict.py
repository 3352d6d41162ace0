"""One sentence for the owner of a log: what ranks better on it than the server does untrained, and how to install it.

Everything that is or could be served predicts the engaged events of the newest fifth of the log, each from what was
known before it. What is fitted is fitted to the four fifths before; a checkpoint is judged as it is, and left out where
it has seen what it would be judged on: `vows-edge train --hold-out 0.2` makes one that has not.
"""

import argparse
import json
import shlex
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from training.checkpoint import BEST, VALIDATED, Checkpoint
from training.data.command import FEWEST_EVENTS
from training.data.events import SKIP, Dataset
from training.data.split import Split, by_time
from training.evaluation import metrics
from training.evaluation.baselines.popularity import FreshPopularity
from training.evaluation.bootstrap import Interval, mean_interval, paired_interval
from training.evaluation.protocol import Recommender
from training.evaluation.queries import Queries, sample_queries
from training.evaluation.ranking import rank_targets
from training.evaluation.sequence import GivenCheckpoint, GivenRun
from training.ranker.recommender import Hybrid, Prior, Simple
from training.ranker.with_sequence import HybridWithSequence

FEWEST_USERS = 50  # with a query: the interval resamples users, and of fewer it says little
_FEW = 0.01  # of the newest fifth, that two ways of cutting it may differ by
MOST_QUERIES, MOST_PER_USER = 4_000, 10
SERVED, FITTED, SIMPLE, SEQUENCE = "untrained hybrid", "fitted hybrid", "simple", "sequence"
BOTH = "fitted hybrid + sequence"
_ALTERNATIVES = (FITTED, SIMPLE, SEQUENCE, BOTH)
# As `vows-edge train --hold-out 0.2` cuts a log
_SHARES = (0.72, 0.08, 0.2)

Outcome = Literal["better", "no_difference", "worse", "too_little_data"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """NDCG@10 of one recommender, and its difference to the untrained hybrid: value, low and high."""

    name: str
    ndcg_10: Interval
    difference: Interval | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """install: commands, in their order. notes: what limits the verdict."""

    outcome: Outcome
    sentence: str
    log: str
    engaged_events: int
    queries: int = 0
    users: int = 0
    rows: list[Row] = []
    install: list[str] = []
    notes: list[str] = []


def print_verdict(data: Dataset, options: argparse.Namespace) -> int:
    """Exit status 0, whatever the verdict is."""
    source = ["--events", str(options.events)] + (["--items", str(options.items)] if options.items else [])
    found = verdict(data, shlex.join(source), options.model)
    print(as_json(found) if options.json else as_text(found))
    return 0


def verdict(data: Dataset, source: str, model: Path | None = None) -> Verdict:
    """source: the options that name the log, for the commands. model: a checkpoint of the sequence model.

    Raises TrainingError for a folder that is no checkpoint.
    """
    checkpoint = None if model is None else Checkpoint.load(model)
    engaged = int((data.events.action != SKIP).sum())
    if engaged < FEWEST_EVENTS:
        return _too_little(data, engaged, f"{engaged:,} engaged events, at least {FEWEST_EVENTS:,} are needed")
    split = by_time(data, _SHARES)
    queries = sample_queries(
        data.events, split.test, per_user=MOST_PER_USER, at_most=MOST_QUERIES, engaged_only=True,
        source_order_breaks_ties=False,
    )  # fmt: skip
    users = len(np.unique(queries.user))
    if users < FEWEST_USERS:
        found = f"{users:,} users in its newest fifth, at least {FEWEST_USERS:,} are needed"
        return _too_little(data, engaged, found)
    notes = [] if checkpoint is None else _notes(checkpoint, split)
    if checkpoint is not None and (seen := _has_seen(checkpoint, split, source)):
        checkpoint, notes = None, [seen]
    run = None if checkpoint is None or model is None else _run(model, checkpoint, split)
    if checkpoint is not None and run is None and set(checkpoint.ids) & set(data.catalogue.ids):
        notes.append(
            f"{BOTH} is left out: beside {model} there is no {VALIDATED} of the same run that has not seen what its "
            "weights are fitted to; `vows-edge train --events` with --hold-out 0.2 keeps one"
        )
    found_ndcg = {one.name: _ndcg(one, data, split, queries) for one in _recommenders(checkpoint, run)}
    rows = _rows(found_ndcg, queries.user)
    outcome, sentence, install = _judged(rows, source, model)
    return Verdict(
        outcome=outcome, sentence=sentence, log=data.name, engaged_events=engaged, queries=len(queries), users=users,
        rows=rows, install=install, notes=notes,
    )  # fmt: skip


def _run(model: Path, checkpoint: Checkpoint, split: Split) -> GivenRun | None:
    """The run that a checkpoint is the result of, if its weights from before the last epoch are beside it and have not
    seen the validation part."""
    folder = model.parent / VALIDATED
    if not folder.exists():
        return None
    validated = Checkpoint.load(folder)
    until_us = validated.data.get("trained_until_us")
    if until_us is None or validated.run != checkpoint.run:
        return None
    seen = (split.validation.events.time_us <= until_us).mean()
    return GivenRun(validated, checkpoint, name=SEQUENCE) if seen <= _FEW else None


def _recommenders(checkpoint: Checkpoint | None, run: GivenRun | None) -> list[Recommender]:
    served, fitted, simple = Prior(), Hybrid(), Simple()
    served.name, fitted.name, simple.name = SERVED, FITTED, SIMPLE
    found: list[Recommender] = [served, fitted, simple, FreshPopularity()]
    if checkpoint is not None:
        found.append(GivenCheckpoint(checkpoint, name=SEQUENCE))
    if run is not None:
        both = HybridWithSequence(run)
        both.name = BOTH
        found.append(both)
    return found


def _ndcg(recommender: Recommender, data: Dataset, split: Split, queries: Queries) -> NDArray[np.float64]:
    recommender.fit(split.train, split.validation)
    return metrics.ndcg(rank_targets(recommender, data, queries, without_seen=False), 10)


def _rows(found: dict[str, NDArray[np.float64]], users: NDArray[np.int32]) -> list[Row]:
    """Intervals of the differences are widened for their number (Bonferroni), because the best of them is named."""
    alternatives = sum(name in _ALTERNATIVES for name in found)
    normal = NormalDist()
    wider = normal.inv_cdf(1 - 0.025 / alternatives) / normal.inv_cdf(0.975)
    rows = []
    for name, ndcg in found.items():
        difference = None
        if name != SERVED:
            value, low, high = paired_interval(ndcg, found[SERVED], users)
            difference = Interval(value, value + wider * (low - value), value + wider * (high - value))
        rows.append(Row(name=name, ndcg_10=mean_interval(ndcg, users), difference=difference))
    return rows


def _judged(rows: list[Row], source: str, model: Path | None) -> tuple[Outcome, str, list[str]]:
    compared = [(row.name, row.difference) for row in rows if row.difference and row.name in _ALTERNATIVES]
    name, best = max(compared, key=lambda one: one[1].value)
    interval = f"{best.value:+.3f} [{best.low:+.3f}, {best.high:+.3f}]"
    if best.low > 0:
        install = _install(name, source, model)
        return "better", f"better: {name}, by {interval} NDCG@10 over what is served untrained", install
    if all(difference.high < 0 for _, difference in compared):
        return (
            "worse",
            f"worse: the best of the others, {name}, by {interval} NDCG@10; keep what is served untrained",
            [],
        )
    return (
        "no_difference",
        f"no difference found: {name} is {interval} NDCG@10 from what is served untrained, which you can keep",
        [],
    )


def _install(name: str, source: str, model: Path | None) -> list[str]:
    if name == FITTED:
        out = "models/rankers/mine"
        return [f"vows-edge train ranker {source} --out {out}", f"vows-edge models install {out}"]
    if name in (SEQUENCE, BOTH):
        out = "models/sequences/mine"
        train_and_export = [
            f"vows-edge train {source} --out checkpoints/mine   # as {model} was, and now on all of the log",
            f"vows-edge export sequence --checkpoint checkpoints/mine/{BEST} --out {out}",
        ]
        if name == SEQUENCE:
            return [*train_and_export, f"vows-edge models install {out}   # and rank with model=sequence"]
        ranker = "models/rankers/mine"
        return [
            *train_and_export,
            f"vows-edge train ranker {source} --sequence checkpoints/mine --out {ranker}",
            f"vows-edge models install {out}",
            f"vows-edge models install {ranker}",
        ]
    return ["# nothing to install: rank with model=simple"]


def _has_seen(checkpoint: Checkpoint, split: Split, source: str) -> str | None:
    """Why a checkpoint of this log cannot be judged on its newest fifth; None where it can."""
    seen_until_us = checkpoint.data.get("seen_until_us")
    judged = split.test.events.time_us
    if seen_until_us is None or (judged <= seen_until_us).mean() <= _FEW:
        return None
    if not set(checkpoint.ids) & set(split.train.catalogue.ids):
        return None
    return (
        f"the checkpoint is left out: it has seen events up to {_day(seen_until_us)}, and those that it would be "
        f"judged on begin on {_day(int(judged.min()))}; train one that has not: vows-edge train {source} "
        f"--hold-out 0.2 --out checkpoints/judged, and judge checkpoints/judged/{BEST}"
    )


def _notes(checkpoint: Checkpoint, split: Split) -> list[str]:
    older = len(split.train.events) + len(split.validation.events)
    seen = checkpoint.data.get("training_events", 0) + checkpoint.data.get("validation_events", 0)
    same_log = "seen_until_us" not in checkpoint.data and checkpoint.data.get("name") == split.train.name
    if same_log and seen > older:
        return [
            f"the checkpoint was trained on {seen:,} events, and only {older:,} are older than those it is judged on: "
            "it may have seen some of these"
        ]
    if not set(checkpoint.ids) & set(split.train.catalogue.ids):
        return ["the checkpoint was trained on none of the items of this log"]
    return []


def _day(time_us: int) -> str:
    return str(np.datetime64(time_us, "us"))[:10]


def _too_little(data: Dataset, engaged: int, found: str) -> Verdict:
    sentence = f"too little data: {data.name} has {found}; keep what is served untrained until then"
    return Verdict(outcome="too_little_data", sentence=sentence, log=data.name, engaged_events=engaged)


def as_text(found: Verdict) -> str:
    """The table, the notes, and the sentence last, with the commands."""
    lines = []
    if found.rows:
        lines.append(f"{found.log}: {found.queries:,} engaged events of {found.users:,} users in the newest fifth")
        lines.append(f"{'':26}NDCG@10 [95 %]         difference to what is served untrained")
        for row in sorted(found.rows, key=lambda one: -one.ndcg_10.value):
            difference = "" if row.difference is None else _interval(row.difference, "+.3f")
            lines.append(f"{row.name:26}{_interval(row.ndcg_10, '.3f'):23}{difference}")
    lines += [f"note: {note}" for note in found.notes]
    sentence = found.sentence + ("; install it with:" if found.install else "")
    return "\n".join([*lines, sentence, *(f"  {command}" for command in found.install)])


def as_json(found: Verdict) -> str:
    """For machines; intervals are [value, low, high]."""
    return json.dumps(msgspec.to_builtins(found), indent=1)


def _interval(found: Interval, style: str) -> str:
    return f"{found.value:{style}} [{found.low:{style}}, {found.high:{style}}]"
