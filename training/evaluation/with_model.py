"""The sequence model beside baselines in one blend: whether it knows what they do not is what its weight says."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.events import Dataset, Histories
from training.evaluation.baselines import EVERYTHING, RECENCY, Blend, ranking_baselines
from training.evaluation.protocol import Contender, Scores

MODEL = "sequence"  # name of the model alone, where it has the recipe of the set


class WithModel:
    """A baseline's blend with the model as one more part: same parts, same search on the same moments.

    without: the blend it extends. It takes the parts that were tuned before, and tunes what is not there.
    """

    def __init__(self, name: str, model: str, without: str) -> None:
        self.name = name
        self.without: str | None = without
        self.choice: dict[str, Any] = {}
        self.tried = 0
        self._model = model

    def build_on(self, fitted: Mapping[str, Contender]) -> None:
        """Raises ValueError where the model is not among `fitted`."""
        if self._model not in fitted:
            raise ValueError(f"it is made of {self._model!r}, which was not fitted before it: {sorted(fitted)}")
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
        self.choice, self.tried = self._blend.choice, self._blend.tried

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        return self._blend.item_scores(histories, now_us, device)


def with_model(model: str) -> list[WithModel]:
    """Both blends that are reported, with the contender of this name in them."""
    return [
        WithModel("sequence + recency", model, RECENCY),
        WithModel("blend of everything + sequence", model, EVERYTHING),
    ]
