"""The hybrid ranker against tuned baselines and blends on one split: one query context, one catalogue, every model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from training.command import recipe_of_log
from training.data.events import Dataset
from training.data.split import Split, by_time, leave_last_out
from training.evaluation import metrics
from training.evaluation.baselines import (
    EASE,
    EVERYTHING,
    FRESH,
    KNN_AND_MARKOV,
    RECENCY,
    Blend,
    FreshPopularity,
    ItemKNN,
    Markov,
    OwnHistory,
    Popularity,
    WeightedAverage,
)
from training.evaluation.bootstrap import interval_over_worlds
from training.evaluation.prediction_cache import RankingPredictions
from training.evaluation.protocol import Recommender
from training.evaluation.results import Figure
from training.evaluation.sequence import SequenceRecommender
from training.evaluation.summary import serialisable
from training.ranker.comparison_results import Compared, Comparison
from training.ranker.ranked_split import COLD_EVENTS, K, World
from training.ranker.recommender import Hybrid, Prior, Simple
from training.ranker.with_sequence import HybridWithSequence


def recommenders() -> list[Recommender]:
    """What is compared, blends after their parts: they reuse the selected hyperparameters."""
    popular, own, simple = FreshPopularity(), OwnHistory(), WeightedAverage()
    markov, knn, ease = Markov(), ItemKNN(), EASE()
    return [
        Hybrid(), Prior(), Simple(), Popularity(), popular, own, markov, knn, ease, simple,
        Blend(KNN_AND_MARKOV, [knn, markov]),
        Blend(RECENCY, [popular, own]),
        Blend(FRESH, [popular, own, simple]),
        Blend(EVERYTHING, [knn, ease, markov, popular, own, simple]),
    ]  # fmt: skip


def with_sequence(split: Split, first: Hybrid, keep: Path | None = None) -> HybridWithSequence:
    """`first`, which is fitted before it, with the score of a sequence model, which has the recipe of `vows-edge train`
    for this log. keep: see `SequenceRecommender`."""
    recipe = recipe_of_log(split.train, split.validation)
    return HybridWithSequence(SequenceRecommender(recipe, refit=True, keep=keep, progress=False), first=first)


def split_of(dataset: Dataset, protocol: str) -> Split:
    """protocol: time, or last for leave-last-out."""
    return by_time(dataset) if protocol == "time" else leave_last_out(dataset)


def compare(key: str, protocol: str, dataset: Dataset, worlds: Sequence[World], ours: str = Hybrid.name) -> Comparison:
    """Figures of every model, over worlds together, and their differences to `ours`. dataset: of the last world."""
    names = list(worlds[0].ranks)
    # Where nothing repeats, what was seen is no candidate, and every target is new
    repeats = worlds[0].queries.repeats
    slices = {"": _Slice(worlds, _every, _all)}
    if repeats:
        slices["_never_seen"] = _Slice(
            worlds, lambda world: np.flatnonzero(~world.queries.ranking.seen_before), lambda of, at: of.never_seen[at]
        )
        slices["_not_the_last"] = _Slice(worlds, lambda world: np.flatnonzero(~world.repeats_last), _all)
    few = {k: _Slice(worlds, lambda world: world.cold_rows, partial(_cold, k)) for k in COLD_EVENTS}
    rows = [
        Compared(
            name=name,
            choice=serialisable(worlds[0].ranks[name].choice),
            fit_seconds=round(float(np.mean([world.ranks[name].fit_seconds for world in worlds])), 1),
            ndcg_10=slices[""].figure(name),
            never_seen=slices["_never_seen"].figure(name) if repeats else None,
            not_the_last=slices["_not_the_last"].figure(name) if repeats else None,
            kept={str(k): share for k in COLD_EVENTS if (share := _kept(worlds, name, k)) is not None},
            few={str(k): _mean(metrics.ndcg(world.ranks[name].cold[k], K) for world in worlds) for k in COLD_EVENTS},
            by_world=[slices[""].mean(world, name) for world in worlds] if len(worlds) > 1 else [],
        )
        for name in names
    ]
    for field_name, one in (("ahead", ours), ("second_ahead", HybridWithSequence.name)):
        if one in names:
            rows = [_with_differences(row, field_name, one, slices, few) for row in rows]
    targets = sum(len(world.queries.ranking) for world in worlds)
    return Comparison(
        key=key,
        name=dataset.name,
        protocol=protocol,
        licence=dataset.licence,
        limits=list(dataset.limits),
        events=len(dataset.events),
        items=len(dataset.catalogue),
        users=sum(len(np.unique(world.queries.ranking.user)) for world in worlds),
        targets=targets,
        repeats=repeats,
        last_share=round(sum(int(world.repeats_last.sum()) for world in worlds) / targets, 3),
        new_share=round(sum(int((~world.queries.ranking.seen_before).sum()) for world in worlds) / targets, 3),
        rows=rows,
    )


def _with_differences(
    row: Compared, field_name: str, ours: str, slices: Mapping[str, "_Slice"], few: Mapping[int, "_Slice"]
) -> Compared:
    if row.name == ours:
        return row
    found = {f"{field_name}{ending}": targets.difference(ours, row.name) for ending, targets in slices.items()}
    of_few = {str(k): targets.difference(ours, row.name) for k, targets in few.items() if targets.any}
    return replace(row, **found, **{f"{field_name}_few": of_few})


def _every(world: World) -> NDArray[np.int64]:
    return np.arange(len(world.queries.ranking))


def _all(found: RankingPredictions, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return found.all[rows]


def _cold(k: int, found: RankingPredictions, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return found.cold[k]


class _Slice:
    """Some of the targets, and NDCG@10 on them."""

    def __init__(
        self,
        worlds: Sequence[World],
        chosen: Callable[[World], NDArray[np.int64]],
        ranks: Callable[[RankingPredictions, NDArray[np.int64]], NDArray[np.int64]],
    ) -> None:
        """chosen: rows of the queries, [k]. ranks: of the targets of these rows, [k]."""
        self._worlds = [(world, chosen(world)) for world in worlds]
        self._ranks = ranks

    @property
    def any(self) -> bool:
        """Whether there is a target."""
        return any(len(rows) for _, rows in self._worlds)

    def _ndcg(self, world: World, rows: NDArray[np.int64], name: str) -> NDArray[np.float64]:
        return metrics.ndcg(self._ranks(world.ranks[name], rows), K)

    def figure(self, name: str) -> Figure:
        found = [(self._ndcg(w, rows, name), w.queries.ranking.user[rows]) for w, rows in self._worlds]
        return Figure.of(interval_over_worlds(found))

    def difference(self, ours: str, theirs: str) -> Figure:
        found = [
            (self._ndcg(w, rows, ours) - self._ndcg(w, rows, theirs), w.queries.ranking.user[rows])
            for w, rows in self._worlds
        ]
        return Figure.of(interval_over_worlds(found))

    def mean(self, wanted: World, name: str) -> float:
        return next(round(float(self._ndcg(w, rows, name).mean()), 4) for w, rows in self._worlds if w is wanted)


def _mean(of_worlds: Iterable[NDArray[np.float64]]) -> float:
    found = np.concatenate(list(of_worlds))
    return round(float(found.mean()), 5) if len(found) else 0.0


def _kept(worlds: Sequence[World], name: str, k: int) -> float | None:
    """R(k): NDCG@10 from the last k events as a share of that from the whole history, on the same targets."""
    cold = np.concatenate([metrics.ndcg(world.ranks[name].cold[k], K) for world in worlds])
    whole = np.concatenate([metrics.ndcg(world.ranks[name].all[world.cold_rows], K) for world in worlds])
    return round(float(cold.mean() / whole.mean()), 3) if len(whole) and whole.mean() > 0 else None
