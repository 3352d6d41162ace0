"""The estimators on the small Open Bandit data set, where a published figure and the package's own estimates are known.

`open_bandit.npz` is from the package obp 0.5.5 (Saito, Aihara, Matsutani, Narita, arXiv 2008.07146), campaign "all":
10,000 rows shown uniformly at random among 80 items (item, position, click), the clicks of 10,000 rows shown by
Bernoulli Thompson sampling, and the parameters (alpha, beta) of that policy.
"""

from pathlib import Path

import numpy as np
import pytest

from training.off_policy.estimators import doubly_robust, estimate, importance, mean, self_normalised

FILE = Path(__file__).with_name("open_bandit.npz")
ITEMS, SHOWN, SIMULATIONS = 80, 3, 100_000


@pytest.fixture(scope="module")
def data():
    with np.load(FILE) as stored:
        return {name: stored[name].astype(np.float64 if name in ("alpha", "beta") else np.int64) for name in stored}


@pytest.fixture(scope="module")
def policy(data):
    """Probability of each item at each position by Bernoulli Thompson sampling, [80, 3], with the seed and the number
    of simulations of the package's README."""
    drawn = np.random.RandomState(12345).beta(data["alpha"], data["beta"], size=(SIMULATIONS, ITEMS))
    best = drawn.argsort(axis=1)[:, ::-1][:, :SHOWN]
    return np.stack([np.bincount(best[:, n], minlength=ITEMS) for n in range(SHOWN)], axis=1) / SIMULATIONS


@pytest.fixture(scope="module")
def weights(data, policy):
    return policy[data["item"], data["position"] - 1] * ITEMS


def _value(ratios, rows):
    return estimate(ratios, np.arange(rows), seed=0, alpha=0.05, resamples=1).value


def test_the_published_improvement_of_thompson_sampling(data, weights):
    clicks = data["click"].astype(np.float64)
    value = _value(importance(clicks, weights), len(clicks))
    assert value / clicks.mean() == pytest.approx(1.198126, abs=5e-7)  # README of the package: 1.198126...


def test_the_estimates_of_the_package(data, policy, weights):
    """obp's own InverseProbabilityWeighting, SelfNormalizedInverseProbabilityWeighting and DoublyRobust; the last with
    each item's click rate, drawn towards the mean as if shown ten times more, as the model of rewards."""
    clicks, n = data["click"].astype(np.float64), len(data["click"])
    shown = np.bincount(data["item"], minlength=ITEMS)
    rate = (np.bincount(data["item"], clicks, minlength=ITEMS) + 10 * clicks.mean()) / (shown + 10)
    of_policy = (rate @ policy)[data["position"] - 1]
    assert _value(importance(clicks, weights), n) == pytest.approx(0.00455288, rel=1e-9)
    assert _value(self_normalised(clicks, weights), n) == pytest.approx(0.0047758330812309535, rel=1e-9)
    robust = doubly_robust(clicks, weights, rate[data["item"]], of_policy)
    assert _value(robust, n) == pytest.approx(0.004856690242078506, rel=1e-9)


def test_the_intervals_hold_what_thompson_sampling_got(data, weights):
    clicks, got = data["click"].astype(np.float64), data["bts_click"].mean()
    for ratios in (importance(clicks, weights), self_normalised(clicks, weights)):
        found = estimate(ratios, np.arange(len(clicks)), seed=0, alpha=0.05, resamples=500)
        assert found.interval.lower < got < found.interval.upper


def test_uniform_weights_give_the_click_rate(data):
    clicks = data["click"].astype(np.float64)
    same = self_normalised(clicks, np.ones(len(clicks)))
    assert _value(same, len(clicks)) == _value(mean(clicks), len(clicks)) == pytest.approx(0.0038)
