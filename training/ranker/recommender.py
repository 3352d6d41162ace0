"""The hybrid ranker under the evaluation's protocol: the features and scores that are served."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.hybrid import Ranker, prior
from runtime.personalization.neighbours import Neighbours
from runtime.personalization.ranking_features import Features
from training.data.events import Dataset, Histories
from training.data.split import in_time_order, joined, log_of
from training.evaluation.protocol import Scores
from training.evaluation.queries import repeats_happen, sample_queries
from training.evaluation.sequence import SequenceRecommender
from training.ranker.few_events import cut, fit_few
from training.ranker.fit import fit, lists
from training.ranker.impressions import answers, impression_lists
from training.ranker.neighbours import learn_neighbours
from training.ranker.replay import Replay
from training.ranker.sequence_scores import SequenceCosines, has_enough

MOST_QUERIES = 3_000
MOST_PER_USER = 10


class Hybrid:
    """Weights are fitted to the validation events, which the neighbour table has not seen: to lists of the catalogue,
    or where an event answers a ranking that was shown, to that. The table that ranks is then learned from everything.
    """

    name = "hybrid"

    def __init__(self, *, impressions: bool = True) -> None:
        """impressions: learn from rankings that experiments showed as such."""
        self.impressions = impressions
        self.ranker = prior()
        self.table: Neighbours | None = None
        self.weights: dict[str, float] = {}
        self.choice: dict[str, float] = {}
        self.sequence: SequenceRecommender | None = None
        self.replay: Replay | None = None

    def fit(self, train: Dataset, validation: Dataset) -> None:
        self.fit_weights(train, validation, learn_neighbours(train))
        self.learn(joined(train, validation))

    def fit_weights(self, train: Dataset, validation: Dataset, table: Neighbours, half: int | None = None) -> None:
        """The weights alone. table: of `train`, which has not seen the validation events. half: those of users with
        even numbers (0) or odd ones (1) alone."""
        self.weights = self.fitted(train, validation, table, half=half)
        self.ranker = Ranker.of("hybrid", self.weights)
        self.choice = {name: round(weight, 3) for name, weight in self.weights.items()}

    def fitted(
        self,
        train: Dataset,
        validation: Dataset,
        table: Neighbours,
        *,
        sequence: SequenceRecommender | None = None,
        half: int | None = None,
    ) -> dict[str, float]:
        """Weights by name, of whole histories and of few events. sequence: fitted, has not seen the validation events;
        its cosine is then a feature, and users with too few events for it are left out. half: see `fit_weights`."""
        queries = sample_queries(
            log_of(train, validation), validation, per_user=MOST_PER_USER, at_most=MOST_QUERIES, engaged_only=True,
            source_order_breaks_ties=not in_time_order(train, validation),
        )  # fmt: skip
        answered = answers(validation.events, train.exposures if self.impressions else None)
        if half is not None:
            queries, answered = queries.take(queries.user % 2 == half), answered & (validation.events.user % 2 == half)
        queries = queries.take(~answered[queries.rows])
        few = cut(queries)
        if sequence is not None:
            queries = queries.take(has_enough(sequence, queries.histories))
            few = few.take(has_enough(sequence, few.queries.histories))
        found = lists(train, queries, table, sequence=sequence)
        if answered.any():
            log = queries.histories.log
            found += impression_lists(train, log, validation.events.take(answered), table, sequence=sequence)
        weights = fit(found)
        if not len(few.queries):
            return weights
        # Where users repeat nothing, they would not have engaged with what was cut away
        gone = None if repeats_happen(train) else few.gone
        of_few = lists(train, few.queries, table, sequence=sequence, left_out=gone)
        left = few.queries.histories
        return weights | fit_few(of_few, left.ends - left.starts, left.users, weights)

    def learn(self, data: Dataset) -> None:
        """The neighbour table of `data`, with the weights as they are."""
        self.dataset = data
        self.table = learn_neighbours(data)
        self.replay = None

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        (scores,) = scores_of([self], histories, now_us, device)
        return scores

    def scores(self, made: Features, events: int) -> NDArray[np.float32]:
        """Of the features of the candidates of a user with so many events, [n]. made: with the score of a sequence
        model or without."""
        return self.ranker.for_events(events).scores(np.ascontiguousarray(made[:, : len(self.ranker.weights)]))


class Prior(Hybrid):
    """What is served before anything was trained."""

    name = "hybrid (prior)"

    def fit(self, train: Dataset, validation: Dataset) -> None:
        self.dataset = train


class Simple(Prior):
    """The simple model as it is served: its cosine alone, with fixed weights of the actions and a fixed half-life."""

    name = "simple, as served"

    def __init__(self) -> None:
        super().__init__()
        self.ranker = Ranker.of(self.name, {"simple": 1.0})


def scores_of(
    models: Sequence[Hybrid], histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]
) -> list[Scores]:
    """What `item_scores` of each model returns. All have learned from the same data, or from none: their features are
    computed once."""
    first, vectors = models[0], models[0].dataset.catalogue.vectors
    if first.replay is None or first.replay.log is not histories.log:
        first.replay = Replay(first.dataset, histories.log)
    table = next((model.table for model in models if model.table is not None), None)
    sequence = next((model.sequence for model in models if model.sequence is not None), None)
    cosines = None if sequence is None else SequenceCosines(sequence, histories, now_us, device)
    enough = np.zeros(len(histories), np.bool_) if sequence is None else has_enough(sequence, histories)
    rows = np.arange(len(vectors))
    found = [np.empty((len(histories), len(vectors)), np.float32) for _ in models]
    for query in first.replay.queries(histories, now_us):
        at = query.position
        by_sequence = None if cosines is None or not enough[at] else cosines.of(at)
        made = query.features(rows, vectors, table, sequence=by_sequence)
        for scores, model in zip(found, models, strict=True):
            scores[at] = model.scores(made, len(query.history.rows))
    return found


def trained(argument: str, seed: int) -> Hybrid:
    """For `evaluate --recommender training.ranker.recommender:trained=`: fitted to the split's own log."""
    return Hybrid()


def untrained(argument: str, seed: int) -> Prior:
    """For `evaluate --recommender training.ranker.recommender:untrained=`."""
    return Prior()
