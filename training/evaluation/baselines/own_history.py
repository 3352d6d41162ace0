"""What a user engaged with before, the latest first. Learns nothing, and is hard to beat where users repeat items."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from training.data.events import Dataset, Histories
from training.evaluation.baselines.history import HALF_LIVES_EVENTS, engaged_weights, popularity
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.protocol import Scores

_TIE_BREAK = 1e-3  # of popularity, for items the user never engaged with


class OwnHistory(Tuned):
    """The recency-weighted history itself."""

    name = "own history, recency"
    scored: ClassVar = {"half_life_events": HALF_LIVES_EVENTS}

    def learn(self, data: Dataset) -> None:
        self.share = popularity(data)

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        own = engaged_weights(histories, len(self.share), self.choice["half_life_events"])
        return np.asarray(own.toarray() + np.float32(_TIE_BREAK) * self.share, np.float32)
