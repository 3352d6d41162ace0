"""Lists of candidates of which one was engaged with: what the ranker's weights are fitted to."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking_features import NAMES


class Lists(NamedTuple):
    """Queries with their candidates, the target first. x: float32 [queries, candidates, features]; log_weight: float32
    [queries, candidates], log of how many items a candidate stands for, −inf where there is none. place: float32
    [queries, candidates], log(1 + position) where a candidate was shown; 0 in lists of the whole catalogue."""

    x: NDArray[np.float32]
    log_weight: NDArray[np.float32]
    place: NDArray[np.float32]

    def __add__(self, other: "Lists") -> "Lists":  # type: ignore[override]
        """The lists of both."""
        width = max(self.x.shape[1], other.x.shape[1])
        mine, theirs = (_widened(lists, width) for lists in (self, other))
        return Lists(*(np.concatenate(both) for both in zip(mine, theirs, strict=True)))


def padded(
    features: Sequence[NDArray[np.float32]],
    log_weights: Sequence[NDArray[np.float32]],
    places: Sequence[NDArray[np.float32]] | None = None,
) -> Lists:
    """Lists of different lengths: features [candidates, features], the others [candidates], one of each a query."""
    longest = max((len(weight) for weight in log_weights), default=0)
    made = _empty(len(features), longest, features[0].shape[1] if features else len(NAMES))
    for number, (own, weight) in enumerate(zip(features, log_weights, strict=True)):
        made.x[number, : len(weight)], made.log_weight[number, : len(weight)] = own, weight
        if places is not None:
            made.place[number, : len(weight)] = places[number]
    return made


def _empty(queries: int, candidates: int, features: int) -> Lists:
    return Lists(
        np.zeros((queries, candidates, features), np.float32),
        np.full((queries, candidates), -np.inf, np.float32),
        np.zeros((queries, candidates), np.float32),
    )


def _widened(lists: Lists, width: int) -> Lists:
    made = _empty(len(lists.x), width, lists.x.shape[2])
    for whole, part in zip(made, lists, strict=True):
        whole[:, : part.shape[1]] = part
    return made
