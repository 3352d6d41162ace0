"""The hybrid ranker: a score that is linear in the ranking features."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking_features import NAMES, NAMES_WITH_SEQUENCE, Features

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


@dataclass(frozen=True, eq=False)
class Ranker:
    """`version`: public name. `weights`: float32, of NAMES, or of NAMES_WITH_SEQUENCE for a ranker that reads the score
    of a sequence model too."""

    version: str
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, version: str, weights: Mapping[str, float]) -> "Ranker":
        """Of NAMES. A feature that is not named weighs nothing. Raises ValueError for a name that is no feature."""
        return cls(version, weights_of(weights, NAMES))

    @property
    def names(self) -> tuple[str, ...]:
        """Of its features."""
        return NAMES_WITH_SEQUENCE[: len(self.weights)]

    @property
    def named_weights(self) -> dict[str, float]:
        """Those that are not 0."""
        return {name: float(weight) for name, weight in zip(self.names, self.weights, strict=True) if weight}

    def scores(self, features: Features) -> NDArray[np.float32]:
        """float32 [n]: higher is better, comparable within one user and query context.

        A candidate's score depends on its features alone: see `cosine_scores` for why this is no matrix product.
        """
        scores: NDArray[np.float32] = np.vecdot(features, self.weights)
        return scores

    def parts(self, features: Features) -> list[dict[str, float]]:
        """What each feature gave to each score, those that gave nothing left out: [n] dictionaries that sum to it."""
        given = features * self.weights
        return [
            {name: float(part) for name, part in zip(self.names, row, strict=True) if part} for row in given.tolist()
        ]


def weights_of(weights: Mapping[str, float], names: tuple[str, ...]) -> NDArray[np.float32]:
    """In the order of the features `names`, 0 where one is not named. Raises ValueError for any other name."""
    if unknown := sorted(weights.keys() - set(names)):
        raise ValueError(f"{', '.join(unknown)}: no such ranking feature; there are {', '.join(names)}")
    return np.array([weights.get(name, 0.0) for name in names], np.float32)


def prior() -> Ranker:
    """The ranker that serves without a bundle: weights chosen on public logs, and no neighbours."""
    return Ranker.of("hybrid-prior-1", PRIOR)
