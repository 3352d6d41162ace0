"""Each figure against a reference implementation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from training.evaluation import metrics
from training.evaluation.bootstrap import interval_over_seeds, mean_interval, paired_interval

seeds = st.integers(0, 100_000)


def naive_rank(scores: np.ndarray, target: int, excluded: np.ndarray) -> int:
    order = sorted((i for i in range(len(scores)) if not excluded[i]), key=lambda i: (-scores[i], i))
    return order.index(target) if target in order else metrics.NEVER


@given(seeds, st.integers(1, 3))
def test_ranks_with_ties_and_exclusions(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels + 1, size=(6, 9)).astype(np.float32)  # many ties
    targets = rng.integers(9, size=6)
    excluded = rng.random((6, 9)) < 0.3
    found = metrics.ranks(scores, targets, excluded)
    assert found.tolist() == [naive_rank(s, t, e) for s, t, e in zip(scores, targets, excluded, strict=True)]
    nothing = np.zeros_like(excluded)
    assert metrics.ranks(scores, targets).tolist() == metrics.ranks(scores, targets, nothing).tolist()


def test_a_constant_score_gains_nothing_and_nan_is_an_error() -> None:
    assert metrics.ranks(np.zeros((3, 5), np.float32), np.array([0, 2, 4])).tolist() == [0, 2, 4]
    with pytest.raises(ValueError, match="1 of 2 rows"):
        metrics.ranks(np.array([[1.0, np.nan], [0, 1]], np.float32), np.array([0, 0]))


@given(st.lists(st.one_of(st.integers(0, 30), st.just(metrics.NEVER)), min_size=1), st.integers(1, 20))
def test_figures_of_one_target(places: list[int], k: int) -> None:
    ranks = np.array(places, np.int64)
    assert metrics.hit_rate(ranks, k).tolist() == [float(r < k) for r in places]
    assert metrics.ndcg(ranks, k) == pytest.approx([1 / math.log2(r + 2) if r < k else 0 for r in places])
    assert metrics.reciprocal_rank(ranks) == pytest.approx([0 if r == metrics.NEVER else 1 / (r + 1) for r in places])


@given(seeds)
def test_action_figures_against_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(4), size=50)
    actions = rng.integers(4, size=50)
    figures = metrics.action_figures(probabilities, actions)
    assert figures.accuracy == pytest.approx((probabilities.argmax(1) == actions).mean())
    assert figures.log_loss == pytest.approx(log_loss(actions, probabilities, labels=range(4)))
    labels = np.unique(actions)
    expected = f1_score(actions, probabilities.argmax(1), labels=labels, average="macro", zero_division=0)
    assert figures.macro_f1 == pytest.approx(expected)


def test_calibration_error_of_calibrated_and_overconfident_probabilities() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), size=20_000)
    actions = (probabilities.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert metrics.calibration(probabilities, actions).error < 0.01
    overconfident = np.eye(4)[probabilities.argmax(axis=1)]
    assert metrics.calibration(overconfident, actions).error > 0.1


@given(seeds)
def test_auc_against_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = rng.integers(5, size=30).astype(float), rng.random(30) < 0.5
    if positive.any() and not positive.all():
        assert metrics.auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert np.isnan(metrics.auc(scores, np.ones(30, bool)))


def test_an_interval_contains_the_mean_and_is_wider_for_correlated_events() -> None:
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(100), 20)
    apart = rng.random(2_000) < 0.5
    alike = np.repeat(rng.random(100) < 0.5, 20)
    loose, tight = mean_interval(alike, users), mean_interval(apart, users)
    for interval, values in ((loose, alike), (tight, apart)):
        assert interval.low < values.mean() < interval.high
        assert interval.value == pytest.approx(values.mean())
    assert loose.high - loose.low > 3 * (tight.high - tight.low)
    standard_error = np.sqrt(0.25 / 100)  # users are the sample
    assert loose.high - loose.low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_a_paired_interval_is_narrower_than_two_separate_ones() -> None:
    rng = np.random.default_rng(4)
    users = np.arange(400)
    theirs = rng.normal(size=400)
    ours = theirs + 0.02 + 0.01 * rng.normal(size=400)
    assert paired_interval(ours, theirs, users).low > 0
    assert paired_interval(theirs, theirs, users).low == 0
    alone = mean_interval(ours, users), mean_interval(theirs, users)
    assert alone[0].low < alone[1].high  # the intervals alone overlap


def test_the_mean_of_no_values_is_nan() -> None:
    assert np.isnan(mean_interval(np.zeros(0), np.zeros(0, np.int64)).value)


def test_an_interval_over_seeds_is_that_over_users_where_seeds_agree_and_wider_where_they_do_not() -> None:
    rng = np.random.default_rng(0)
    users, values = np.repeat(np.arange(40), 5), rng.random(200)
    alone = mean_interval(values, users)
    assert interval_over_seeds(np.stack([values, values]), users) == pytest.approx(alone)
    apart = interval_over_seeds(np.stack([values - 0.3, values + 0.3]), users)
    assert apart.value == pytest.approx(alone.value)
    assert apart.low < alone.low - 0.2
    assert apart.high > alone.high + 0.2
