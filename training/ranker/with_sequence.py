"""The hybrid ranker with the sequence model's score as one more feature, under the evaluation's protocol."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.hybrid import Ranker
from runtime.personalization.neighbours import Neighbours
from runtime.personalization.ranking_features import NAMES_WITH_SEQUENCE, Features
from training.data.events import Dataset
from training.data.split import joined
from training.evaluation import metrics
from training.evaluation.bootstrap import Interval, paired_interval
from training.evaluation.queries import Queries
from training.evaluation.ranking import rank_targets
from training.evaluation.sequence import SequenceRecommender
from training.ranker.neighbours import learn_neighbours
from training.ranker.recommender import Hybrid


class HybridWithSequence(Hybrid):
    """With a second set of weights, of which the sequence model's cosine is one. It is fitted to the validation events
    by a sequence model that has not seen them. A user with fewer events than that model answers for is ranked by the
    first set."""

    name = "hybrid + sequence"
    sequence: SequenceRecommender

    def __init__(self, sequence: SequenceRecommender, *, first: Hybrid | None = None, impressions: bool = True) -> None:
        """first: fitted to the same data before this one, whose weights are then the first set."""
        super().__init__(impressions=impressions)
        self.sequence = sequence
        self._first = first
        self.with_sequence: Ranker
        self.weights_with_sequence: dict[str, float] = {}

    def fit(self, train: Dataset, validation: Dataset) -> None:
        """Train the sequence model, fit the weights to what it makes of events that it has not seen, and rank with the
        one that has seen them."""
        self.sequence.fit(train, validation)
        self.sequence.learn(train)
        self.fit_weights(train, validation, learn_neighbours(train))
        self.learn(joined(train, validation))

    def fit_weights(self, train: Dataset, validation: Dataset, table: Neighbours, half: int | None = None) -> None:
        if self._first is None:
            super().fit_weights(train, validation, table, half)
        else:
            self.ranker, self.weights = self._first.ranker, self._first.weights
        self.weights_with_sequence = self.fitted(train, validation, table, sequence=self.sequence, half=half)
        self.with_sequence = Ranker.of(self.name, self.weights_with_sequence, NAMES_WITH_SEQUENCE)
        self.choice: dict[str, Any] = {name: round(w, 3) for name, w in self.weights_with_sequence.items()}

    def learn(self, data: Dataset) -> None:
        super().learn(data)
        self.sequence.learn(data)

    def scores(self, made: Features, events: int) -> NDArray[np.float32]:
        if made.shape[1] < len(NAMES_WITH_SEQUENCE):  # of a user with too few events
            return super().scores(made, events)
        return self.with_sequence.for_events(events).scores(made)


def gain_of_sequence(
    sequence: SequenceRecommender, train: Dataset, validation: Dataset, queries: Queries, table: Neighbours
) -> Interval:
    """NDCG@10 of the second set of weights minus that of the first, on `queries` of the validation events, each ranked
    with weights that were fitted to the events of the other half of the users. sequence, table: of `train`."""
    gain = np.zeros(len(queries))
    for half in (0, 1):
        both = HybridWithSequence(sequence)
        both.fit_weights(train, validation, table, 1 - half)
        both.dataset, both.table = train, table
        first = Hybrid()
        first.ranker, first.dataset, first.table = both.ranker, train, table
        mine = np.flatnonzero(queries.user % 2 == half)
        some = queries.take(mine)
        found = [metrics.ndcg(rank_targets(one, train, some, without_seen=False), 10) for one in (both, first)]
        gain[mine] = found[0] - found[1]
    return paired_interval(gain, np.zeros(len(gain)), queries.user)
