"""Histories as sparse matrices, shared by the baselines."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from training.data.events import SKIP, Dataset, Histories
from training.evaluation.queries import flat

LAST_EVENTS = 1_000  # of a history that a baseline reads

FOREVER = float("inf")
HALF_LIVES_EVENTS = (8.0, 0.5, 1.0, 2.0, 4.0, 16.0, 32.0, FOREVER)


def engaged_weights(histories: Histories, items: int, half_life_events: float) -> sparse.csr_matrix:
    """[b, items]: Σ of 0.5^(age / half-life) over a history's engaged events with an item. Age counts engaged events
    from the latest, which has 0."""
    owner, rows, _ = flat(histories, LAST_EVENTS)
    kept = histories.events.action[rows] != SKIP
    owner, rows = owner[kept], rows[kept]
    age = _age(owner)
    weights = np.exp2(-age / half_life_events)
    item = histories.events.item[rows]
    return sparse.csr_matrix((weights, (owner, item)), shape=(len(histories), items), dtype=np.float32)


def last_engaged(histories: Histories) -> NDArray[np.int64]:
    """Item of the latest engaged event, int64 [b]; -1 without one."""
    owner, rows, _ = flat(histories, LAST_EVENTS)
    kept = histories.events.action[rows] != SKIP
    last = np.full(len(histories), -1, np.int64)
    last[owner[kept]] = histories.events.item[rows[kept]]  # assigned in order: the latest stays
    return last


def user_item_matrix(data: Dataset) -> sparse.csr_matrix:
    """[users, items]: 1 where a user engaged with an item."""
    engaged = data.events.action != SKIP
    matrix = sparse.csr_matrix(
        (np.ones(int(engaged.sum()), np.float32), (data.events.user[engaged], data.events.item[engaged])),
        shape=(len(data.users), len(data.catalogue)),
    )
    matrix.data[:] = 1  # duplicates were summed
    return matrix


def popularity(data: Dataset) -> NDArray[np.float32]:
    """Share of all engaged events that each item has, [items]."""
    engaged = data.events.action != SKIP
    counts = np.bincount(data.events.item[engaged], minlength=len(data.catalogue))
    return (counts / max(counts.sum(), 1)).astype(np.float32)


def _age(owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """For sorted owners: how many entries of the same owner follow each."""
    if not len(owner):
        return owner
    last = np.r_[np.flatnonzero(owner[1:] != owner[:-1]), len(owner) - 1]
    return np.repeat(last, np.diff(np.r_[-1, last])) - np.arange(len(owner))
