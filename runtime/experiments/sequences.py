"""Intervals that hold at every time at once: looking after each user does not raise their error.

Two mixtures (Howard, Ramdas, McAuliffe, Sekhon, arXiv 1810.08240). The beta mixture is exact for events of known
probability; the normal mixture holds for means of many users. docs/decisions/017 has measured coverage and width.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

# Events, and users, at which the intervals are tightest; they hold at every number.
TUNED_FOR_EVENTS = 1_000
TUNED_FOR_USERS = 5_000

_STEPS = 60  # of a bisection: below the resolution of a double


class Interval(NamedTuple):
    """A confidence interval, or one that holds at every time at once."""

    lower: float
    upper: float


def normal_mixture_rho(v_opt: float, alpha: float) -> float:
    """The ρ for which the bound is tightest about intrinsic time v_opt (arXiv 1810.08240, section 3.5)."""
    return v_opt / (2 * math.log(1 / alpha) + math.log(1 + 2 * math.log(1 / alpha)))


def normal_mixture_bound(v: float, rho: float, alpha: float) -> float:
    """What a sum with variance `v` exceeds, in size, at any time with probability at most alpha (there, (14))."""
    return math.sqrt((v + rho) * math.log((v + rho) / (rho * alpha * alpha)))


def standard_errors(users: int, alpha: float) -> float:
    """Half the width of a mean's interval in standard errors; a fixed horizon would have 1.96 at alpha 0.05."""
    rho = normal_mixture_rho(TUNED_FOR_USERS, alpha)
    return normal_mixture_bound(users, rho, alpha) / math.sqrt(users)


def concentration(alpha: float) -> float:
    """Of the beta mixture that is tightest at TUNED_FOR_EVENTS: its prior has the normal mixture's variance."""
    return normal_mixture_rho(TUNED_FOR_EVENTS, alpha)


def log_evidence(events: float, others: float, share: float, prior: float, concentration: float) -> float:
    """log of the beta mixture's likelihood ratio against `share`, the probability that an event is one of `events`.

    Under that share, the probability that it ever reaches log(1/alpha) is at most alpha. The mixture is a beta
    distribution with mean `prior`.
    """
    a, b = concentration * prior, concentration * (1 - prior)
    mixture = _log_beta(a + events, b + others) - _log_beta(a, b)
    return mixture - _log_likelihood(events, others, share)


def share_interval(events: float, others: float, *, alpha: float, prior: float, concentration: float) -> Interval:
    """Every share against which the evidence is below 1/alpha."""
    total = events + others
    if not total:
        return Interval(0.0, 1.0)
    limit = math.log(1 / alpha)

    def inside(share: float) -> bool:
        return log_evidence(events, others, share, prior, concentration) < limit

    found = events / total
    lower = _edge(inside, found, 0.0) if events else 0.0
    upper = _edge(inside, found, 1.0) if others else 1.0
    return Interval(lower, upper)


def lift_interval(control: float, treatment: float, weight: float, alpha: float) -> Interval:
    """The relative lift of the rate of a yes-or-no outcome, from the users with a yes in each arm.

    weight: the share of users assigned to the treatment. Of those with a yes the treatment has, by chance, the share
    weight·r / (weight·r + 1 − weight), where r = 1 + lift, whatever the base rate and however it moves: so an interval
    for that share is one for the lift, and it is exact for any number of users.
    """
    share = share_interval(treatment, control, alpha=alpha, prior=weight, concentration=concentration(alpha))
    return Interval(_lift(share.lower, weight), _lift(share.upper, weight))


def _lift(share: float, weight: float) -> float:
    return math.inf if share >= 1 else share * (1 - weight) / ((1 - share) * weight) - 1


class Mean(NamedTuple):
    """Users whose outcome is known, Σ outcome and Σ outcome²."""

    users: float
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Σ outcome / users."""
        return self.total / self.users

    @property
    def variance(self) -> float:
        """With two more users, one at 0 and one at the usual outcome above 0: few users never look all alike."""
        usual = self.squares / self.total if self.total else 1.0
        users, total, squares = self.users + 2, self.total + usual, self.squares + usual * usual
        return squares / users - (total / users) ** 2


def difference_interval(control: Mean, treatment: Mean, alpha: float) -> Interval:
    """The difference of the arms' means; for a hundred users and more."""
    if not control.users or not treatment.users:
        return Interval(-math.inf, math.inf)
    error = math.sqrt(control.variance / control.users + treatment.variance / treatment.users)
    half = error * standard_errors(int(control.users + treatment.users), alpha)
    found = treatment.mean - control.mean
    return Interval(found - half, found + half)


def ratio_interval(control: Mean, treatment: Mean, alpha: float) -> Interval:
    """The relative lift of means that are not negative: each r − 1 for which the treatment's mean minus r times the
    control's is within its bound of 0 (Fieller). From −1 to infinity where the control's mean may be 0."""
    if not control.users or not treatment.users or not control.total:
        return Interval(-1.0, math.inf)
    z = standard_errors(int(control.users + treatment.users), alpha)
    c_error, t_error = (z * z * arm.variance / arm.users for arm in (control, treatment))
    a = control.mean**2 - c_error
    c = treatment.mean**2 - t_error
    if a <= 0:
        return Interval(-1.0, math.inf)
    b = control.mean * treatment.mean
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Interval(max((b - root) / a, 0.0) - 1, (b + root) / a - 1)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_likelihood(events: float, others: float, share: float) -> float:
    ours = events * math.log(share) if events and share > 0 else -math.inf if events else 0.0
    theirs = others * math.log1p(-share) if others and share < 1 else -math.inf if others else 0.0
    return ours + theirs


def _edge(inside: Callable[[float], bool], inner: float, outer: float) -> float:
    """Where `inside` ends on the way from `inner`, which is, to `outer`, which is not."""
    for _ in range(_STEPS):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if inside(middle) else (inner, middle)
    return outer
