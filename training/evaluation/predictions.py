"""Raw predictions of the models at the queries of one split. Metrics are computed later, so a new one needs no
rerun."""

import sys
import time
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.events import SKIP, Histories
from training.data.split import Split
from training.evaluation.metrics import auc
from training.evaluation.prediction_cache import ActionPredictions, PredictionCache, RankingPredictions
from training.evaluation.protocol import BuildsOn, PredictsActions, Recommender, Scores
from training.evaluation.queries import COLD_STARTS, EvaluationQueries, Queries, last_events, shuffled
from training.evaluation.ranking import rank_targets

_SHUFFLE_SEED = 7
_BATCH = 512


def predict_rankings(
    recommenders: Sequence[Recommender],
    split: Split,
    queries: EvaluationQueries,
    title: str,
    *,
    fitted: dict[str, Recommender] | None = None,
    cache: PredictionCache | None = None,
) -> tuple[dict[str, RankingPredictions], dict[str, str]]:
    """Fit each recommender once, in the order given, and rank.

    fitted: recommenders already fitted on this split, by name; newly fitted ones are added. cache: predictions of
    earlier runs, read and extended. A recommender that raises has no predictions: the second dictionary has its error.
    """
    predictions: dict[str, RankingPredictions] = {}
    failed: dict[str, str] = {}
    fitted = {} if fitted is None else fitted
    for number, one in enumerate(recommenders, start=1):
        with _Attempt(f"{title}: ranking {number}/{len(recommenders)} {one.name}", one.name, failed):
            if cache and (found := cache.ranking(one)):
                predictions[one.name] = found
            else:
                start = time.perf_counter()
                if isinstance(one, BuildsOn):
                    one.build_on(fitted)
                one.fit(split.train, split.validation)
                predictions[one.name] = _rank(one, queries, time.perf_counter() - start)
                if cache:
                    cache.save_ranking(one.name, predictions[one.name])
            fitted[one.name] = one
    return predictions, failed


def predict_actions(
    models: Sequence[PredictsActions],
    split: Split,
    queries: EvaluationQueries,
    title: str,
    *,
    fitted: Collection[str] = (),
    cache: PredictionCache | None = None,
) -> tuple[dict[str, ActionPredictions], dict[str, str]]:
    """As `predict_rankings`, for actions. fitted: names of models already fitted for their rankings."""
    predictions: dict[str, ActionPredictions] = {}
    failed: dict[str, str] = {}
    for number, model in enumerate(models, start=1):
        with _Attempt(f"{title}: actions {number}/{len(models)} {model.name}", model.name, failed):
            if cache and (found := cache.actions(model.name)):
                predictions[model.name] = found
                continue
            start = time.perf_counter()
            if model.name not in fitted:
                model.fit(split.train, split.validation)
            seconds = time.perf_counter() - start
            in_order, in_random_order = (
                _probabilities(model, queries.actions, histories)
                for histories in (queries.actions.histories, shuffled(queries.actions.histories, _SHUFFLE_SEED))
            )
            predictions[model.name] = ActionPredictions(
                in_order, in_random_order, dict(getattr(model, "choice", {})), seconds
            )
            if cache:
                cache.save_actions(model.name, predictions[model.name])
    return predictions, failed


def _rank(recommender: Recommender, queries: EvaluationQueries, seconds: float) -> RankingPredictions:
    ranking, dataset = queries.ranking, queries.dataset
    without_seen = not queries.repeats

    def ranks(histories: Histories, where: Any = slice(None)) -> NDArray[np.int64]:
        return rank_targets(recommender, dataset, ranking.take(where), without_seen=without_seen, histories=histories)

    own = ranks(ranking.histories)
    never_seen = own if without_seen else rank_targets(recommender, dataset, ranking, without_seen=True)
    long = ranking.histories.take(queries.long)
    auc_by_user, gap_by_user = _engaged_against_skipped(recommender, queries.actions)
    return RankingPredictions(
        all=own,
        never_seen=never_seen,
        shuffled=ranks(shuffled(ranking.histories, _SHUFFLE_SEED)),
        cold={k: ranks(last_events(long, k), queries.long) for k in COLD_STARTS},
        auc=auc_by_user,
        gap=gap_by_user,
        choice=dict(getattr(recommender, "choice", {})),
        settings_tried=int(getattr(recommender, "settings_tried", 0)),
        fit_seconds=seconds,
    )


def _engaged_against_skipped(
    recommender: Recommender, actions: Queries
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUC and score gap of engaged against skipped items, per user: see RankingPredictions."""
    if not (actions.action == SKIP).any():
        return np.zeros(0), np.zeros(0)
    own, standard = np.empty(len(actions), np.float32), np.empty(len(actions), np.float32)
    for start in range(0, len(actions), _BATCH):
        part = slice(start, start + _BATCH)
        batch = actions.take(part)
        scores = recommender.item_scores(batch.histories, batch.now_us, batch.device)
        own[part] = scores[np.arange(len(batch)), batch.item]
        standard[part] = (own[part] - scores.mean(axis=1)) / (scores.std(axis=1) + 1e-9)
    engaged = actions.action != SKIP
    users = [actions.user == user for user in np.unique(actions.user)]
    gaps = [
        standard[rows & engaged].mean() - standard[rows & ~engaged].mean()
        if 0 < engaged[rows].sum() < rows.sum()
        else np.nan
        for rows in users
    ]
    return np.array([auc(own[rows], engaged[rows]) for rows in users]), np.array(gaps)


def _probabilities(model: PredictsActions, actions: Queries, histories: Histories) -> Scores:
    found = np.empty((len(actions), 4), np.float32)
    for start in range(0, len(actions), _BATCH):
        part = slice(start, start + _BATCH)
        found[part] = model.action_probabilities(
            histories.take(part), actions.now_us[part], actions.device[part], actions.item[part]
        )
    if not np.allclose(found.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"{model.name}: action probabilities sum to {found.sum(axis=1).min()}, expected 1")
    return found


class _Attempt:
    """Print a title to stderr, then the seconds the block took. An Exception is recorded in `failed` under the name and
    suppressed, so that one broken model does not stop the others; KeyboardInterrupt and the like pass through."""

    def __init__(self, title: str, name: str, failed: dict[str, str]) -> None:
        self._title, self._name, self._failed = title, name, failed

    def __enter__(self) -> None:
        print(f"{self._title} … ", end="", file=sys.stderr, flush=True)
        self._start = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Exception):
            print(f"{time.perf_counter() - self._start:.1f} s", file=sys.stderr, flush=True)
            return False
        self._failed[self._name] = f"{type(error).__name__}: {error}"
        print(f"failed, {self._failed[self._name]}", file=sys.stderr, flush=True)
        return True
