"""A blend with the model is the baseline's blend with one part more; kept answers are those of the first time."""

from pathlib import Path

import numpy as np
import pytest

from tests.training.worlds import small_world
from training.data.split import Split, by_time
from training.evaluation.answers import Asked, Budget, rank_all
from training.evaluation.baselines import (
    EVERYTHING,
    RECENCY,
    Blend,
    ItemKNN,
    Markov,
    OwnHistory,
    Popularity,
    RecentPopularity,
    Tuned,
)
from training.evaluation.kept import KeptAnswers
from training.evaluation.protocol import Contender
from training.evaluation.study import real_set
from training.evaluation.with_model import WithModel, with_model

BUDGET = Budget(ranked=200, ranked_per_user=3, acted=200, acted_per_user=5)


class Model(Markov):
    name = "model"


@pytest.fixture(scope="module")
def split() -> Split:
    return by_time(small_world().dataset)


@pytest.fixture(scope="module")
def asked(split: Split) -> Asked:
    return Asked.of(split, BUDGET)


def test_it_has_the_parts_of_its_twin_and_the_model(split: Split, asked: Asked) -> None:
    recent, own = RecentPopularity(), OwnHistory()
    blend = WithModel("both", "model", RECENCY)
    answers, failed = rank_all([Model(), recent, own, Blend(RECENCY, [recent, own]), blend], split, asked, "test")
    assert not failed
    assert set(answers["both"].choice) == {"model", recent.name, own.name}
    assert answers["both"].tried > 1
    # With the model's weight at 0 it is its twin
    blend._blend.choice |= {"model": 0.0, **answers[RECENCY].choice}
    twin = Blend(RECENCY, [recent, own])
    twin.choice = answers[RECENCY].choice
    moments = asked.ranked.take(slice(0, 20))
    question = moments.histories, moments.now_us, moments.device
    np.testing.assert_array_equal(blend.item_scores(*question), twin.item_scores(*question))


def test_parts_that_were_not_fitted_are_tuned(split: Split) -> None:
    model = Model()
    model.fit(split.train, split.validation)
    blend = WithModel("alone", "model", RECENCY)
    blend.build_on({"model": model})
    blend.fit(split.train, split.validation)
    assert OwnHistory.name in blend.choice


def test_without_the_model_there_is_a_reason_and_no_figure(split: Split, asked: Asked) -> None:
    answers, failed = rank_all([Popularity(), *with_model("model")], split, asked, "test")
    assert list(answers) == [Popularity.name]
    assert all("'model', which was not fitted before it" in why for why in failed.values())
    assert {one.without for one in with_model("model")} == {RECENCY, EVERYTHING}


def test_kept_answers_are_the_answers(split: Split, asked: Asked, tmp_path: Path) -> None:
    class Counted(ItemKNN):
        fits = 0

        def fit(self, train, validation):  # type: ignore[no-untyped-def]
            Counted.fits += 1
            super().fit(train, validation)

    def ranked(budget: Budget) -> tuple[Tuned, dict]:
        knn = Counted()
        contenders: list[Contender] = [knn]
        return knn, rank_all(contenders, split, asked, "test", kept=KeptAnswers(tmp_path, split, budget))[0]

    first, answers = ranked(BUDGET)
    again, kept = ranked(BUDGET)
    assert Counted.fits == 1
    assert (again.choice, again.tried) == (first.choice, first.tried)
    for name in ("all", "never_seen", "shuffled", "auc", "gap"):
        np.testing.assert_array_equal(getattr(kept[knn_name()], name), getattr(answers[knn_name()], name))
    assert kept[knn_name()].cold.keys() == answers[knn_name()].cold.keys()
    ranked(Budget(ranked=100))  # another question
    assert Counted.fits == 2


def knn_name() -> str:
    return ItemKNN.name


def test_seeds_are_runs_of_the_contenders_alone(split: Split, tmp_path: Path) -> None:
    made = []

    def make(omega: str, seed: int) -> Contender:
        made.append((omega, seed))
        return Model()

    dataset = small_world().dataset
    found = real_set(dataset, "time", [make], [0, 1, 2], BUDGET, answers=tmp_path)
    assert made == [("real", 0), ("real", 1), ("real", 2)]
    rows = {one.contender: one for one in found.rankings}
    assert len(set(rows["model"].seeds_ndcg10)) == 1
    assert rows["model"].slices == rows[Markov.name].slices
    assert {m.metric for m in found.margins if m.contender == "model"} >= {"NDCG@10", "AUC"}
    kept = real_set(dataset, "time", [make], [0, 1, 2], BUDGET, answers=tmp_path)
    assert kept == found
