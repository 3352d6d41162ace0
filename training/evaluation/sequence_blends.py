"""Blends of baselines with the sequence model as one more part: its weight tells what it adds to them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.events import Dataset, Histories
from training.evaluation.baselines import EVERYTHING, RECENCY, Blend, ranking_baselines
from training.evaluation.protocol import Recommender, Scores

MODEL = "sequence"  # name of the model alone, with the recipe of the data set


class SequenceBlend:
    """A baseline blend with the sequence model as one more part: same parts, same weight search, same queries.

    without: the blend it extends. Parts fitted before are reused as they are, others are fitted here.
    """

    def __init__(self, name: str, model: str, without: str) -> None:
        self.name = name
        self.without: str | None = without
        self.choice: dict[str, Any] = {}
        self.settings_tried = 0
        self._model = model

    def build_on(self, fitted: Mapping[str, Recommender]) -> None:
        """Raises ValueError where the sequence model is not among `fitted`."""
        if self._model not in fitted:
            raise ValueError(f"{self.name} needs {self._model!r} fitted before it; fitted are {sorted(fitted)}")
        self._fitted = fitted

    def fit(self, train: Dataset, validation: Dataset) -> None:
        own = {one.name: one for one in ranking_baselines()}
        blend = own[self.without or ""]
        assert isinstance(blend, Blend)
        parts: list[Any] = [self._fitted[self._model]]  # it and the baselines have `learn`
        for part in blend.parts:
            if part.name not in self._fitted:
                own[part.name].fit(train, validation)
            parts.append(self._fitted.get(part.name, own[part.name]))
        self._blend = Blend(self.name, parts)
        self._blend.fit(train, validation)
        self.choice, self.settings_tried = self._blend.choice, self._blend.settings_tried

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        return self._blend.item_scores(histories, now_us, device)


def sequence_blends(model: str) -> list[SequenceBlend]:
    """The two blends that are reported, with the recommender of this name in them."""
    return [
        SequenceBlend("sequence + recency", model, RECENCY),
        SequenceBlend("blend of everything + sequence", model, EVERYTHING),
    ]
