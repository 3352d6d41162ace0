"""Several contenders as one: each row of scores standardised, weights tuned: what an engineer would ship first."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.data.events import Dataset, Histories
from training.evaluation import metrics
from training.evaluation.baselines.tuned import joined, validation_moments
from training.evaluation.protocol import Moments, Scores, seen_items, unavailable
from training.evaluation.ranking import repeats_happen

_WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)


class Part(Protocol):
    """What can be blended: `learn` fits parameters on some data, at choices that were made before."""

    name: str

    def learn(self, data: Dataset) -> None: ...

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores: ...


class Blend:
    """Σ weight · standardised score over `parts`, which must have been fitted: their choices are kept, their parameters
    are learnt once without validation to choose the weights and once with it."""

    def __init__(self, name: str, parts: Sequence[Part]) -> None:
        self.name = name
        self.parts = list(parts)
        self.choice = {part.name: 1.0 for part in parts}
        self.tried = 0

    def fit(self, train: Dataset, validation: Dataset) -> None:
        for part in self.parts:
            part.learn(train)
        self._choose(train, validation_moments(train, validation))
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

    def _choose(self, train: Dataset, asked: Moments) -> None:
        asked = asked.take(slice(0, 1_000))
        excluded = unavailable(train, asked.now_us)
        if not repeats_happen(train):
            excluded |= seen_items(asked.histories, len(train.catalogue))
        of_part = [_standardised(part.item_scores(asked.histories, asked.now_us, asked.device)) for part in self.parts]

        def figure() -> float:
            self.tried += 1
            weights = [np.float32(self.choice[part.name]) for part in self.parts]
            total = sum(weight * scores for weight, scores in zip(weights, of_part, strict=True))
            return float(metrics.ndcg(metrics.ranks(np.asarray(total), asked.item, excluded), 10).mean())

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
