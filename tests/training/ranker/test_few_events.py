"""Weights of users with few events: fitted to cut histories, beside the weights of whole ones."""

import numpy as np

from runtime.personalization.hybrid import MET, Ranker
from runtime.personalization.ranking_features import NAMES
from tests.small_world import small_world
from training.data.split import by_time, log_of
from training.evaluation.queries import sample_queries
from training.ranker.few_events import MOST_LISTS, REACHES, cut, fit_few
from training.ranker.fit import lists as catalogue_lists
from training.ranker.lists import Lists, padded
from training.ranker.ndcg_fit import ndcg
from training.ranker.recommender import Hybrid

SIMPLE, COUNT = NAMES.index("simple"), NAMES.index("count_day")
WHOLE = {"simple": 3.0, "count_day": -1.0}


def lists(events: np.ndarray, *, of_counts: float, until: int = 1, seed: int = 0) -> Lists:
    """Of 30 candidates, chosen by WHOLE; of a user with fewer events than `until`, by counts `of_counts` more."""
    rng = np.random.default_rng(seed)
    made = []
    for one in events.tolist():
        x = np.zeros((30, len(NAMES)), np.float32)
        x[:, COUNT] = rng.exponential(size=30)
        x[:, SIMPLE] = rng.normal(size=30) if one else 0
        utility = 3 * x[:, SIMPLE] + (-1 + (of_counts if one < until else 0)) * x[:, COUNT] + rng.gumbel(size=30)
        made.append(np.roll(x, -int(utility.argmax()), axis=0))
    return padded(made, [np.zeros(30, np.float32)] * len(made))


def of_ten(found: Lists, weights: dict[str, float], events: int) -> float:
    ranker = Ranker.of("fitted", weights).for_events(events)
    return float(ndcg(found.x, found.log_weight, ranker.weights.astype(np.float64)).mean())


def test_what_corrects_a_history_has_another_weight_where_there_is_none() -> None:
    events = np.random.default_rng(1).choice([0, 20], 1_000)
    found = fit_few(lists(events, of_counts=4.0), events, np.arange(1_000), WHOLE)
    ranker = Ranker.of("fitted", WHOLE | found)
    assert found.keys() == ranker.named_weights.keys() - WHOLE.keys()
    assert ranker.for_events(0).named_weights["count_day"] > 1
    fresh = lists(np.zeros(500, np.int64), of_counts=4.0, seed=1)
    assert of_ten(fresh, WHOLE | found, 0) > of_ten(fresh, WHOLE, 0) + 0.2
    assert of_ten(fresh, WHOLE | found, ranker.few_events) == of_ten(fresh, WHOLE, 5)


def test_weights_reach_as_far_as_they_rank_better_for_both_halves_of_the_users() -> None:
    events = np.random.default_rng(1).choice([0, 8, 20], 1_500)
    for until, reach in ((1, 5), (10, 16)):
        found = fit_few(lists(events, of_counts=4.0, until=until), events, np.arange(1_500), WHOLE)
        assert Ranker.of("fitted", found).few_events == reach
        some = lists(np.full(500, 8), of_counts=4.0, until=until, seed=1)
        gain = of_ten(some, WHOLE | found, 8) - of_ten(some, WHOLE, 8)
        assert gain == 0 if reach == 5 else gain > 0.02


def test_scores_that_are_no_probabilities_are_corrected_in_what_they_rank_alone() -> None:
    events = np.random.default_rng(1).choice([0, 1, 2, 3, 4], 2_000)
    sharp = {name: 5 * weight for name, weight in WHOLE.items()}
    found = fit_few(lists(events, of_counts=4.0), events, np.arange(2_000), sharp)
    for known in (1, 2):
        some = lists(np.full(500, known), of_counts=4.0, seed=1)
        assert of_ten(some, sharp | found, known) > of_ten(some, sharp, known) - 0.05


def test_no_weights_of_few_events_where_one_half_of_the_users_is_nobody() -> None:
    events = np.zeros(100, np.int64)
    assert fit_few(lists(events, of_counts=4.0), events, np.zeros(100, np.int64), WHOLE) == {}


def test_nothing_is_added_where_the_weights_of_whole_histories_are_right() -> None:
    events = np.random.default_rng(1).choice([0, 20], 400)
    found = fit_few(lists(events, of_counts=0.0), events, np.arange(400), WHOLE)
    fresh = lists(np.zeros(500, np.int64), of_counts=0.0, seed=1)
    assert of_ten(fresh, WHOLE | found, 0) > of_ten(fresh, WHOLE, 0) - 0.02


def test_histories_are_cut_to_the_newest_events_in_the_order_of_time() -> None:
    split = by_time(small_world(users=100))
    whole = sample_queries(
        log_of(split.train, split.validation), split.validation, per_user=10, at_most=3_000, engaged_only=True
    )
    found, gone = cut(whole)
    assert len(found) == min(len(whole), MOST_LISTS)
    assert (np.diff(found.now_us) >= 0).all()
    by_row = {row: at for at, row in enumerate(whole.rows.tolist())}
    before = whole.take([by_row[row] for row in found.rows.tolist()]).histories
    assert (found.histories.ends == before.ends).all()
    assert (found.histories.starts >= before.starts).all()
    assert (gone.starts == before.starts).all()
    assert (gone.ends == found.histories.starts).all()
    events = found.histories.ends - found.histories.starts
    assert (events < REACHES[-1]).all()
    assert 0.2 < (events == 0).mean() < 0.5
    assert (events[events > 0] <= (before.ends - before.starts)[events > 0]).all()


def test_what_is_left_out_is_no_candidate_unless_it_is_the_target() -> None:
    split = by_time(small_world(users=100))
    queries = sample_queries(
        log_of(split.train, split.validation), split.validation, per_user=1, at_most=20, engaged_only=True
    )
    found, gone = cut(queries)
    every, some = (catalogue_lists(split.train, found, None, left_out=one) for one in (None, gone))
    stands_for = [np.exp(one.log_weight).sum(axis=1).round().astype(int) for one in (every, some)]
    assert (stands_for[0] == len(split.train.catalogue)).all()
    left_out = [len(set(one.item.tolist()) - {item}) for one, item in zip(gone, found.item.tolist(), strict=True)]
    assert max(left_out) > 0
    assert (stands_for[0] - stands_for[1] == left_out).all()


def test_weights_of_whole_histories_stay_as_they_are() -> None:
    split = by_time(small_world(users=100))
    recommender = Hybrid()
    recommender.fit(split.train, split.validation)
    ranker = recommender.ranker.for_events(recommender.ranker.few_events)
    assert ranker is recommender.ranker
    plain = {name: weight for name, weight in recommender.weights.items() if name.removeprefix(MET) in NAMES}
    np.testing.assert_array_equal(ranker.weights, Ranker.of("plain", plain).weights)
