"""Intervals against published values, against scipy, and against worlds where the truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.experiments.sequences import (
    TUNED_FOR_EVENTS,
    Mean,
    concentration,
    difference_interval,
    lift_interval,
    log_evidence,
    normal_mixture_bound,
    normal_mixture_rho,
    ratio_interval,
    share_interval,
)


def test_the_normal_mixture_has_the_published_values():
    assert normal_mixture_rho(100, 0.05) == pytest.approx(12.60056, abs=5e-6)
    assert normal_mixture_bound(100, normal_mixture_rho(100, 0.05), 0.05) == pytest.approx(30.35209, abs=5e-6)


def test_the_evidence_is_the_ratio_of_scipy_likelihoods():
    stats = pytest.importorskip("scipy.stats", reason="scipy is an oracle")
    mixture = stats.betabinom.logpmf(120, 220, 60, 40)
    null = stats.binom.logpmf(120, 220, 0.5)
    assert log_evidence(120, 100, 0.5, 0.6, 100) == pytest.approx(mixture - null)


@given(st.integers(0, 3_000), st.integers(0, 3_000), st.sampled_from([0.05, 0.01]), st.floats(0.1, 0.9))
def test_the_edges_of_a_share_are_where_the_evidence_is(events, others, alpha, prior):
    lower, upper = share_interval(events, others, alpha=alpha, prior=prior, concentration=concentration(alpha))
    assert 0 <= lower <= upper <= 1
    if events + others:
        assert lower <= events / (events + others) <= upper
    for edge in (lower, upper):
        if 0 < edge < 1:
            evidence = log_evidence(events, others, edge, prior, concentration(alpha))
            assert evidence == pytest.approx(-math.log(alpha), abs=1e-6)


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.05, 0.95))
def test_the_lift_of_swapped_arms_is_the_inverse(control, treatment, weight):
    one, other = lift_interval(control, treatment, weight, 0.05), lift_interval(treatment, control, 1 - weight, 0.05)
    if math.isfinite(one.upper) and other.lower > -1:
        assert 1 + other.lower == pytest.approx(1 / (1 + one.upper), rel=1e-6)


def test_without_events_nothing_is_known():
    assert lift_interval(0, 0, 0.5, 0.05) == (-1.0, math.inf)
    assert ratio_interval(Mean(0, 0, 0), Mean(0, 0, 0), 0.05) == (-1.0, math.inf)
    assert difference_interval(Mean(0, 0, 0), Mean(5, 1, 1), 0.05) == (-math.inf, math.inf)


@pytest.mark.parametrize("weight", [0.5, 0.2])
@pytest.mark.parametrize("lift", [0.0, 0.3])
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_the_lift_is_covered_at_every_user(rate, lift, weight):
    """1,000 worlds of 4,000 users, looked at after each: the share ever outside is at most alpha."""
    random = np.random.default_rng(7)
    treated = random.random((1_000, 4_000)) < weight
    yes = random.random(treated.shape) < np.where(treated, rate * (1 + lift), rate)
    ours = np.cumsum(yes & treated, axis=1)
    theirs = np.cumsum(yes & ~treated, axis=1)
    truth = weight * (1 + lift) / (weight * (1 + lift) + 1 - weight)
    a, b = concentration(0.05) * weight, concentration(0.05) * (1 - weight)
    lgamma = np.array([[math.lgamma(x + n) - math.lgamma(x) for n in range(4_001)] for x in (a, b, a + b)])
    evidence = lgamma[0][ours] + lgamma[1][theirs] - lgamma[2][ours + theirs]
    evidence -= ours * math.log(truth) + theirs * math.log(1 - truth)
    outside = (evidence >= math.log(20)).any(axis=1).sum()
    assert outside <= 50
    last = lift_interval(int(theirs[0, -1]), int(ours[0, -1]), weight, 0.05)
    assert (last.lower <= lift <= last.upper) == (evidence[0, -1] < math.log(20))


def test_an_interval_narrows_with_events():
    widths = [
        (interval := lift_interval(n, n, 0.5, 0.05)).upper - interval.lower
        for n in (TUNED_FOR_EVENTS // 10, TUNED_FOR_EVENTS // 2, 10 * TUNED_FOR_EVENTS)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.12


def test_the_ratio_of_means_agrees_with_the_exact_interval_for_rare_events():
    exact = lift_interval(1_000, 1_100, 0.5, 0.05)
    asymptotic = ratio_interval(Mean(100_000, 1_000, 1_000), Mean(100_000, 1_100, 1_100), 0.05)
    assert asymptotic.lower == pytest.approx(exact.lower, abs=0.05)
    assert asymptotic.upper == pytest.approx(exact.upper, abs=0.1)


def test_the_variance_of_few_alike_users_is_not_0():
    assert Mean(10, 0, 0).variance > 0
    assert Mean(10, 10, 10).variance > 0
    values = np.random.default_rng(0).gamma(2, 3, 5_000)
    assert Mean(5_000, values.sum(), (values**2).sum()).variance == pytest.approx(values.var(), rel=0.01)
