"""A taste per user without any order: ridge regression of how far actions went on what the items are."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from training.data.events import Dataset, Histories

_TEXT_DIMENSIONS = 24
_FACTORS = 12
_SHRINK = 5.0  # events' worth of the global mean in an item's mean
PENALTIES = (3.0, 30.0)

Matrix = NDArray[np.float64]


class Taste:
    """Items are described by the main directions of their text vectors and by factors of everybody's residuals; a user
    by the regression of their own residuals on those, solved from each history. Which event came first is not looked
    at, so this is the best that a model without order does with little data."""

    def learn(self, data: Dataset) -> None:
        events, items = data.events, len(data.catalogue)
        reached = events.action.astype(np.float64)
        self.mean = float(reached.mean())
        count = np.bincount(events.item, minlength=items)
        self.of_item = np.bincount(events.item, reached - self.mean, minlength=items) / (count + _SHRINK)
        residual = reached - self.mean - self.of_item[events.item]
        table = sparse.csr_matrix((residual, (events.user, events.item)), shape=(len(data.users), items))
        vectors = data.catalogue.vectors.astype(np.float64)
        described = (np.linalg.norm(vectors, axis=1) > 0).astype(np.float64)
        parts = [np.ones((items, 1))]
        if described.any():
            parts.append(_scaled(_main_directions((vectors - vectors.mean(axis=0)) * described[:, None])))
        k = min(_FACTORS, min(table.shape) - 1)
        if k > 0 and table.count_nonzero():  # nothing is left where everybody does the same with everything
            _, strength, factors = svds(table, k=k, v0=np.ones(min(table.shape)))
            damped = factors.T * strength / np.sqrt(count + _SHRINK)[:, None]
            parts.append(_scaled(damped))
        self.described = np.hstack(parts)  # [items, d]

    def expected(self, histories: Histories, items: NDArray[np.int32]) -> Matrix:
        """How far the user would go with the item, beyond the mean: [b, penalties]."""
        d = self.described.shape[1]
        gram, pull = np.zeros((len(histories), d, d)), np.zeros((len(histories), d))
        events = histories.events
        for row, (start, end) in enumerate(zip(histories.starts, histories.ends, strict=True)):
            of = events.item[max(start, end - 500) : end]
            x = self.described[of]
            gram[row] = x.T @ x
            pull[row] = (events.action[max(start, end - 500) : end] - self.mean - self.of_item[of]) @ x
        target = self.described[items]
        columns = []
        for penalty in PENALTIES:
            weights = np.linalg.solve(gram + penalty * np.eye(d), pull[..., None])[..., 0]
            columns.append(np.einsum("bd,bd->b", weights, target) + self.of_item[items])
        return np.column_stack(columns)


def _main_directions(vectors: Matrix) -> Matrix:
    _, basis = np.linalg.eigh(vectors.T @ vectors)
    projected: Matrix = vectors @ basis[:, ::-1][:, :_TEXT_DIMENSIONS]
    return projected


def _scaled(columns: Matrix) -> Matrix:
    """To unit variance of the strongest column; the others keep their share, which is their prior."""
    scaled: Matrix = columns / (columns.std(axis=0).max() + 1e-12)
    return scaled
