"""Hyperparameter selection: coordinate search on validation NDCG@10, then a refit on train and validation together."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from training.data.events import Dataset, Histories
from training.data.split import in_time_order, joined, log_of
from training.evaluation import metrics
from training.evaluation.protocol import Recommender, Scores
from training.evaluation.queries import Queries, repeats_happen, sample_queries
from training.evaluation.ranking import rank_targets

_VALIDATION_QUERIES = 1_500
_PER_USER = 5


class Tuned:
    """A baseline with a grid.

    learned, scored  the grids: name → values, the first is the start. A value of `learned` needs a new `learn`, one of
                     `scored` does not
    choice           the selected values
    settings_tried   how many settings were compared
    """

    name = "a baseline"
    learned: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    scored: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def __init__(self) -> None:
        self.choice: dict[str, Any] = {key: values[0] for key, values in {**self.learned, **self.scored}.items()}
        self.settings_tried = 0

    def learn(self, data: Dataset) -> None:
        """Fit parameters on `data` at the current `choice`."""
        raise NotImplementedError

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        raise NotImplementedError

    def fit(self, train: Dataset, validation: Dataset) -> None:
        self.learn(train)
        grids = {key: values for key, values in {**self.learned, **self.scored}.items() if len(values) > 1}
        if grids:
            queries = validation_queries(train, validation)
            best = self._validated(train, queries)
            for key, values in grids.items():
                best = self._improve(key, values, best, train, queries)
            # A second pass over what needs no new fit: the first was made beside untuned values
            for key in [name for name in grids if name in self.scored]:
                best = self._improve(key, grids[key], best, train, queries)
        self.learn(joined(train, validation))

    def _improve(self, key: str, values: tuple[Any, ...], best: float, train: Dataset, queries: Queries) -> float:
        kept = self.choice[key]
        for value in values:
            if value == kept:
                continue
            self._set(key, value, train)
            if (figure := self._validated(train, queries)) > best:
                best, kept = figure, value
        if self.choice[key] != kept:
            self._set(key, kept, train)
        return best

    def _set(self, key: str, value: Any, train: Dataset) -> None:
        self.choice[key] = value
        if key in self.learned:
            self.learn(train)

    def _validated(self, train: Dataset, queries: Queries) -> float:
        self.settings_tried += 1
        return validation_ndcg(self, train, queries)


def validation_queries(train: Dataset, validation: Dataset) -> Queries:
    """The validation queries that every recommender is tuned on."""
    return sample_queries(
        log_of(train, validation), validation, per_user=_PER_USER, at_most=_VALIDATION_QUERIES, engaged_only=True,
        source_order_breaks_ties=not in_time_order(train, validation),
    )  # fmt: skip


def validation_ndcg(recommender: Recommender, train: Dataset, queries: Queries) -> float:
    """NDCG@10 on `validation_queries`."""
    places = rank_targets(recommender, train, queries, without_seen=not repeats_happen(train))
    return float(metrics.ndcg(places, 10).mean())
