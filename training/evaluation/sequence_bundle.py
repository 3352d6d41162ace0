"""An exported sequence model under the evaluation's protocol, run as the server runs it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.models.bundle import Bundle
from runtime.models.sequence_model import History, SequenceModel, UserNow
from training.data.events import Dataset, Histories
from training.evaluation.protocol import Scores
from training.evaluation.sequence import SequenceRecommender
from training.recipes import Recipe


class GivenBundle(SequenceRecommender):
    """Nothing is trained: `fit` and `learn` only look up the items. `trained_until_us`: of the newest event that its
    weights were fitted to; None where the bundle does not say."""

    def __init__(self, folder: Path) -> None:
        """Raises BundleError."""
        self.model = SequenceModel(Bundle.load(folder.resolve(), kind="sequence"))
        about: dict[str, Any] = self.model.bundle.manifest.recipe
        super().__init__(Recipe.of(about["training"]), name=self.model.model_version)
        self.trained_until_us: int | None = about.get("trained_until_us")

    @property
    def run(self) -> str:
        return self.model.lineage[-1] if self.model.lineage else ""

    @property
    def min_events(self) -> int:
        return self.model.min_events

    @property
    def item_vectors(self) -> Scores:
        return self._item_vectors

    def fit(self, train: Dataset, validation: Dataset) -> None:
        self.learn(train)

    def learn(self, data: Dataset) -> None:
        self._preference_embedding = data.preference_embedding
        self._learned = self.model.learned(data.catalogue.ids, data.catalogue.vectors)
        self._item_vectors = self.model.items(self._learned)

    def action_probabilities(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8], items: NDArray[np.int32]
    ) -> Scores:
        found = [
            self.model.actions(
                self._user(histories, n, int(now_us[n]), int(device[n])), self._learned[items[n : n + 1]]
            )
            for n in range(len(histories))
        ]
        return np.concatenate(found) if found else np.zeros((0, 4), np.float32)

    def _user_vectors(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        vectors = np.empty((len(histories), self.model.dimensions), np.float32)
        for n in range(len(histories)):
            vectors[n] = self._user(histories, n, int(now_us[n]), int(device[n])).vector
        return vectors

    def _user(self, histories: Histories, n: int, now_us: int, device: int) -> UserNow:
        start, end = int(histories.starts[n]), int(histories.ends[n])
        own = histories.events.take(slice(max(start, end - self.model.max_events), end))
        preferred = None if self._preference_embedding is None else self._preference_embedding[histories.users[n]]
        history = History(
            content=self._learned[own.item], item=self._item_vectors[own.item], action=own.action, device=own.device,
            time_us=own.time_us, duration_ms=own.duration_ms, days_to_event=own.days_to_event,
        )  # fmt: skip
        return self.model.user(history, now_us, device, preferred)
