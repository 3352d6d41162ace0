"""Ranks of the targets of one split by every model that is compared: one query context, one catalogue."""

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Dataset, Histories
from training.data.split import Split
from training.evaluation import metrics
from training.evaluation.prediction_cache import PredictionCache, RankingPredictions
from training.evaluation.protocol import Recommender, Scores
from training.evaluation.queries import EvaluationQueries, Queries, QueryBudget, last_events
from training.evaluation.ranking import rank_targets, rank_targets_twice
from training.ranker.recommender import Hybrid, scores_of

COLD_EVENTS = (0, 5)
MOST_COLD = 1_000
MOST_QUERIES, MOST_PER_USER = 4_000, 10
K = 10
_AT_ONCE = 512  # queries whose scores by every hybrid are there


@dataclass(eq=False)
class World:
    """The queries of one split, and every model's ranks by its name: `all` as the data set is judged, `cold` of the
    queries `cold_rows`. repeats_last: of each query, whether the target is what the user engaged with last."""

    queries: EvaluationQueries
    repeats_last: NDArray[np.bool_]
    cold_rows: NDArray[np.int64]
    ranks: dict[str, RankingPredictions] = field(default_factory=dict)


def rank_all(
    split: Split,
    models: Sequence[Recommender],
    title: str,
    most_queries: int = MOST_QUERIES,
    cache_folder: Path | None = None,
) -> World:
    """Fit every model to train and validation, and rank the test queries. cache_folder: keeps the ranks of baselines,
    which are read where neither data nor their code changed; the ranker is always fitted again."""
    budget = QueryBudget(ranking=most_queries, ranking_per_user=MOST_PER_USER, actions=0)
    queries = EvaluationQueries.of(split, budget)
    cache = None if cache_folder is None else PredictionCache(cache_folder, split, budget)
    long = np.flatnonzero(queries.long)
    world = World(queries, _repeats_last(queries), long[:: max(1, -(-len(long) // MOST_COLD))])
    hybrids = [model for model in models if isinstance(model, Hybrid)]
    started = time.perf_counter()
    together = _ranks_together(split, hybrids, world)
    for number, model in enumerate((*hybrids, *(one for one in models if one not in hybrids)), start=1):
        found = together.get(model.name)
        if found is None:
            started = time.perf_counter()
            found = cache.ranking(model) if cache else None
        if found is None:
            model.fit(split.train, split.validation)
            found = _ranks(model, world, time.perf_counter() - started)
            if cache:
                cache.save_ranking(model.name, found)
        world.ranks[model.name] = found
        print(
            f"{title}: {number}/{len(models)} {model.name}: {metrics.ndcg(found.all, K).mean():.3f}, fitted in "
            f"{found.fit_seconds:.0f} s, {time.perf_counter() - started:.0f} s now",
            file=sys.stderr,
            flush=True,
        )
    return world


def _ranks(model: Recommender, world: World, fit_seconds: float) -> RankingPredictions:
    queries, dataset = world.queries.ranking, world.queries.dataset
    some = queries.take(world.cold_rows)
    without_seen = not world.queries.repeats
    cold = {
        k: rank_targets(model, dataset, some, without_seen=without_seen, histories=last_events(some.histories, k))
        for k in COLD_EVENTS
    }
    return _predictions(model, world, rank_targets_twice(model, dataset, queries), cold, fit_seconds)


class _Given:
    """What a model scored, to be ranked."""

    def __init__(self, name: str, scores: Scores) -> None:
        self.name = name
        self._scores = scores

    def fit(self, train: Dataset, validation: Dataset) -> None:
        """It is fitted."""

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        """The next ones, in the order of the queries."""
        found, self._scores = np.split(self._scores, [len(histories)])
        return found


def _ranks_together(split: Split, models: Sequence[Hybrid], world: World) -> dict[str, RankingPredictions]:
    """By the models' names, as `_ranks`. Their features, which take most of the time, are computed once."""
    seconds = []
    for model in models:
        started = time.perf_counter()
        model.fit(split.train, split.validation)
        seconds.append(time.perf_counter() - started)

    def ranks(queries: Queries, events: int | None) -> list[NDArray[np.int64]]:
        """Of each model, with and without what was seen: [2, queries]."""
        found: list[list[NDArray[np.int64]]] = [[] for _ in models]
        for start in range(0, len(queries) if models else 0, _AT_ONCE):
            some = queries.take(slice(start, start + _AT_ONCE))
            histories = some.histories if events is None else last_events(some.histories, events)
            scored = scores_of(models, histories, some.now_us, some.device)
            for of_model, model, scores in zip(found, models, scored, strict=True):
                of_model.append(np.stack(rank_targets_twice(_Given(model.name, scores), world.queries.dataset, some)))
        none = np.zeros((2, 0), np.int64)
        return [np.concatenate([none, *of_model], axis=1) for of_model in found]

    queries, seen = world.queries.ranking, 0 if world.queries.repeats else 1
    whole = ranks(queries, None)
    cold = {k: [one[seen] for one in ranks(queries.take(world.cold_rows), k)] for k in COLD_EVENTS}
    return {
        model.name: _predictions(
            model,
            world,
            whole[number],
            {k: of_model[number] for k, of_model in cold.items()},
            seconds[number],
        )
        for number, model in enumerate(models)
    }


def _predictions(
    model: Recommender,
    world: World,
    ranks: Iterable[NDArray[np.int64]],
    cold: dict[int, NDArray[np.int64]],
    fit_seconds: float,
) -> RankingPredictions:
    """ranks: with and without what was seen among the candidates."""
    everything, unseen = ranks
    none = np.zeros(0)
    return RankingPredictions(
        all=everything if world.queries.repeats else unseen,
        never_seen=unseen,
        shuffled=none.astype(np.int64),
        cold=cold,
        auc=none,
        gap=none,
        choice=dict(getattr(model, "choice", {})),
        settings_tried=int(getattr(model, "settings_tried", 0)),
        fit_seconds=fit_seconds,
    )


def _repeats_last(queries: EvaluationQueries) -> NDArray[np.bool_]:
    """Whether the target is what the user engaged with last."""
    ranking = queries.ranking
    found = np.zeros(len(ranking), np.bool_)
    for row, history in enumerate(ranking.histories):
        engaged = history.item[history.action != SKIP]
        found[row] = len(engaged) > 0 and engaged[-1] == ranking.item[row]
    return found
