"""The lift where weights follow the outcomes."""

import math

import numpy as np
import pytest

from runtime.experiments.adaptive import (
    Engaged,
    lift_interval,
    log_evidence,
    log_likelihood,
    most_likely_lift,
    sample_ratio_p,
)
from runtime.experiments.sample_ratio import sample_ratio_p as fixed_sample_ratio_p
from runtime.experiments.sequences import lift_interval as fixed_lift_interval
from runtime.experiments.sequences import log_evidence as beta_evidence

ALPHA = 0.05


def test_the_likelihood_is_that_of_the_shares_of_the_batches():
    batches = [Engaged(30, 50, 0.5), Engaged(2, 40, 0.9)]
    ratios = np.array([0.5, 1.0, 3.0])
    expected = []
    for ratio in ratios:
        shares = [0.5 * ratio / (0.5 * ratio + 0.5), 0.9 * ratio / (0.9 * ratio + 0.1)]
        expected.append(
            sum(t * math.log(s) + c * math.log(1 - s) for (c, t, _), s in zip(batches, shares, strict=True))
        )
    assert log_likelihood(batches, np.log(ratios)) == pytest.approx(expected)


def test_one_batch_says_what_the_beta_mixture_says():
    for control, treatment, weight in [(100, 120, 0.5), (1_000, 1_300, 0.5), (50, 400, 0.8)]:
        ours = lift_interval([Engaged(control, treatment, weight)], ALPHA)
        theirs = fixed_lift_interval(control, treatment, weight, ALPHA)
        assert ours.lower == pytest.approx(theirs.lower, abs=0.08)
        assert ours.upper == pytest.approx(theirs.upper, rel=0.15)
        assert most_likely_lift([Engaged(control, treatment, weight)]) == pytest.approx(
            treatment / control / weight * (1 - weight) - 1
        )


def test_evidence_is_a_likelihood_ratio_against_the_ratio():
    found = log_evidence([Engaged(100, 160, 0.5)], np.array([0.0]), ALPHA)[0]
    assert found == pytest.approx(beta_evidence(160, 100, 0.5, 0.5, 126), abs=0.5)


@pytest.mark.parametrize(
    ("batches", "lift", "lower", "upper"),
    [
        ([Engaged(0, 0, 0.5)], None, -1.0, math.inf),
        ([Engaged(0, 9, 0.5), Engaged(0, 1, 0.9)], None, None, math.inf),
        ([Engaged(9, 0, 0.5)], -1.0, -1.0, None),
    ],
)
def test_an_arm_without_anybody_leaves_its_side_open(batches, lift, lower, upper):
    found = lift_interval(batches, ALPHA)
    assert most_likely_lift(batches) == lift
    assert lower is None or found.lower == lower
    assert upper is None or found.upper == upper
    assert found.lower < found.upper


def test_the_interval_ends_where_the_evidence_reaches_the_limit():
    batches = [Engaged(300, 350, 0.5), Engaged(40, 900, 0.95)]
    found = lift_interval(batches, ALPHA)
    ends = log_evidence(batches, np.log1p(np.array(found)), ALPHA)
    assert ends == pytest.approx([math.log(20)] * 2, abs=1e-6)
    assert found.lower < most_likely_lift(batches) < found.upper


def test_a_base_rate_that_moves_with_the_weights_is_no_lift():
    """Simpson's paradox: the treatment has most users when everybody engages, and none is better."""
    batches = [Engaged(500, 500, 0.5), Engaged(300, 2_700, 0.9)]
    found = lift_interval(batches, ALPHA)
    assert found.lower < 0 < found.upper
    assert most_likely_lift(batches) == pytest.approx(0)
    pooled = fixed_lift_interval(800, 3_200, (10_000 + 9_000) / 30_000, ALPHA)  # of 20,000 and 10,000 users
    assert pooled.lower > 0


def test_the_sample_ratio_of_one_batch_is_that_of_fixed_weights():
    looks = [[500, 600], [5_000, 5_300]]
    assert sample_ratio_p([[look] for look in looks], [[1, 1]]) == fixed_sample_ratio_p(looks, [1, 1])
    assert sample_ratio_p([[[500, 500], [90, 910]]], [[1, 1], [0.1, 0.9]]) == 1.0
    assert sample_ratio_p([[[500, 500], [900, 100]]], [[1, 1], [0.1, 0.9]]) < 1e-9
    assert sample_ratio_p([], [[1, 1]]) == 1.0
