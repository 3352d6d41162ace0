"""The hybrid ranker with the sequence model's score as one more feature, under the evaluation's protocol."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.hybrid import Ranker
from runtime.personalization.neighbours import Neighbours
from runtime.personalization.ranking_features import NAMES_WITH_SEQUENCE
from training.data.events import Dataset, Histories
from training.data.split import joined
from training.evaluation import metrics
from training.evaluation.bootstrap import Interval, paired_interval
from training.evaluation.protocol import Scores
from training.evaluation.queries import Queries
from training.evaluation.ranking import rank_targets
from training.evaluation.sequence import SequenceRecommender
from training.ranker.neighbours import learn_neighbours
from training.ranker.recommender import Hybrid
from training.ranker.replay import Replay
from training.ranker.sequence_scores import SequenceCosines, has_enough


class HybridWithSequence(Hybrid):
    """With a second set of weights, of which the sequence model's cosine is one. It is fitted to the validation events
    by a sequence model that has not seen them. A user with fewer events than that model answers for is ranked by the
    first set."""

    name = "hybrid + sequence"

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

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        if self._replay is None or self._replay.log is not histories.log:
            self._replay = Replay(self.dataset, histories.log)
        vectors = self.dataset.catalogue.vectors
        rows = np.arange(len(vectors))
        cosines, enough = (
            SequenceCosines(self.sequence, histories, now_us, device),
            has_enough(self.sequence, histories),
        )
        scores = np.empty((len(histories), len(vectors)), np.float32)
        for query in self._replay.queries(histories, now_us):
            at = query.position
            ranker, by_sequence = (self.with_sequence, cosines.of(at)) if enough[at] else (self.ranker, None)
            ranker = ranker.for_events(len(query.history.rows))
            scores[at] = ranker.scores(query.features(rows, vectors, self.table, sequence=by_sequence))
        return scores


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
