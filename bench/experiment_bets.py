"""Confidence sequences of the lift by betting and by the empirical Bernstein bound, user by user.

For users assigned to the treatment with probability w (A), an outcome Y of 0 or 1, and a ratio of rates r, the value
Z(r) = A/w · (Y − r·m) − (1 − A)/(1 − w) · r·(Y − m) has mean 0 where r is the true ratio, for every m that is settled
before the user comes; m is the control's rate so far, which takes the part of Y's variance off that no arm explains
(m = 0 are the inverse-probability weights of arXiv 2102.09540). Capital that is bet on Z, hedged between both signs,
and the predictable plug-in empirical Bernstein bound are those of arXiv 2010.09686 (sections 3.2 and 4.3).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.experiments.sequences import Interval

Floats = NDArray[np.float64]

_WORLDS_AT_ONCE = 10
_MOST = 0.5  # of what a bet may lose
_STEPS = 24  # of a bisection
_HIGHEST = 50.0  # ratio of rates that is looked at


@dataclass(frozen=True)
class Users:
    """Users in the order in which they came, [w, n]: whether they had the treatment, and whether they engaged."""

    treated: NDArray[np.bool_]
    yes: NDArray[np.bool_]

    def first(self, n: int) -> "Users":
        """The first n of each world."""
        return Users(self.treated[:, :n], self.yes[:, :n])


def draw(worlds: int, users: int, rate: float, lift: float, random: np.random.Generator) -> Users:
    """Worlds with equal arms."""
    treated = random.random((worlds, users)) < 0.5
    return Users(treated, random.random((worlds, users)) < np.where(treated, rate * (1 + lift), rate))


def betting_evidence(users: Users, lift: float, alpha: float) -> Floats:
    """log of the hedged capital against a lift, [w, n]; the lift is outside where it reaches log(1/alpha)."""
    ratio = 1 + lift
    values = _values(users, ratio)
    bets = np.minimum(_bets(values, ratio, alpha), _MOST / (2 * max(1.0, ratio)))
    gains = np.log1p(bets * values).cumsum(axis=1)
    losses = np.log1p(-bets * values).cumsum(axis=1)
    found: Floats = np.logaddexp(gains, losses) - math.log(2)
    return found


def bernstein_evidence(users: Users, lift: float, alpha: float) -> Floats:
    """How far 0 is from the middle of the interval of the mean of Z, in halves of its width times log(1/alpha),
    [w, n]: the lift is outside where it reaches log(1/alpha)."""
    ratio = 1 + lift
    width = 2 + 2 * max(1.0, ratio)
    values = _values(users, ratio) / width
    bets = np.minimum(_bets(values, ratio / width, alpha), _MOST)
    before = np.cumsum(values, axis=1) - values
    means = before / np.arange(1, values.shape[1] + 1)
    spread = (values - means) ** 2 * (-np.log1p(-bets) - bets)
    total = bets.cumsum(axis=1)
    middle = (bets * values).cumsum(axis=1) / total
    half = (math.log(2 / alpha) + spread.cumsum(axis=1)) / total
    found: Floats = np.abs(middle) / half * math.log(1 / alpha)
    return found


def held(
    evidence: Callable[[Users, float, float], Floats],
    worlds: int,
    looks: NDArray[np.int64],
    rate: float,
    lift: float,
    alpha: float,
    random: np.random.Generator,
) -> float:
    """The share of worlds whose interval held the true lift at every look (a number of users)."""
    kept = 0
    for start in range(0, worlds, _WORLDS_AT_ONCE):
        users = draw(min(_WORLDS_AT_ONCE, worlds - start), int(looks[-1]), rate, lift, random)
        seen = evidence(users, lift, alpha)[:, looks - 1]
        kept += int((seen < math.log(1 / alpha)).all(axis=1).sum())
    return kept / worlds


def interval(evidence: Callable[[Users, float, float], Floats], users: Users, alpha: float) -> Interval:
    """Of the lift, after all users of one world."""
    limit = math.log(1 / alpha)

    def inside(ratio: float) -> bool:
        return float(evidence(users, ratio - 1, alpha)[0, -1]) < limit

    yes = [float((users.yes & arm).sum()) / max(int(arm.sum()), 1) for arm in (users.treated, ~users.treated)]
    found = min(yes[0] / yes[1], _HIGHEST) if yes[1] else _HIGHEST
    ends = []
    for outer in (1e-6, _HIGHEST):
        inner = found
        if inside(outer):
            inner = outer
        else:
            for _ in range(_STEPS):
                middle = (inner + outer) / 2
                inner, outer = (middle, outer) if inside(middle) else (inner, middle)
        ends.append(inner - 1)
    return Interval(*ends)


def _values(users: Users, ratio: float) -> Floats:
    """Z, [w, n], with equal arms: from −2 · max(1, ratio) to 2."""
    control = ~users.treated
    yes = (users.yes & control).cumsum(axis=1)
    seen = control.cumsum(axis=1)
    rate = (0.5 + yes - (users.yes & control)) / (1 + seen - control)  # before the user
    rate = np.minimum(rate, 1 / ratio)  # so that ratio · rate is a rate, too
    values: Floats = np.where(users.treated, 2 * (users.yes - ratio * rate), -2 * ratio * (users.yes - rate))
    return values


def _bets(values: Floats, first: float, alpha: float) -> Floats:
    """The predictable plug-in bets (there, (15)), before they are bounded. first: the deviation that is assumed before
    any user came."""
    n = np.arange(1, values.shape[1] + 1)
    squares = np.cumsum(values**2, axis=1) - values**2
    variance = (first**2 + squares) / n
    found: Floats = np.sqrt(2 * math.log(2 / alpha) / (variance * n * np.log(n + 1)))
    return found
