"""Off-policy estimates find the truth of a world that is known, with the coverage they promise."""

import numpy as np
import pytest

from runtime.experiments.exploration import plackett_luce_propensities
from training.off_policy.estimators import (
    doubly_robust,
    effective_users,
    estimate,
    estimate_all,
    importance,
    mean,
    position_weights,
    self_normalised,
)

RATES = np.array([0.5, 0.3, 0.2, 0.1])
LOGGED, TARGET = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.55, 0.25, 0.15, 0.05])
TRUTH = float(RATES @ TARGET)


USERS = 1_000


def _log(seed, n=USERS):
    random = np.random.default_rng(seed)
    shown = random.choice(4, size=n, p=LOGGED)
    rewards = (random.random(n) < RATES[shown]).astype(float)
    return shown, rewards, TARGET[shown] / LOGGED[shown], np.arange(n)


def _estimates(seed, model=RATES, resamples=300):
    shown, rewards, weights, users = _log(seed)
    kinds = {
        "ips": importance(rewards, weights),
        "snips": self_normalised(rewards, weights),
        "dr": doubly_robust(rewards, weights, model[shown], np.full(USERS, model @ TARGET)),
    }
    return dict(
        zip(kinds, estimate_all([*kinds.values()], users, seed=seed, alpha=0.05, resamples=resamples), strict=True)
    )


def test_the_intervals_cover_the_truth_at_their_rate():
    covered = dict.fromkeys(("ips", "snips", "dr"), 0)
    values = {name: [] for name in covered}
    for seed in range(100):
        for name, found in _estimates(seed).items():
            covered[name] += found.interval.lower <= TRUTH <= found.interval.upper
            values[name].append(found.value)
    for name in covered:
        assert covered[name] >= 88  # of 100 at 95 %: fewer has a probability of 1 in 600
        assert np.mean(values[name]) == pytest.approx(TRUTH, abs=0.01)
    assert np.std(values["dr"]) < np.std(values["ips"])


def test_a_wrong_model_of_rewards_leaves_doubly_robust_right():
    values = [_estimates(seed, np.full(4, 0.9), resamples=1)["dr"].value for seed in range(60)]
    assert np.mean(values) == pytest.approx(TRUTH, abs=0.02)


def test_the_same_ranking_gets_its_own_mean():
    shown, rewards, _, users = _log(1)
    same = importance(rewards, np.ones(len(shown)))
    assert estimate(same, users, seed=1, alpha=0.05).value == pytest.approx(rewards.mean())
    assert effective_users(np.ones(len(shown)), users) == pytest.approx(len(users))
    difference = estimate(same.minus(mean(rewards)), users, seed=1, alpha=0.05)
    assert difference.value == difference.interval.lower == difference.interval.upper == 0


def test_a_difference_is_narrower_than_its_parts_where_both_are_measured_on_the_same_users():
    _, rewards, _, users = _log(3)
    more = rewards + 0.1 * np.random.default_rng(0).random(len(rewards))
    found = estimate(mean(more).minus(mean(rewards)), users, seed=0, alpha=0.05)
    assert found.value == pytest.approx(0.05, abs=0.005)
    assert found.interval.upper - found.interval.lower < 0.01


def test_weights_of_a_ranking_multiply_down_the_positions():
    """A cascade: what is rewarded depends on what was placed before."""
    random = np.random.default_rng(4)
    logged_logits, target_logits, n = np.zeros(3), np.array([2.0, 1.0, 0.0]), 40_000
    orders = np.argsort(-(logged_logits + random.gumbel(size=(n, 3))), axis=1)
    rates = np.array([0.6, 0.3, 0.1])[orders] * np.array([1.0, 0.6, 0.4])
    rewards = (random.random((n, 3)) < rates).astype(float)
    logged = np.array([plackett_luce_propensities(logged_logits[order]) for order in orders])
    target = np.array([plackett_luce_propensities(target_logits[order]) for order in orders])
    weights = position_weights(target, logged)
    aimed = np.argsort(-(target_logits + random.gumbel(size=(n, 3))), axis=1)
    truth = (np.array([0.6, 0.3, 0.1])[aimed] * np.array([1.0, 0.6, 0.4])).sum(axis=1).mean()
    for kind in (importance, self_normalised):
        found = estimate(kind(rewards, weights), np.arange(n), seed=0, alpha=0.01, resamples=200)
        assert found.interval.lower <= truth <= found.interval.upper
        assert found.value == pytest.approx(truth, abs=0.02)


def test_rankings_of_one_user_are_one_observation():
    _, rewards, weights, users = _log(2)
    alone = estimate(importance(rewards, weights), users, seed=0, alpha=0.05)
    repeated = (np.repeat(values, 9) for values in (rewards, weights, users))
    rewards, weights, users = repeated
    nine = estimate(importance(rewards, weights), users, seed=0, alpha=0.05)
    assert nine.interval == pytest.approx(alone.interval)


def test_nothing_of_the_other_ranking_was_shown():
    _, rewards, weights, users = _log(2)
    found = estimate(self_normalised(rewards, 0 * weights), users, seed=0, alpha=0.05)
    assert np.isnan(found.value)
    assert found.interval == (-np.inf, np.inf)


def test_an_item_that_could_not_be_shown_is_an_error():
    with pytest.raises(ValueError, match="propensity of 0"):
        position_weights(np.ones((1, 2)), np.array([[0.5, 0.0]]))
