"""The hybrid ranker: a score that is linear in the ranking features."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking_features import NAMES, NAMES_WITH_SEQUENCE, Features, met

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


@dataclass(frozen=True, eq=False)
class Ranker:
    """`version`: public name. `weights`: float32, of NAMES, or of NAMES_WITH_SEQUENCE for a ranker that reads the score
    of a sequence model too. `more_if_met`: likewise, what they are more for a candidate that the user has met; None for
    the same weights. What makes somebody return to an item is not what makes them try one."""

    version: str
    weights: NDArray[np.float32]
    more_if_met: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, version: str, weights: Mapping[str, float], names: tuple[str, ...] = NAMES) -> "Ranker":
        """Weights of the features `names`, and with MET before it what such a weight is more. What is not named weighs
        nothing. Raises ValueError for a name that is no feature."""
        if unknown := sorted(name for name in weights if name.removeprefix(MET) not in names):
            raise ValueError(f"{', '.join(unknown)}: no such ranking feature; there are {', '.join(names)}")
        plain, more = (
            np.array([weights.get(f"{before}{name}", 0.0) for name in names], np.float32) for before in ("", MET)
        )
        return cls(version, plain, more if more.any() else None)

    @property
    def names(self) -> tuple[str, ...]:
        """Of its features."""
        return NAMES_WITH_SEQUENCE[: len(self.weights)]

    @property
    def named_weights(self) -> dict[str, float]:
        """Those that are not 0."""
        found = dict(zip(self.names, self.weights.tolist(), strict=True))
        if self.more_if_met is not None:
            found |= {f"{MET}{name}": more for name, more in zip(self.names, self.more_if_met.tolist(), strict=True)}
        return {name: weight for name, weight in found.items() if weight}

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


def prior() -> Ranker:
    """The ranker that serves without a bundle: weights chosen on public logs, and no neighbours."""
    return Ranker.of("hybrid-prior-1", PRIOR)
