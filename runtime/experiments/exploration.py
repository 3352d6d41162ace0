"""Rankings drawn at random, and the exact probability of each item at its position, so that other rankings can be
judged by the interactions that followed.

A propensity is conditional: the probability of the item at its position, given those before it. Their product is the
probability of the list.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Drawn(NamedTuple):
    """order: intp [n], positions in what was ranked, best first. propensities: float64 [n], in that order."""

    order: NDArray[np.intp]
    propensities: Floats


def plackett_luce(
    scores: Sequence[float] | NDArray[np.floating], top: int, temperature: float, random: np.random.Generator
) -> Drawn:
    """Draw the order of the first `top` of scores [n] (best first) by softmax(score / temperature), without
    replacement; what follows them stays. Gumbel noise gives the order (Yellott 1977)."""
    logits = np.asarray(scores[:top], np.float64) / temperature
    order = np.argsort(-(logits + random.gumbel(size=len(logits))), kind="stable")
    return _with_tail(order, plackett_luce_propensities(logits[order]), len(scores))


def plackett_luce_propensities(logits: Floats) -> Floats:
    """Of items in the order [n] in which they were placed: exp(logit) over the sum of it and those after it."""
    highest = logits.max(initial=-np.inf)
    tails = np.logaddexp.accumulate((logits - highest)[::-1])[::-1] if len(logits) else logits
    return np.exp(logits - highest - tails) if len(logits) else logits


def epsilon_greedy(n: int, top: int, epsilon: float, random: np.random.Generator) -> Drawn:
    """Of n ranked items, best first: at each of the first `top` positions, with probability epsilon, any of those of
    the first `top` that are left, else the best of them."""
    left = list(range(min(top, n)))
    order, propensities = [], []
    while left:
        chosen = int(random.integers(len(left))) if random.random() < epsilon else 0
        propensities.append(epsilon / len(left) + (1 - epsilon if chosen == 0 else 0.0))
        order.append(left.pop(chosen))
    return _with_tail(np.array(order, np.intp), np.array(propensities), n)


def thompson_weights(
    engaged: Sequence[int], closed: Sequence[int], *, seed: int | Sequence[int], floor: float = 0.01, draws: int = 4_096
) -> list[float]:
    """The probability that each arm's rate is the highest, by draws from its Beta(1 + engaged, 1 + others), and none
    below `floor`: the weights of the arms for the next batch of users."""
    random = np.random.default_rng(seed)
    yes, all = np.asarray(engaged, np.float64), np.asarray(closed, np.float64)
    best = random.beta(1 + yes, 1 + all - yes, size=(draws, len(yes))).argmax(axis=1)
    shares = np.bincount(best, minlength=len(yes)) / draws
    weights: list[float] = (floor + (1 - floor * len(yes)) * shares).tolist()
    return weights


def _with_tail(order: NDArray[np.intp], propensities: Floats, n: int) -> Drawn:
    """What follows the drawn positions is where it was, with probability 1."""
    tail = np.arange(len(order), n)
    return Drawn(np.concatenate([order, tail]), np.concatenate([propensities, np.ones(len(tail))]))
