"""The sequence model's cosines as a feature of the hybrid ranker."""

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking import cosine_scores
from training.data.events import Histories
from training.evaluation.protocol import Scores
from training.evaluation.sequence import SequenceRecommender


class SequenceCosines:
    """Of some queries with every item of the catalogue."""

    def __init__(
        self,
        sequence: SequenceRecommender,
        histories: Histories,
        now_us: NDArray[np.int64],
        device: NDArray[np.int8],
    ) -> None:
        self._users = sequence.user_vectors(histories, now_us, device)
        self._items = sequence.item_vectors

    def of(self, position: int) -> Scores:
        """Of the query at this position, float32 [items]."""
        return cosine_scores(self._users[position], self._items)


def has_enough(sequence: SequenceRecommender, histories: Histories) -> NDArray[np.bool_]:
    """Which histories have as many events as the sequence model answers for, bool [n]."""
    enough: NDArray[np.bool_] = histories.ends - histories.starts >= sequence.min_events
    return enough
