"""The hybrid ranker: a score that is linear in the ranking features."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking_features import HISTORY_EVENTS, NAMES, NAMES_WITH_SEQUENCE, Features, met

# What ranks before anything was trained on the site's own log: chosen on public logs and simulated worlds, where it is
# never below the simple model by more than the interval (docs/decisions/017).
PRIOR: Mapping[str, float] = {
    "simple": 5.0,
    "last": 1.0,
    "count_hour": 2.0,
    "count_day": 1.0,
    "count_month": 0.25,
    "own": 1.0,
    "own_skips": -1.0,
    "own_recent": 1.0,
}


# Before the name of a feature: what its weight is more for a candidate that the user has met (`ranking_features.met`).
MET = "met."
# `few16.` before either: what it is more for a user without events, and less and less so up to 16 of them.
FEW_EVENTS = 5  # where the name does not say it
_FEW = re.compile(r"few([1-9]\d{0,2})\.")


def few(reach: int) -> str:
    """What is before the name of a feature whose weight is more for users with fewer events than `reach`."""
    return "few." if reach == FEW_EVENTS else f"few{reach}."


def share_of_few(events: int, reach: int = FEW_EVENTS) -> float:
    """How much of what weights are more for a user without events they are for one of so many: 1 to 0, by the logarithm
    of 1 + events."""
    return max(0.0, 1.0 - math.log1p(events) / math.log1p(reach))


@dataclass(frozen=True, eq=False)
class Ranker:
    """`version`: public name. `weights`: float32, of NAMES, or of NAMES_WITH_SEQUENCE for a ranker that reads the score
    of a sequence model too. `more_if_met`: likewise, what they are more for a candidate that the user has met; None for
    the same weights. What makes somebody return to an item is not what makes them try one. `more_if_few`: what
    both of these are more for a user without events, float32 [2, features]; None for the same. `for_events` adds that:
    the others score users with `few_events` or more. Where a user's events say little, what corrects them ranks alone.
    """

    version: str
    weights: NDArray[np.float32]
    more_if_met: NDArray[np.float32] | None = None
    more_if_few: NDArray[np.float32] | None = None
    few_events: int = FEW_EVENTS

    @classmethod
    def of(cls, version: str, weights: Mapping[str, float], names: tuple[str, ...] = NAMES) -> "Ranker":
        """Weights of the features `names`, with MET before it what such a weight is more, and with `few` before either
        what that is more. What is not named weighs nothing. Raises ValueError for a name that is no feature, and for
        few events that are not the same everywhere or more than HISTORY_EVENTS."""
        reach = min((int(found[1]) for name in weights if (found := _FEW.match(name))), default=FEW_EVENTS)
        groups = _before(reach)
        if unknown := sorted(set(weights) - {f"{before}{name}" for before in groups for name in names}):
            raise ValueError(f"{', '.join(unknown)}: no such ranking feature; there are {', '.join(names)}")
        if reach > HISTORY_EVENTS:
            raise ValueError(f"weights for fewer than {reach} events: at most {HISTORY_EVENTS} are looked at")
        plain, more, of_few, few_more = (
            np.array([weights.get(f"{before}{name}", 0.0) for name in names], np.float32) for before in groups
        )
        both = np.stack([of_few, few_more])
        return cls(version, plain, more if more.any() else None, both if both.any() else None, reach)

    @property
    def names(self) -> tuple[str, ...]:
        """Of its features."""
        return NAMES_WITH_SEQUENCE[: len(self.weights)]

    @property
    def named_weights(self) -> dict[str, float]:
        """Those that are not 0."""
        groups = [self.weights, self.more_if_met, *(() if self.more_if_few is None else self.more_if_few)]
        return {
            f"{before}{name}": weight
            for before, group in zip(_before(self.few_events), groups, strict=False)
            if group is not None
            for name, weight in zip(self.names, group.tolist(), strict=True)
            if weight
        }

    def for_events(self, events: int) -> "Ranker":
        """The ranker for a user of so many events, of those that are looked at: from `few_events` on this one."""
        share = share_of_few(events, self.few_events)
        if self.more_if_few is None or not share:
            return self
        plain, more = np.float32(share) * self.more_if_few
        if self.more_if_met is not None:
            more = more + self.more_if_met
        return Ranker(self.version, self.weights + plain, more if more.any() else None)

    @property
    def largest_weights(self) -> NDArray[np.float32]:
        """How much each feature can weigh, [features]: what bounds an error of the score."""
        plain: NDArray[np.float32] = np.abs(self.weights)
        return plain if self.more_if_met is None else np.maximum(plain, np.abs(self.weights + self.more_if_met))

    def scores(self, features: Features) -> NDArray[np.float32]:
        """float32 [n]: higher is better, comparable within one user and query context.

        A candidate's score depends on its features alone: see `cosine_scores` for why this is no matrix product.
        """
        scores: NDArray[np.float32] = np.vecdot(features, self.weights)
        if self.more_if_met is not None:
            some = np.flatnonzero(met(features))  # of a whole catalogue few
            scores[some] += np.vecdot(features[some], self.more_if_met)
        return scores

    def parts(self, features: Features) -> list[dict[str, float]]:
        """What each feature gave to each score, those that gave nothing left out: [n] dictionaries that sum to it."""
        given = features * self.weights
        if self.more_if_met is not None:
            given += features * self.more_if_met * met(features)[:, np.newaxis]
        return [
            {name: float(part) for name, part in zip(self.names, row, strict=True) if part} for row in given.tolist()
        ]


def _before(reach: int) -> tuple[str, ...]:
    return ("", MET, few(reach), f"{few(reach)}{MET}")


def prior() -> Ranker:
    """The ranker that serves without a bundle: weights chosen on public logs, and no neighbours."""
    return Ranker.of("hybrid-prior-1", PRIOR)
