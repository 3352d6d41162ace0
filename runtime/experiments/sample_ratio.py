"""Whether the arms have the users that their weights promise; if not, something loses users of one arm.

Sequential: the Bayes factor of a Dirichlet-multinomial about the weights against the weights themselves (Lindon and
Malek, arXiv 2011.03567). 1/BF is a p-value that may be looked at after every user; so is the least of all so far.
"""

import math
from collections.abc import Iterable, Sequence

CONCENTRATION = 10_000.0


def log_bayes_factor(users: Sequence[float], weights: Sequence[float]) -> float:
    """log of the evidence against the weights (positive, in any unit), from the users in each arm."""
    whole = sum(weights)
    total = sum(users)
    found = math.lgamma(CONCENTRATION) - math.lgamma(CONCENTRATION + total)
    for n, weight in zip(users, weights, strict=True):
        share = weight / whole
        prior = CONCENTRATION * share
        found += math.lgamma(prior + n) - math.lgamma(prior) - n * math.log(share)
    return found


def sample_ratio_p(looks: Iterable[Sequence[float]], weights: Sequence[float]) -> float:
    """The least p-value of the looks, each the users in every arm so far; 1 without any."""
    return min((math.exp(min(0.0, -log_bayes_factor(users, weights))) for users in looks), default=1.0)
