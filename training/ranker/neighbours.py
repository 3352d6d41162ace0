"""The neighbour table of the hybrid ranker: what is engaged with together, predicts, and follows what.

together   cosine of two items' sets of users, shrunk: |both| / (√(|i|·|j|) + 10)
linear     EASE's weight of the one on the other (Steck 2019, arXiv 1905.03375), for the 5,000 items with most users
follows    share of the events up to three places after the one that were the other, the further the less
beside     share of the events right before or after the one that were the other, or the same again
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from runtime.personalization.neighbours import BESIDE, FOLLOWS, LINEAR, TOGETHER, Neighbours
from training.data.events import SKIP, Dataset

_SHRINK = 10.0
_RIDGE = 300.0
_MOST_LINEAR = 5_000
_LAGS = ((1, 1.0), (2, 0.5), (3, 0.25))
_FEW_EVENTS = 3.0
_FEW_BESIDE = 30.0  # its logarithm is the feature: small shares count
_CELLS = 5_000_000  # pairs of items looked at together
_MOST_PER_USER = 1_000  # distinct items of a user, the newest: pairs grow with the square

# An entry is 12 bytes, so a table takes at most 4 MB however large the catalogue is.
MOST_ENTRIES = 333_000
MOST_NEIGHBOURS = 100  # of one item, by each measure
_ENTRIES_AN_ITEM = 2.5  # for a neighbour by each measure: the measures have many in common

_Pairs = tuple[NDArray[np.int64], NDArray[np.float64]]  # keys item · items + neighbour, ascending, and values


def learn_neighbours(data: Dataset) -> Neighbours:
    """The table of a log; rows are those of the catalogue."""
    items = len(data.catalogue)
    k = max(1, min(MOST_NEIGHBOURS, int(MOST_ENTRIES / (_ENTRIES_AN_ITEM * max(items, 1)))))
    engaged = data.events.action != SKIP
    user, item = data.events.user[engaged].astype(np.int64), data.events.item[engaged].astype(np.int64)
    users = _users_by_items(user, item, len(data.users), items)
    found = {
        TOGETHER: _together(users, k),
        LINEAR: _largest(_linear(users), k),
        FOLLOWS: _largest(_following(user, item, items), k),
        BESIDE: _largest(_beside(user, item, items), k),
    }
    keys = _keys(found)
    while len(keys) > MOST_ENTRIES and k > 1:
        k -= 1
        found = {column: _largest(_matrix(*pairs, items), k) for column, pairs in found.items()}
        keys = _keys(found)
    keys = _of_most_popular(keys, np.bincount(item, minlength=items))
    values = np.zeros((len(keys), len(found)), np.float16)
    for column, (pairs, numbers) in found.items():
        kept = np.isin(pairs, keys)
        values[np.searchsorted(keys, pairs[kept]), column] = numbers[kept]
    starts = np.searchsorted(keys, np.arange(items + 1) * items).astype(np.int64)
    return Neighbours(starts, (keys % max(items, 1)).astype(np.int32), values)


def _keys(found: Mapping[int, _Pairs]) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = np.unique(np.concatenate([pairs for pairs, _ in found.values()]))
    return keys


def _matrix(keys: NDArray[np.int64], values: NDArray[np.float64], items: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((values, (keys // items, keys % items)), shape=(items, items))


def _of_most_popular(keys: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """As many as fit of the items with most events, where one neighbour of each by each measure is too many."""
    if len(keys) <= MOST_ENTRIES:
        return keys
    of = keys // len(count)
    entries = np.bincount(of, minlength=len(count))
    order = np.argsort(-count, kind="stable")
    kept = np.zeros(len(count), np.bool_)
    kept[order] = np.cumsum(entries[order]) <= MOST_ENTRIES
    return keys[kept[of]]


def _users_by_items(user: NDArray[np.int64], item: NDArray[np.int64], users: int, items: int) -> sparse.csr_matrix:
    """1 where a user engaged with an item, of each user's newest _MOST_PER_USER items."""
    pairs, last = np.unique((user * items + item)[::-1], return_index=True)
    newest_first = np.lexsort((last, pairs // items))
    of = (pairs // items)[newest_first]
    place = np.arange(len(of)) - np.searchsorted(of, of)
    pairs = pairs[newest_first][place < _MOST_PER_USER]
    return sparse.csr_matrix((np.ones(len(pairs), np.float32), (pairs // items, pairs % items)), shape=(users, items))


def _together(x: sparse.csr_matrix, k: int) -> _Pairs:
    """As `_largest`, some items at a time: all pairs of a large catalogue do not fit into memory."""
    items = x.shape[1]
    count = np.asarray(x.sum(axis=0)).ravel()
    by_item = x.T.tocsr()
    keys, values = [], []
    step = max(1, _CELLS // max(items, 1))
    for start in range(0, items, step):
        both = (by_item[start : start + step] @ x).tocoo()
        row, col = both.row + start, both.col
        apart = row != col
        row, col, number = row[apart], col[apart], both.data[apart]
        near = number / (np.sqrt(count[row] * count[col]) + _SHRINK)
        largest = _largest(sparse.csr_matrix((near, (row - start, col)), shape=(step, items)), k)
        keys.append(largest[0] + start * items)
        values.append(largest[1])
    return np.concatenate(keys or [np.zeros(0, np.int64)]), np.concatenate(values or [np.zeros(0)])


def _linear(x: sparse.csr_matrix) -> sparse.csr_matrix:
    items = x.shape[1]
    count = np.asarray(x.sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-count, kind="stable")[:_MOST_LINEAR])
    kept = kept[count[kept] > 0]
    if not len(kept):
        return sparse.csr_matrix((items, items))
    gram = (x[:, kept].T @ x[:, kept]).toarray().astype(np.float64)
    gram[np.diag_indices(len(kept))] += _RIDGE
    # By Cholesky, half the work of a general inverse; LAPACK fills the lower triangle
    lower, _ = lapack.dpotrf(gram, lower=True, clean=True)
    half, _ = lapack.dpotri(lower, lower=True)
    inverse = half + np.tril(half, -1).T
    weights = -inverse / np.diag(inverse)  # column j predicts item j
    np.fill_diagonal(weights, 0)
    # What is beyond twice the table is never among an item's neighbours: thinned before it becomes sparse
    least = -np.partition(-weights, min(2 * MOST_NEIGHBOURS, len(kept) - 1), axis=1)[:, -1:]
    small = sparse.coo_matrix(np.where((weights > 0) & (weights >= least), weights, 0))
    return sparse.csr_matrix((small.data, (kept[small.row], kept[small.col])), shape=(items, items))


def _following(user: NDArray[np.int64], item: NDArray[np.int64], items: int) -> sparse.csr_matrix:
    total = sparse.csr_matrix((items, items))
    for lag, weight in _LAGS:
        same = (user[lag:] == user[:-lag]) & (item[lag:] != item[:-lag])
        before, after = item[:-lag][same], item[lag:][same]
        total = total + sparse.csr_matrix((np.full(len(before), weight), (before, after)), shape=(items, items))
    return _shares(total, _FEW_EVENTS)


def _beside(user: NDArray[np.int64], item: NDArray[np.int64], items: int) -> sparse.csr_matrix:
    same = user[1:] == user[:-1]
    before, after = item[:-1][same], item[1:][same]
    counted = sparse.csr_matrix((np.ones(len(before)), (before, after)), shape=(items, items))
    return _shares(counted + counted.T, _FEW_BESIDE)


def _shares(counted: sparse.csr_matrix, few: float) -> sparse.csr_matrix:
    """Of each row, as if there had been `few` more events: of few they say less."""
    return sparse.diags(1 / (np.asarray(counted.sum(axis=1)).ravel() + few)) @ counted


def _largest(matrix: sparse.csr_matrix, k: int) -> _Pairs:
    """The k largest positive entries of each row: int64 keys row · items + column, ascending, and values."""
    entries = matrix.tocoo()
    positive = entries.data > 0
    row, col, data = entries.row[positive].astype(np.int64), entries.col[positive], entries.data[positive]
    order = np.lexsort((col, -data, row))  # of equals the first item
    row, col, data = row[order], col[order], data[order]
    kept = np.arange(len(row)) - np.searchsorted(row, row) < k
    keys = row[kept] * matrix.shape[1] + col[kept]
    ascending = np.argsort(keys)
    return keys[ascending], data[kept][ascending]
