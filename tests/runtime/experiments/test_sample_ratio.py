"""The sequential test of the sample ratio."""

import math

import numpy as np
import pytest

from runtime.experiments.sample_ratio import log_bayes_factor, sample_ratio_p


@pytest.mark.parametrize(("users", "p"), [([500, 600], 0.671451), ([5_000, 5_300], 0.155221), ([100, 900], 2.368e-13)])
def test_the_p_value_has_the_published_values(users, p):
    assert sample_ratio_p([users], [1, 1]) == pytest.approx(p, rel=5e-4 if p < 1e-3 else 5e-6)


def test_the_same_users_on_two_days_say_the_same():
    assert sample_ratio_p([[200, 250], [500, 600]], [1, 1]) == pytest.approx(sample_ratio_p([[500, 600]], [2, 2]))


def test_a_mismatch_that_was_seen_stays_seen():
    seen = sample_ratio_p([[100, 300], [10_000, 10_200]], [1, 1])
    assert seen == sample_ratio_p([[100, 300]], [1, 1])


def test_no_users_are_no_evidence():
    assert sample_ratio_p([], [1, 1]) == 1
    assert sample_ratio_p([[0, 0]], [1, 1]) == 1


def test_the_evidence_does_not_depend_on_the_order_of_users():
    whole = log_bayes_factor([7, 3, 5], [0.5, 0.3, 0.2])
    concentration, shares, counts, found = 10_000, [0.5, 0.3, 0.2], [0, 0, 0], 0.0
    for arm in [2] * 5 + [0] * 7 + [1] * 3:
        found += math.log((concentration * shares[arm] + counts[arm]) / (concentration + sum(counts)) / shares[arm])
        counts[arm] += 1
    assert whole == pytest.approx(found)


def test_right_weights_are_seldom_doubted_at_any_time():
    """1,000 experiments of 5,000 users, looked at after each."""
    second = np.cumsum(np.random.default_rng(3).random((1_000, 5_000)) < 0.5, axis=1)
    first = np.arange(1, 5_001) - second
    lgamma = np.array([[math.lgamma(x + n) - math.lgamma(x) for n in range(5_001)] for x in (5_000, 10_000)])
    evidence = lgamma[0][first] + lgamma[0][second] - lgamma[1][first + second] + (first + second) * math.log(2)
    assert (evidence.max(axis=1) >= math.log(20)).mean() <= 0.05
