"""Baselines against reference implementations and against the runtime; none reads events after the query."""

import math
from dataclasses import replace

import numpy as np
import pytest

from runtime.personalization import user_vector
from runtime.personalization.actions import STRENGTHS
from tests.training.datasets import DAY_US, random_dataset, small_world, word_vectors
from training.data.events import ACTIONS, SKIP, Catalogue, Dataset, Events, Histories
from training.data.split import Split, by_time, log_of
from training.evaluation import metrics
from training.evaluation.baselines import (
    EASE,
    EVERYTHING,
    KNN_AND_MARKOV,
    FreshPopularity,
    ItemKNN,
    Logistic,
    Majority,
    Markov,
    Popularity,
    WeightedAverage,
    action_baselines,
    ranking_baselines,
)
from training.evaluation.baselines.history import engaged_weights, last_engaged, user_item_matrix
from training.evaluation.protocol import PredictsActions, Recommender, Scores
from training.evaluation.queries import repeats_happen, sample_queries
from training.evaluation.ranking import rank_targets


@pytest.fixture(scope="module")
def split() -> Split:
    return by_time(small_world(users=200).dataset)


@pytest.fixture(scope="module")
def shared_recommenders(split: Split) -> list[Recommender]:
    recommenders = ranking_baselines()
    for recommender in recommenders:
        recommender.fit(split.train, split.validation)
    return recommenders


@pytest.fixture(scope="module")
def shared_predictors(split: Split) -> list[PredictsActions]:
    recommenders = action_baselines()
    for recommender in recommenders:
        recommender.fit(split.train, split.validation)
    return recommenders


def cut_at(histories: Histories, now_us: int) -> Histories:
    """The same histories in a log that ends before `now_us`."""
    log = histories.log.take(histories.log.time_us < now_us)
    users = int(histories.users.max()) + 1
    starts, ends = log.starts(users)[histories.users], log.starts(users)[histories.users + 1]
    return Histories(log, starts, ends, histories.users, log)


def test_no_baseline_reads_events_after_the_query(
    split: Split, shared_recommenders: list[Recommender], shared_predictors: list[PredictsActions]
) -> None:
    log = log_of(*split)
    queries = sample_queries(log, split.test, per_user=2, at_most=40, engaged_only=False)
    for row in range(0, len(queries), 7):
        one = queries.take(slice(row, row + 1))
        alone = cut_at(one.histories, int(one.now_us[0]))
        for recommender in shared_recommenders:
            expected = recommender.item_scores(one.histories, one.now_us, one.device)
            assert recommender.item_scores(alone, one.now_us, one.device) == pytest.approx(expected, abs=1e-5)
        for model in shared_predictors:
            probabilities = model.action_probabilities(one.histories, one.now_us, one.device, one.item)
            again = model.action_probabilities(alone, one.now_us, one.device, one.item)
            assert again == pytest.approx(probabilities, abs=1e-5), model


def test_scores_and_probabilities_are_well_formed(
    split: Split, shared_recommenders: list[Recommender], shared_predictors: list[PredictsActions]
) -> None:
    """Also for a user without any history."""
    log = log_of(*split)
    queries = sample_queries(log, split.test, per_user=3, at_most=60, engaged_only=False)
    empty = Histories(log, queries.histories.starts, queries.histories.starts, queries.histories.users, log)
    for histories in (queries.histories, empty):
        for recommender in shared_recommenders:
            scores = recommender.item_scores(histories, queries.now_us, queries.device)
            assert scores.shape == (len(queries), len(split.train.catalogue)), recommender.name
            assert scores.dtype == np.float32, recommender.name
            assert np.isfinite(scores).all(), recommender.name
        for model in shared_predictors:
            probabilities = model.action_probabilities(histories, queries.now_us, queries.device, queries.item)
            assert probabilities.shape == (len(queries), len(ACTIONS))
            assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(queries)), abs=1e-5)
            assert (probabilities >= 0).all()


def test_one_score_does_not_depend_on_the_batch(split: Split, shared_recommenders: list[Recommender]) -> None:
    queries = sample_queries(log_of(*split), split.test, per_user=2, at_most=30, engaged_only=True)
    for recommender in shared_recommenders:
        together = recommender.item_scores(queries.histories, queries.now_us, queries.device)
        one = queries.take(slice(4, 5))
        alone = recommender.item_scores(one.histories, one.now_us, one.device)
        assert alone[0] == pytest.approx(together[4], rel=1e-3, abs=1e-5), recommender.name


def test_personalised_baselines_beat_popularity_in_a_simulated_world(
    split: Split, shared_recommenders: list[Recommender]
) -> None:
    queries = sample_queries(log_of(*split), split.test, per_user=10, at_most=2_000, engaged_only=True)
    ndcg = {
        c.name: metrics.ndcg(rank_targets(c, split.train, queries, without_seen=False), 10).mean()
        for c in shared_recommenders
    }
    popular = ndcg[Popularity.name]
    assert all(
        ndcg[name] > popular
        for name in (Markov.name, ItemKNN.name, EASE.name, WeightedAverage.name, KNN_AND_MARKOV, EVERYTHING)
    )


def test_logistic_regression_beats_counting(split: Split, shared_predictors: list[PredictsActions]) -> None:
    queries = sample_queries(log_of(*split), split.test, per_user=30, at_most=3_000, engaged_only=False)
    losses = {
        one.name: metrics.log_losses(
            one.action_probabilities(queries.histories, queries.now_us, queries.device, queries.item), queries.action
        ).mean()
        for one in shared_predictors
    }
    assert min(losses, key=lambda name: losses[name]) == Logistic.name
    assert max(losses, key=lambda name: losses[name]) in (Majority.name, "Markov of actions", "majority, per item")


def test_a_log_with_one_action_is_predicted() -> None:
    dataset = random_dataset(1)
    events = replace(dataset.events, action=np.full_like(dataset.events.action, ACTIONS.index("save")))
    split = by_time(dataset.with_events(events))
    queries = sample_queries(log_of(*split), split.test, per_user=30, at_most=100, engaged_only=False)
    for one in action_baselines():
        one.fit(split.train, split.validation)
        found = one.action_probabilities(queries.histories, queries.now_us, queries.device, queries.item)
        assert (found.argmax(axis=1) == ACTIONS.index("save")).all(), one.name


def test_recency_weights_equal_those_of_a_loop() -> None:
    dataset = random_dataset(1)
    log = dataset.events
    starts = dataset.starts
    histories = Histories(log, starts[:-1], starts[1:], np.arange(12, dtype=np.int32), log)
    weights = engaged_weights(histories, 15, 3.0).toarray()
    for user, history in enumerate(histories):
        engaged = [int(item) for item, action in zip(history.item, history.action, strict=True) if action != SKIP]
        expected = np.zeros(15)
        for age, item in enumerate(reversed(engaged)):
            expected[item] += 0.5 ** (age / 3.0)
        assert weights[user] == pytest.approx(expected, rel=1e-5)
        assert last_engaged(histories)[user] == (engaged[-1] if engaged else -1)


def test_ease_is_the_closed_form() -> None:
    """Each column solves its own ridge regression on the other items (Steck 2019, eq. 8)."""
    dataset = random_dataset(2, users=40, events=300)
    ease = EASE()
    ease.choice["l2"] = 5.0
    ease.learn(dataset)
    x = user_item_matrix(dataset).toarray()[:, ease.kept].astype(np.float64)
    for item in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), item)
        weights = np.linalg.solve(
            x[:, others].T @ x[:, others] + 5.0 * np.eye(len(others)), x[:, others].T @ x[:, item]
        )
        assert ease.similarity[others, item] == pytest.approx(weights, abs=1e-4)
        assert ease.similarity[item, item] == 0


def test_knn_is_the_shrunk_cosine_of_the_nearest() -> None:
    dataset = random_dataset(3, users=40, events=300)
    knn = ItemKNN()
    knn.choice |= {"shrink": 2.0, "neighbours": 4}
    knn.learn(dataset)
    x = user_item_matrix(dataset).toarray()[:, knn.kept].astype(np.float64)
    for item in range(x.shape[1]):
        cosines = [
            0.0 if i == item else x[:, i] @ x[:, item] / (np.linalg.norm(x[:, i]) * np.linalg.norm(x[:, item]) + 2.0)
            for i in range(x.shape[1])
        ]
        fourth = sorted(cosines)[-4]
        assert knn.similarity[:, item] == pytest.approx([c if c >= fourth else 0.0 for c in cosines], abs=1e-5)


def test_markov_counts_what_follows() -> None:
    dataset = random_dataset(4)
    markov = Markov()
    markov.choice |= {"smoothing": 0.0, "backward": 0.0}
    markov.learn(dataset)
    counts = np.zeros((15, 15))
    for user in range(12):
        history = dataset.events.of_user(user)
        engaged = history.item[history.action != SKIP]
        np.add.at(counts, (engaged[:-1], engaged[1:]), 1)
    starts = dataset.starts
    histories = Histories(dataset.events, starts[:-1], starts[1:], np.arange(12, dtype=np.int32), dataset.events)
    scores = markov.item_scores(histories, np.zeros(12, np.int64), np.zeros(12, np.int8))
    assert scores == pytest.approx(counts[last_engaged(histories)])


@pytest.mark.parametrize("hours", [1.0, 168.0, math.inf])
def test_popularity_counts_a_window_up_to_now(hours: float) -> None:
    log, recent, scores = popularity_of_late(("window", hours))
    for row, now in enumerate(NOW_US):
        window = (log.time_us >= now - hours * 3_600_000_000) & (log.time_us < now) & (log.action != SKIP)
        counts = np.bincount(log.item[window], minlength=15)
        assert scores[row] == pytest.approx(np.log1p(counts) + recent.share, abs=1e-5)


@pytest.mark.parametrize("hours", [1.0, 168.0])
def test_popularity_halves_what_is_older_by_a_half_life(hours: float) -> None:
    log, recent, scores = popularity_of_late(("half-life", hours))
    for row, now in enumerate(NOW_US):
        before = (log.time_us < now) & (log.action != SKIP)
        weights = np.exp2(-(now - log.time_us[before]) / (hours * 3_600_000_000))
        counts = np.bincount(log.item[before], weights, minlength=15)
        assert scores[row] == pytest.approx(np.log1p(counts) + recent.share, abs=1e-5)


NOW_US = np.array([30, 10, 20], np.int64) * DAY_US


def popularity_of_late(counted: tuple[str, float]) -> tuple[Events, FreshPopularity, Scores]:
    dataset = random_dataset(5, instants=400)
    recent = FreshPopularity()
    recent.choice["counted"] = counted
    recent.learn(dataset)
    log = dataset.events
    histories = Histories(log, np.zeros(3, np.int64), np.zeros(3, np.int64), np.zeros(3, np.int32), log)
    return log, recent, recent.item_scores(histories, NOW_US, np.zeros(3, np.int8))


def test_weighted_average_is_the_runtimes_user_vector() -> None:
    dataset = random_dataset(6, instants=500)
    average = WeightedAverage()
    average.choice |= {"half_life_days": np.log(2) / 0.01, "strengths": (1, 3, 5), "skip": 0.0}
    average.learn(dataset)
    starts = dataset.starts
    histories = Histories(dataset.events, starts[:-1], starts[1:], np.arange(12, dtype=np.int32), dataset.events)
    found = average.user_vectors(histories, np.full(12, 70 * DAY_US), np.zeros(12, np.int8))
    strength = np.array([STRENGTHS[action] for action in ACTIONS])
    for user, history in enumerate(histories):
        sums = user_vector.from_log(
            strength[history.action], history.time_us, history.item.astype(np.int64),
            [dataset.catalogue.vectors], decay_per_day=0.01,
        )  # fmt: skip
        expected = user_vector.unit_vector(sums)
        assert expected is not None
        assert found[user] == pytest.approx(expected, abs=1e-5)


def test_weighted_average_falls_back_to_the_preference_embedding() -> None:
    preferences = word_vectors(["item 3", *[""] * 11])
    dataset = replace(random_dataset(7), preference_embedding=preferences)
    average = WeightedAverage()
    average.learn(dataset)
    nobody = Histories(
        dataset.events, np.zeros(2, np.int64), np.zeros(2, np.int64), np.array([0, 1], np.int32), dataset.events
    )
    vectors = average.user_vectors(nobody, np.zeros(2, np.int64), np.zeros(2, np.int8))
    assert vectors[0] == pytest.approx(preferences[0], abs=1e-5)
    assert np.linalg.norm(vectors[1]) == pytest.approx(1, abs=1e-5)  # the average of popular items


def test_seen_items_are_excluded_where_users_do_not_repeat_items() -> None:
    n = 8
    events = Events.of(user=[0] * n, item=np.arange(n), action=[1] * n, time_us=np.arange(n) * DAY_US)
    texts = [f"item {i}" for i in range(n)]
    catalogue = Catalogue(texts, texts, word_vectors(texts), np.zeros(n, np.int64), np.zeros(n, np.int16))
    dataset = Dataset("once", ["u"], catalogue, events)
    assert not repeats_happen(dataset)
    split = by_time(dataset, (0.5, 0.25, 0.25))
    popularity = Popularity()
    popularity.learn(split.train)
    queries = sample_queries(log_of(*split), split.test, per_user=9, at_most=9, engaged_only=True)
    assert rank_targets(popularity, dataset, queries, without_seen=True).tolist() == [0, 0]
    assert rank_targets(popularity, dataset, queries, without_seen=False).tolist() == [6, 7]


def test_wrong_scores_name_the_recommender(split: Split) -> None:
    class Wrong(Popularity):
        name = "wrong one"

        def item_scores(self, histories, now_us, device):  # type: ignore[no-untyped-def]
            return super().item_scores(histories, now_us, device)[:, 1:]

    wrong = Wrong()
    wrong.learn(split.train)
    queries = sample_queries(log_of(*split), split.test, per_user=1, at_most=5, engaged_only=True)
    with pytest.raises(ValueError, match="wrong one: scores have shape"):
        rank_targets(wrong, split.train, queries, without_seen=False)
