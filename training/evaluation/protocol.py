"""The interfaces of what is evaluated: recommenders, action predictors, user vectors, blends."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from training.data.events import Dataset, Histories

Scores = NDArray[np.float32]


class Recommender(Protocol):
    """A model under comparison that ranks items."""

    name: str

    def fit(self, train: Dataset, validation: Dataset) -> None:
        """Fit on `train` and select hyperparameters on `validation`. No other data may be read.

        Parameters may be refitted on both parts once the hyperparameters are selected.
        """

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        """float32 [b, items]: higher for items more likely to be engaged with next, at now_us [b] on device [b]."""


@runtime_checkable
class PredictsActions(Protocol):
    """A model under comparison that predicts the action of a user on a given item."""

    name: str

    def fit(self, train: Dataset, validation: Dataset) -> None:
        """As of Recommender."""

    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        """float32 [b, 4] in the order of ACTIONS, rows summing to one: item i is shown to history i.

        For k candidates of one user, repeat the history k times.
        """


@runtime_checkable
class HasUserVectors(Protocol):
    """A recommender with one vector per user, which the linear probe reads."""

    def user_vectors(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]
    ) -> NDArray[np.float32]:
        """float32 [b, d]."""


@runtime_checkable
class BuildsOn(Protocol):
    """A recommender made of others, such as a blend.

    without: name of the same blend without the sequence model. The report always has the difference between the two.
    """

    without: str | None

    def build_on(self, fitted: Mapping[str, Recommender]) -> None:
        """Receive the recommenders fitted on this split so far, by name. Called before `fit`."""
