"""Blends with the sequence model, and the cache of predictions."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.datasets import small_world
from training.data.split import Split, by_time
from training.evaluation.baselines import (
    EVERYTHING,
    RECENCY,
    Blend,
    FreshPopularity,
    ItemKNN,
    Markov,
    OwnHistory,
    Popularity,
    Tuned,
)
from training.evaluation.evaluate import real_set
from training.evaluation.prediction_cache import PredictionCache
from training.evaluation.predictions import predict_rankings
from training.evaluation.protocol import Recommender
from training.evaluation.queries import EvaluationQueries, QueryBudget
from training.evaluation.sequence_blends import SequenceBlend, sequence_blends

BUDGET = QueryBudget(ranking=200, ranking_per_user=3, actions=200, actions_per_user=5)


class Model(Markov):
    name = "model"


@pytest.fixture(scope="module")
def shared_split() -> Split:
    return by_time(small_world().dataset)


@pytest.fixture(scope="module")
def shared_queries(shared_split: Split) -> EvaluationQueries:
    return EvaluationQueries.of(shared_split, BUDGET)


def test_a_blend_has_the_parts_of_its_baseline_and_the_model(
    shared_split: Split, shared_queries: EvaluationQueries
) -> None:
    recent, own = FreshPopularity(), OwnHistory()
    blend = SequenceBlend("both", "model", RECENCY)
    predictions, failed = predict_rankings(
        [Model(), recent, own, Blend(RECENCY, [recent, own]), blend], shared_split, shared_queries, "test"
    )
    assert not failed
    assert set(predictions["both"].choice) == {"model", recent.name, own.name}
    assert predictions["both"].settings_tried > 1
    # With a weight of 0 for the model it equals the blend without it
    blend._blend.choice |= {"model": 0.0, **predictions[RECENCY].choice}
    baseline = Blend(RECENCY, [recent, own])
    baseline.choice = predictions[RECENCY].choice
    some = shared_queries.ranking.take(slice(0, 20))
    arguments = some.histories, some.now_us, some.device
    np.testing.assert_array_equal(blend.item_scores(*arguments), baseline.item_scores(*arguments))


def test_parts_that_were_not_fitted_before_are_fitted(shared_split: Split) -> None:
    model = Model()
    model.fit(shared_split.train, shared_split.validation)
    blend = SequenceBlend("alone", "model", RECENCY)
    blend.build_on({"model": model})
    blend.fit(shared_split.train, shared_split.validation)
    assert OwnHistory.name in blend.choice


def test_a_blend_without_its_model_fails_with_the_reason(
    shared_split: Split, shared_queries: EvaluationQueries
) -> None:
    predictions, failed = predict_rankings(
        [Popularity(), *sequence_blends("model")], shared_split, shared_queries, "test"
    )
    assert list(predictions) == [Popularity.name]
    assert all("needs 'model' fitted before it" in why for why in failed.values())
    assert {one.without for one in sequence_blends("model")} == {RECENCY, EVERYTHING}


def test_cached_predictions_equal_the_first_ones(
    shared_split: Split, shared_queries: EvaluationQueries, tmp_path: Path
) -> None:
    class Counted(ItemKNN):
        fits = 0

        def fit(self, train, validation):  # type: ignore[no-untyped-def]
            Counted.fits += 1
            super().fit(train, validation)

    def ranked(budget: QueryBudget) -> tuple[Tuned, dict]:
        knn = Counted()
        recommenders: list[Recommender] = [knn]
        return knn, predict_rankings(
            recommenders, shared_split, shared_queries, "test", cache=PredictionCache(tmp_path, shared_split, budget)
        )[0]

    first, predictions = ranked(BUDGET)
    again, cached = ranked(BUDGET)
    assert Counted.fits == 1
    assert (again.choice, again.settings_tried) == (first.choice, first.settings_tried)
    for name in ("all", "never_seen", "shuffled", "auc", "gap"):
        np.testing.assert_array_equal(getattr(cached[knn_name()], name), getattr(predictions[knn_name()], name))
    assert cached[knn_name()].cold.keys() == predictions[knn_name()].cold.keys()
    ranked(QueryBudget(ranking=100))  # other queries
    assert Counted.fits == 2


def knn_name() -> str:
    return ItemKNN.name


def test_seeds_repeat_the_models_but_not_the_baselines(shared_split: Split, tmp_path: Path) -> None:
    made = []

    def make(order_strength: str, seed: int) -> Recommender:
        made.append((order_strength, seed))
        return Model()

    dataset = small_world().dataset
    found = real_set(dataset, "time", [make], [0, 1, 2], BUDGET, cache_folder=tmp_path)
    assert made == [("real", 0), ("real", 1), ("real", 2)]
    rows = {one.model: one for one in found.rankings}
    assert len(set(rows["model"].seeds_ndcg10)) == 1
    assert rows["model"].slices == rows[Markov.name].slices
    assert {m.metric for m in found.margins if m.model == "model"} >= {"NDCG@10", "AUC"}
    repeated = real_set(dataset, "time", [make], [0, 1, 2], BUDGET, cache_folder=tmp_path)
    assert repeated == found
