"""A ridge regression per user of how far actions went on item features. The order of events is not used."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from training.data.events import Dataset, Histories

_TEXT_DIMENSIONS = 24
_FACTORS = 12
_SHRINK = 5.0  # pseudo-counts of the global mean in an item's mean
PENALTIES = (3.0, 30.0)

Matrix = NDArray[np.float64]


class UserRidge:
    """Item features are the principal components of the text vectors and factors of all users' residuals. A user's
    weights are the regression of their own residuals on those, solved from each history.

    basis: float64 [t, vector + 1]: features 1 to t of an item with a text from its vector and 1.
    """

    def learn(self, data: Dataset) -> None:
        """Fit item means and item features on `data`."""
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
        self.basis = np.zeros((0, vectors.shape[1] + 1))
        if described.any():
            centre = vectors.mean(axis=0)
            centred = (vectors - centre) * described[:, None]
            components = _principal_components(centred)  # [vector, t]
            components /= (centred @ components).std(axis=0).max() + 1e-12
            self.basis = np.column_stack([components.T, -components.T @ centre])
            parts.append(centred @ components)
        k = min(_FACTORS, min(table.shape) - 1)
        if k > 0 and table.count_nonzero():  # no residuals where all actions are the same
            _, strength, factors = svds(table, k=k, v0=np.ones(min(table.shape)))
            damped = factors.T * strength / np.sqrt(count + _SHRINK)[:, None]
            parts.append(_scaled(damped))
        self.features = np.hstack(parts)  # [items, d]

    def expected(self, histories: Histories, items: NDArray[np.int32]) -> Matrix:
        """Predicted step of the action scale beyond the mean, one column per penalty: [b, penalties]."""
        d = self.features.shape[1]
        gram, pull = np.zeros((len(histories), d, d)), np.zeros((len(histories), d))
        events = histories.events
        for row, (start, end) in enumerate(zip(histories.starts, histories.ends, strict=True)):
            of = events.item[max(start, end - 500) : end]
            x = self.features[of]
            gram[row] = x.T @ x
            pull[row] = (events.action[max(start, end - 500) : end] - self.mean - self.of_item[of]) @ x
        target = self.features[items]
        columns = []
        for penalty in PENALTIES:
            weights = np.linalg.solve(gram + penalty * np.eye(d), pull[..., None])[..., 0]
            columns.append(np.einsum("bd,bd->b", weights, target) + self.of_item[items])
        return np.column_stack(columns)


def _principal_components(vectors: Matrix) -> Matrix:
    _, basis = np.linalg.eigh(vectors.T @ vectors)
    components: Matrix = basis[:, ::-1][:, :_TEXT_DIMENSIONS].copy()
    return components


def _scaled(columns: Matrix) -> Matrix:
    """Scaled to unit variance of the strongest column; the other columns keep their relative size."""
    scaled: Matrix = columns / (columns.std(axis=0).max() + 1e-12)
    return scaled
