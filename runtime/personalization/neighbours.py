"""Items that are engaged with together, or one after the other, as a sparse table: bounded, and made to be mapped."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Columns of `Neighbours.values`: how they are learned is in training/ranker/neighbours.py.
TOGETHER, LINEAR, FOLLOWS, BESIDE = range(4)

# Of the events that are looked at, the newest first: each weighs half of the one `half-life` places before it.
LAST_EVENTS = 20
FADING = 8.0

# What is summed for a candidate: (column, half-life in events).
SUMS = ((TOGETHER, 1.0), (TOGETHER, FADING), (LINEAR, FADING), (FOLLOWS, 1.0), (FOLLOWS, FADING), (BESIDE, 1.0))
_COLUMNS = np.array([column for column, _ in SUMS])
_WEIGHTS = np.exp2(-np.arange(LAST_EVENTS)[:, np.newaxis] / np.array([half_life for _, half_life in SUMS]))


class Neighbours(NamedTuple):
    """The neighbours of `items` items, in compressed rows: those of item i are entries starts[i] to starts[i + 1].

    starts: int64 [items + 1]. rows: int32 [entries], of the neighbours. values: float16 [entries, 4], or [entries, 3]
    in bundles made before there was BESIDE.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    values: NDArray[np.float16]

    @property
    def items(self) -> int:
        """How many items have a row."""
        return len(self.starts) - 1


def neighbour_sums(
    table: Neighbours, last: NDArray[np.integer], candidates: NDArray[np.integer]
) -> NDArray[np.float32]:
    """How near each candidate is to what the user engaged with last: float32 [n, 6], the columns of SUMS; 0 of a
    column that the table lacks.

    last [l]: rows of the table, the newest first; candidates [n]: likewise. −1 for an item that the table lacks.
    """
    sums = np.zeros((len(candidates), len(SUMS)), np.float32)
    last = last[:LAST_EVENTS]
    places = np.flatnonzero(last >= 0)
    if not len(places):
        return sums
    begin, end = table.starts[last[places]], table.starts[last[places] + 1]
    lengths = end - begin
    entries = np.repeat(end - np.cumsum(lengths), lengths) + np.arange(int(lengths.sum()))
    position = np.full(table.items, -1, np.int32)
    known = np.flatnonzero(candidates >= 0)
    position[candidates[known]] = known  # a candidate given twice: the last one is summed, and copied below
    at = position[table.rows[entries]]
    met = at >= 0
    at, values = at[met], table.values[entries[met]].astype(np.float64)
    age = np.repeat(places, lengths)[met]
    # All sums of all candidates in one pass: bin at · sums + sum
    there = np.flatnonzero(values.shape[1] > _COLUMNS)
    weighted = values[:, _COLUMNS[there]] * _WEIGHTS[age][:, there]
    bins = at[:, np.newaxis] * len(SUMS) + there
    total = np.bincount(bins.ravel(), weighted.ravel(), minlength=sums.size).reshape(sums.shape)
    sums[known] = total[position[candidates[known]]]
    return sums
