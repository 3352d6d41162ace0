"""Replay estimates find the truth of a world that is known, with the coverage they promise."""

import numpy as np
import pytest

from runtime.experiments.exploration import plackett_luce_propensities
from runtime.experiments.off_policy import doubly_robust, importance, position_weights, self_normalised

RATES = np.array([0.5, 0.3, 0.2, 0.1])
LOGGED, TARGET = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.55, 0.25, 0.15, 0.05])
TRUTH = float(RATES @ TARGET)


def _log(seed, n=2_000):
    random = np.random.default_rng(seed)
    shown = random.choice(4, size=n, p=LOGGED)
    rewards = (random.random(n) < RATES[shown]).astype(float)
    return shown, rewards, TARGET[shown] / LOGGED[shown], np.arange(n)


def _estimates(seed, model=RATES):
    shown, rewards, weights, users = _log(seed)
    options = {"seed": seed, "alpha": 0.05}
    return {
        "ips": importance(rewards, weights, users, **options),
        "snips": self_normalised(rewards, weights, users, **options),
        "dr": doubly_robust(rewards, weights, model[shown], np.full(2_000, model @ TARGET), users, **options),
    }


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
    values = [_estimates(seed, model=np.full(4, 0.9))["dr"].value for seed in range(60)]
    assert np.mean(values) == pytest.approx(TRUTH, abs=0.02)


def test_the_same_ranking_gets_its_own_mean():
    shown, rewards, _, users = _log(1)
    found = importance(rewards, np.ones(len(shown)), users, seed=1, alpha=0.05)
    assert found.value == pytest.approx(rewards.mean())
    assert found.effective_users == pytest.approx(len(users))


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
    for estimate in (importance, self_normalised):
        found = estimate(rewards, weights, np.arange(n), seed=0, alpha=0.01)
        assert found.interval.lower <= truth <= found.interval.upper
        assert found.value == pytest.approx(truth, abs=0.02)


def test_rankings_of_one_user_are_one_observation():
    _, rewards, weights, users = _log(2)
    alone = importance(rewards, weights, users, seed=0, alpha=0.05)
    repeated = importance(np.repeat(rewards, 9), np.repeat(weights, 9), np.repeat(users, 9), seed=0, alpha=0.05)
    assert repeated.interval == pytest.approx(alone.interval)


def test_an_item_that_could_not_be_shown_is_an_error():
    with pytest.raises(ValueError, match="propensity of 0"):
        position_weights(np.ones((1, 2)), np.array([[0.5, 0.0]]))
