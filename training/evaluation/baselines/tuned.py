"""A baseline with a grid: coordinate search on validation NDCG@10, then fitted on train and validation together."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from training.data.events import Dataset, Histories
from training.evaluation import metrics
from training.evaluation.protocol import Moments, Scores, in_time_order, log_of, moments
from training.evaluation.ranking import rank_targets, repeats_happen

_VALIDATION_MOMENTS = 1_500
_PER_USER = 5


class Tuned:
    """`learned` and `scored` are the grids: name → values, the first one the start. Values of `learned` need `learn`
    to run again, those of `scored` do not. `choice` holds what was chosen; `tried` how many settings were compared."""

    name = "a baseline"
    learned: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    scored: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def __init__(self) -> None:
        self.choice: dict[str, Any] = {key: values[0] for key, values in {**self.learned, **self.scored}.items()}
        self.tried = 0

    def learn(self, data: Dataset) -> None:
        """Fit parameters on `data` at the current choice."""
        raise NotImplementedError

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        raise NotImplementedError

    def fit(self, train: Dataset, validation: Dataset) -> None:
        self.learn(train)
        grids = {key: values for key, values in {**self.learned, **self.scored}.items() if len(values) > 1}
        if grids:
            asked = validation_moments(train, validation)
            best = self._validated(train, asked)
            for key, values in grids.items():
                best = self._improve(key, values, best, train, asked)
            # Once more over what costs no new fit: the first choices were made beside untuned neighbours
            for key in [name for name in grids if name in self.scored]:
                best = self._improve(key, grids[key], best, train, asked)
        self.learn(joined(train, validation))

    def _improve(self, key: str, values: tuple[Any, ...], best: float, train: Dataset, asked: Moments) -> float:
        kept = self.choice[key]
        for value in values:
            if value == kept:
                continue
            self._set(key, value, train)
            if (figure := self._validated(train, asked)) > best:
                best, kept = figure, value
        if self.choice[key] != kept:
            self._set(key, kept, train)
        return best

    def _set(self, key: str, value: Any, train: Dataset) -> None:
        self.choice[key] = value
        if key in self.learned:
            self.learn(train)

    def _validated(self, train: Dataset, asked: Moments) -> float:
        self.tried += 1
        return validation_ndcg(self, train, asked)


def validation_moments(train: Dataset, validation: Dataset) -> Moments:
    return moments(
        log_of(train, validation), validation, per_user=_PER_USER, at_most=_VALIDATION_MOMENTS, engaged_only=True,
        ties_foretell=not in_time_order(train, validation),
    )  # fmt: skip


def validation_ndcg(contender: Any, train: Dataset, asked: Moments) -> float:
    places = rank_targets(contender, train, asked, without_seen=not repeats_happen(train))
    return float(metrics.ndcg(places, 10).mean())


def joined(train: Dataset, validation: Dataset) -> Dataset:
    return train.with_events(log_of(train, validation))
