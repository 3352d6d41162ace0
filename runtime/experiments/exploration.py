"""Rankings drawn at random, and the exact probability of each item at its position, so that other rankings can be
judged by the interactions that followed.

A propensity is conditional: the probability of the item at its position, given those before it. Their product is the
probability of the list.
"""

import math
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Drawn(NamedTuple):
    """order: intp [n], positions in what was ranked, best first. propensities: float64 [n], in that order."""

    order: NDArray[np.intp]
    propensities: Floats


def plackett_luce(
    scores: Sequence[float] | NDArray[np.floating], top: int, temperature: float, random: Random
) -> Drawn:
    """Draw the order of the first `top` of scores [n] (best first) by softmax(score / temperature), without
    replacement; what follows them stays. Gumbel noise gives the order (Yellott 1977)."""
    first = np.asarray(scores[:top], np.float64)
    with np.errstate(over="ignore"):
        logits = np.maximum((first - first.max(initial=-np.inf)) / temperature, _LEAST)  # finite at any temperature
    order = np.argsort(-(logits + [_gumbel(random) for _ in logits]), kind="stable")
    return _with_tail(order, plackett_luce_propensities(logits[order]), len(scores))


def plackett_luce_propensities(logits: Floats) -> Floats:
    """Of items in the order [n] in which they were placed: exp(logit) over the sum of it and those after it."""
    highest = logits.max(initial=-np.inf)
    tails = np.logaddexp.accumulate((logits - highest)[::-1])[::-1] if len(logits) else logits
    return np.exp(logits - highest - tails) if len(logits) else logits


def epsilon_greedy(n: int, top: int, epsilon: float, random: Random) -> Drawn:
    """Of n ranked items, best first: at each of the first `top` positions, with probability epsilon, any of those of
    the first `top` that are left, else the best of them."""
    left = list(range(min(top, n)))
    order, propensities = [], []
    while left:
        chosen = random.randrange(len(left)) if random.random() < epsilon else 0
        propensities.append(epsilon / len(left) + (1 - epsilon if chosen == 0 else 0.0))
        order.append(left.pop(chosen))
    return _with_tail(np.array(order, np.intp), np.array(propensities), n)


def thompson_weights(engaged: Sequence[int], closed: Sequence[int], *, floor: float = 0.01) -> list[float]:
    """The probability that each arm's rate is the highest, given Beta(1 + engaged, 1 + others) for each, and none below
    `floor`: the weights of the arms for the next batch of users. Integrated over a grid: nothing is drawn."""
    yes, all = np.asarray(engaged, np.float64), np.asarray(closed, np.float64)
    a, b = 1 + yes[:, np.newaxis], 1 + (all - yes)[:, np.newaxis]
    mean, spread = a / (a + b), np.sqrt(a * b / (a + b + 1)) / (a + b)
    low, high = max((mean - _SPREADS * spread).min(), 0.0), min((mean + _SPREADS * spread).max(), 1.0)
    rates = low + (np.arange(_GRID) + 0.5) * ((high - low) / _GRID)
    density = (a - 1) * np.log(rates) + (b - 1) * np.log1p(-rates)
    mass = np.exp(density - density.max(axis=1, keepdims=True))
    mass /= mass.sum(axis=1, keepdims=True)
    below = mass.cumsum(axis=1) - mass / 2
    best = [float((mass[arm] * np.delete(below, arm, axis=0).prod(axis=0)).sum()) for arm in range(len(yes))]
    return [floor + (1 - floor * len(best)) * share / sum(best) for share in best]


# A logit: e to this power is 0.
_LEAST = -1e300

# Points of the grid, and how many standard deviations of each rate it reaches over.
_GRID, _SPREADS = 4_096, 8.0


def _gumbel(random: Random) -> float:
    return -math.log(-math.log(random.random() or 0.5))  # 0 has no logarithm, and comes once in 2^53 draws


def _with_tail(order: NDArray[np.intp], propensities: Floats, n: int) -> Drawn:
    """What follows the drawn positions is where it was, with probability 1."""
    tail = np.arange(len(order), n)
    return Drawn(np.concatenate([order, tail]), np.concatenate([propensities, np.ones(len(tail))]))
