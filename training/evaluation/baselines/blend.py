"""A weighted sum of standardised scores, its weights tuned: what an engineer would ship first."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.data.events import Dataset, Histories
from training.data.split import joined
from training.evaluation import metrics
from training.evaluation.baselines.tuned import validation_queries
from training.evaluation.protocol import Scores
from training.evaluation.queries import Queries, repeats_happen, seen_items, unavailable

_WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)


class Part(Protocol):
    """A recommender that can be blended: `learn` refits its parameters at the hyperparameters it has selected."""

    name: str

    def learn(self, data: Dataset) -> None:
        """Fit to events whose hyperparameters are selected."""

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        """As of Recommender."""


class Blend:
    """Σ weight · standardised score over `parts`, which must have been fitted: their hyperparameters are kept, their
    parameters are refitted without the validation part to select the weights, then with it."""

    def __init__(self, name: str, parts: Sequence[Part]) -> None:
        self.name = name
        self.parts = list(parts)
        self.choice = {part.name: 1.0 for part in parts}
        self.settings_tried = 0

    def fit(self, train: Dataset, validation: Dataset) -> None:
        for part in self.parts:
            part.learn(train)
        self._select_weights(train, validation_queries(train, validation))
        both = joined(train, validation)
        for part in self.parts:
            part.learn(both)

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        total: Scores | None = None
        for part in self.parts:
            if weight := self.choice[part.name]:
                scores = np.float32(weight) * _standardised(part.item_scores(histories, now_us, device))
                total = scores if total is None else total + scores
        if total is None:
            return self.parts[0].item_scores(histories, now_us, device)
        return total

    def _select_weights(self, train: Dataset, queries: Queries) -> None:
        queries = queries.take(slice(0, 1_000))
        excluded = unavailable(train, queries.now_us)
        if not repeats_happen(train):
            excluded |= seen_items(queries.histories, len(train.catalogue))
        of_part = [
            _standardised(part.item_scores(queries.histories, queries.now_us, queries.device)) for part in self.parts
        ]

        def figure() -> float:
            self.settings_tried += 1
            weights = [np.float32(self.choice[part.name]) for part in self.parts]
            total = sum(weight * scores for weight, scores in zip(weights, of_part, strict=True))
            return float(metrics.ndcg(metrics.ranks(np.asarray(total), queries.item, excluded), 10).mean())

        best = figure()
        for _ in range(2):
            before = dict(self.choice)
            for part in self.parts:
                kept = self.choice[part.name]
                for weight in _WEIGHTS:
                    self.choice[part.name] = weight
                    if any(self.choice.values()) and (value := figure()) > best:
                        best, kept = value, weight
                self.choice[part.name] = kept
            if self.choice == before:
                break


def _standardised(scores: Scores) -> Scores:
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread: Scores = centred / (centred.std(axis=1, keepdims=True) + 1e-9)
    return spread
