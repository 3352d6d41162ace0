"""The simple model: cosine to the decayed weighted average of content vectors, with weights and half-life tuned."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.data.events import SAVE, SHARE, SKIP, VIEW, Dataset, Histories
from training.evaluation.baselines.history import LAST_EVENTS, popularity
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.protocol import Scores
from training.evaluation.queries import flat

_DAY_US = 86_400_000_000


class WeightedAverage(Tuned):
    """Σ wᵢ·eᵢ with wᵢ = strength(actionᵢ)·exp(−λ·age), as runtime.personalization has it; here its hyperparameters are
    tuned, so this is an upper limit of what is served with fixed ones.

    Falls back as the runtime does: onboarding preferences, then the average of popular items. `popular` adds popularity
    to the cosine, which the runtime does not have.
    """

    name = "weighted average (simple model)"
    scored: ClassVar = {
        "strengths": ((1, 3, 5), (1, 1, 1), (1, 2, 2), (1, 5, 10)),
        "half_life_days": (69.3, 0.01, 0.1, 1.0, 7.0, 30.0, float("inf")),
        "skip": (0.0, -0.1, -0.3, -1.0),
        "popular": (0.0, 0.03, 0.1, 0.3, 1.0),
    }

    def learn(self, data: Dataset) -> None:
        self.vectors = data.catalogue.vectors
        self.preference_embedding = data.preference_embedding
        share = popularity(data)
        best = np.argsort(-share, kind="stable")[:20]  # as runtime.personalization.cold_start
        self.average = self.vectors[best].mean(axis=0)
        self.log_share = np.log(share + 1e-6)
        self.log_share = ((self.log_share - self.log_share.mean()) / (self.log_share.std() + 1e-9)).astype(np.float32)

    def user_vectors(
        self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]
    ) -> NDArray[np.float32]:
        """float32 [b, 384], unit rows."""
        owner, rows, _ = flat(histories, LAST_EVENTS)
        strength = np.zeros(4)
        strength[[VIEW, SAVE, SHARE]] = self.choice["strengths"]
        strength[SKIP] = self.choice["skip"]
        age_days = (now_us[owner] - histories.events.time_us[rows]) / _DAY_US
        weights = strength[histories.events.action[rows]] * np.exp2(-age_days / self.choice["half_life_days"])
        sums = np.zeros((len(histories), self.vectors.shape[1]))
        matrix = _sparse(weights, owner, histories.events.item[rows], len(histories), len(self.vectors))
        sums += matrix @ self.vectors
        empty = np.linalg.norm(sums, axis=1) < 1e-9
        if self.preference_embedding is not None:
            sums[empty] = self.preference_embedding[histories.users[empty]]
            empty = np.linalg.norm(sums, axis=1) < 1e-9
        sums[empty] = self.average
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        return (sums / np.maximum(length, 1e-12)).astype(np.float32)

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        scores = self.user_vectors(histories, now_us, device) @ self.vectors.T
        scores += np.float32(self.choice["popular"]) * self.log_share
        return np.asarray(scores, np.float32)


def _sparse(
    weights: NDArray[np.float64], owner: NDArray[np.int64], item: NDArray[np.int32], rows: int, items: int
) -> sparse.csr_matrix:
    return sparse.csr_matrix((weights, (owner, item)), shape=(rows, items))
