"""The relative lift where the weights of the arms change from batch to batch, as Thompson sampling changes them.

Among the users of a batch who engaged, the share of the treatment is w·r / (w·r + 1 − w), with the batch's weight w and
the ratio of rates r, whatever the batch's base rate. The weight is settled before the batch begins, so the product of
these probabilities over all batches is a likelihood under which an average of likelihood ratios is a martingale
(Ville's inequality): the interval holds at every time, though the weights follow the outcomes. Counts of all batches
put together would not do: a base rate that moves while the weights move looks like a lift.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.experiments.sample_ratio import log_bayes_factor
from runtime.experiments.sequences import Interval, concentration

Floats = NDArray[np.float64]

GRID = np.linspace(-6, 6, 241)  # of the prior of log r, in its standard deviations
_LONGEST = 30.0  # of log r: beyond it a rate is 1e-13 times another
_STEPS = 60


class Engaged(NamedTuple):
    """Users of a batch who engaged, in the control and in the treatment. weight: the treatment's share of those who
    were assigned to either."""

    control: float
    treatment: float
    weight: float


def prior_deviation(alpha: float) -> float:
    """Of log r: as wide as the beta mixture at equal weights."""
    return 2 / math.sqrt(concentration(alpha))


def log_likelihood(batches: Sequence[Engaged], log_ratio: Floats) -> Floats:
    """Of each log r, [g], up to a constant."""
    control, treatment, weight = (np.array(column, np.float64)[:, None] for column in zip(*batches, strict=True))
    odds = np.log(weight / (1 - weight)) + log_ratio
    found: Floats = (treatment * -np.logaddexp(0, -odds) + control * -np.logaddexp(0, odds)).sum(axis=0)
    return found


def log_evidence(batches: Sequence[Engaged], log_ratio: Floats, alpha: float) -> Floats:
    """log of the mixture's likelihood ratio against each log r, [g]. The probability that it ever reaches log(1/alpha)
    under the true one is at most alpha. The mixture is a normal distribution about 0, as wide as the beta mixture."""
    likelihoods = log_likelihood(batches, GRID * prior_deviation(alpha))
    prior = -0.5 * GRID**2
    mixture = np.logaddexp.reduce(prior + likelihoods) - np.logaddexp.reduce(prior)
    found: Floats = mixture - log_likelihood(batches, log_ratio)
    return found


def most_likely_lift(batches: Sequence[Engaged]) -> float | None:
    """None where nobody engaged in the control."""
    if not sum(batch.control for batch in batches):
        return None
    if not sum(batch.treatment for batch in batches):
        return -1.0
    low, high = -_LONGEST, _LONGEST
    for _ in range(_STEPS):  # where the expected number of engaged users of the treatment is the one found
        middle = (low + high) / 2
        low, high = (middle, high) if _missing(batches, middle) > 0 else (low, middle)
    return math.exp(low) - 1


def lift_interval(batches: Sequence[Engaged], alpha: float) -> Interval:
    """Every lift against which the evidence is below 1/alpha."""
    limit = math.log(1 / alpha)
    control = sum(batch.control for batch in batches)
    treatment = sum(batch.treatment for batch in batches)
    found = most_likely_lift(batches)
    inner = _LONGEST if found is None else -_LONGEST if found <= -1 else math.log1p(found)

    def edge(outer: float) -> float:
        inside = inner
        for _ in range(_STEPS):
            middle = (inside + outer) / 2
            held = float(log_evidence(batches, np.array([middle]), alpha)[0]) < limit
            inside, outer = (middle, outer) if held else (inside, middle)
        return math.exp(outer) - 1

    lower = edge(-_LONGEST) if treatment else -1.0
    upper = edge(_LONGEST) if control else math.inf
    return Interval(lower, upper)


def sample_ratio_p(looks: Sequence[Sequence[Sequence[float]]], weights: Sequence[Sequence[float]]) -> float:
    """The least p-value of the looks, each the users of every batch and arm so far: the product of the batches' Bayes
    factors. weights: of each batch."""
    evidence = (sum(map(log_bayes_factor, users, weights)) for users in looks)
    return min((math.exp(min(0.0, -one)) for one in evidence), default=1.0)


def _missing(batches: Sequence[Engaged], log_ratio: float) -> float:
    expected = 0.0
    for control, treatment, weight in batches:
        odds = weight / (1 - weight) * math.exp(log_ratio)
        expected += (control + treatment) * odds / (1 + odds)
    return sum(batch.treatment for batch in batches) - expected
