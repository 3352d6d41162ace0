"""What trained models are compared with on worlds: tuned baselines, the hybrid ranker, and the committed reference."""

from collections.abc import Callable
from typing import Any

from runtime.models.installed import PACKAGED, SEQUENCE
from training.data.events import Dataset
from training.evaluation.baselines import (
    EASE,
    EVERYTHING,
    Blend,
    FreshPopularity,
    ItemKNN,
    Logistic,
    Markov,
    OwnHistory,
    WeightedAverage,
)
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.protocol import Recommender
from training.evaluation.sequence_bundle import GivenBundle
from training.ranker.recommender import Hybrid, Prior

INSTALLED = "committed reference, not trained further"


class BlendOfEverything(Blend):
    """The blend with its parts, which are tuned first."""

    def __init__(self) -> None:
        self._tuned: list[Tuned] = [ItemKNN(), EASE(), Markov(), FreshPopularity(), OwnHistory(), WeightedAverage()]
        super().__init__(EVERYTHING, self._tuned)

    def fit(self, train: Dataset, validation: Dataset) -> None:
        for part in self._tuned:
            part.fit(train, validation)
        super().fit(train, validation)


RANKERS: dict[str, Callable[[], Recommender]] = {
    Hybrid.name: Hybrid,
    Prior.name: Prior,
    EASE.name: EASE,
    FreshPopularity.name: FreshPopularity,
    WeightedAverage.name: WeightedAverage,
    EVERYTHING: BlendOfEverything,
    INSTALLED: lambda: GivenBundle(PACKAGED / SEQUENCE),  # computed as the server does
}
BASELINES: dict[str, Callable[[], Any]] = {**RANKERS, Logistic.name: Logistic}  # the latter predicts actions alone
