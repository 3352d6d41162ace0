"""Item-to-item models applied to a recency-weighted history: strong baselines of sequential recommendation."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from training.data.events import SKIP, Dataset, Histories
from training.evaluation.baselines.history import (
    HALF_LIVES_EVENTS,
    engaged_weights,
    last_engaged,
    popularity,
    user_item_matrix,
)
from training.evaluation.baselines.tuned import Tuned
from training.evaluation.protocol import Scores

MOST_ITEMS = 5_000  # limit of the dense items × items matrix; the rarest items are left out
_TIE_BREAK = 1e-3  # of popularity, where the model has no score


class _ItemToItem(Tuned):
    """scores = weighted history · similarity + repeat · weighted history. `similarity` is float32 [kept, kept]."""

    scored: ClassVar = {"half_life_events": HALF_LIVES_EVENTS, "repeat": (0.0, -0.5, 0.1, 0.3, 1.0, 3.0)}

    def learn(self, data: Dataset) -> None:
        self.share = popularity(data)
        self.kept = np.sort(np.argsort(-self.share, kind="stable")[:MOST_ITEMS])
        self.similarity = self._similarity(data)
        self.scale = float(self.similarity.max(initial=0.0)) or 1.0

    def _similarity(self, data: Dataset) -> NDArray[np.float32]:
        raise NotImplementedError

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        items = len(self.share)
        history = engaged_weights(histories, items, self.choice["half_life_events"])
        scores = np.tile(_TIE_BREAK * self.scale * self.share, (len(histories), 1))
        scores[:, self.kept] += history[:, self.kept] @ self.similarity
        if self.choice["repeat"]:
            scores += (self.choice["repeat"] * self.scale) * history.toarray()
        return scores


class ItemKNN(_ItemToItem):
    """Cosine of items over users, shrunk by support, best k neighbours (Sarwar et al. 2001), recency decay."""

    name = "item-kNN, recency"
    learned: ClassVar = {"shrink": (10.0, 0.0, 50.0), "neighbours": (100, 30, 300, 1000)}

    def _similarity(self, data: Dataset) -> NDArray[np.float32]:
        x = user_item_matrix(data)[:, self.kept]
        together = (x.T @ x).toarray()
        count = together.diagonal().copy()
        similarity = together / (np.sqrt(np.outer(count, count)) + self.choice["shrink"] + 1e-9)
        np.fill_diagonal(similarity, 0.0)
        k = self.choice["neighbours"]
        if k < len(similarity):
            least = np.partition(similarity, -k, axis=0)[-k]  # of each item's k best neighbours
            similarity[similarity < least] = 0.0
        return similarity.astype(np.float32)


class EASE(_ItemToItem):
    """The closed-form linear autoencoder without self-loops (Steck, WWW 2019), recency decay on the history."""

    name = "EASE, recency"
    learned: ClassVar = {"l2": (200.0, 20.0, 60.0, 600.0, 2000.0)}

    def _similarity(self, data: Dataset) -> NDArray[np.float32]:
        x = user_item_matrix(data)[:, self.kept]
        gram = (x.T @ x).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += self.choice["l2"]
        precision = _inverse(gram)
        weights = precision / -precision.diagonal()
        np.fill_diagonal(weights, 0.0)
        return weights.astype(np.float32)


def _inverse(positive: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of a symmetric positive definite matrix by Cholesky: half the work of a general inverse."""
    lower, _ = lapack.dpotrf(positive, lower=True, clean=True)
    half, _ = lapack.dpotri(lower, lower=True)
    return half + np.tril(half, -1).T


class Markov(Tuned):
    """First-order Markov chain: counts of items that followed the latest engaged item, smoothed by popularity."""

    name = "Markov, first order"
    learned: ClassVar = {"backward": (0.0, 0.3, 1.0)}
    scored: ClassVar = {"smoothing": (1.0, 0.1, 10.0)}

    def learn(self, data: Dataset) -> None:
        self.share = popularity(data)
        engaged = data.events.action != SKIP
        user, item = data.events.user[engaged], data.events.item[engaged].astype(np.int64)
        follows = user[1:] == user[:-1]
        pairs = item[:-1][follows] * len(self.share) + item[1:][follows]
        pair, count = np.unique(pairs, return_counts=True)
        before, after = np.divmod(pair, len(self.share))
        if backward := self.choice["backward"]:  # order within a session is often an accident
            before, after = np.r_[before, after], np.r_[after, before]
            count = np.r_[count, backward * count]
        order = np.argsort(before, kind="stable")
        self.after, self.count = after[order], count[order].astype(np.float32)
        self.starts = np.searchsorted(before[order], np.arange(len(self.share) + 1))

    def item_scores(self, histories: Histories, now_us: NDArray[np.int64], device: NDArray[np.int8]) -> Scores:
        scores = np.tile(self.choice["smoothing"] * self.share, (len(histories), 1))
        for row, last in enumerate(last_engaged(histories)):
            if last >= 0:
                span = slice(self.starts[last], self.starts[last + 1])
                np.add.at(scores[row], self.after[span], self.count[span])
        return scores
