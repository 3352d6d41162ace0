"""Content id ↔ row of an in-memory matrix of vectors. Used from the event-loop thread only."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class CatalogFull(Exception):
    """There is no room for more vectors. The message says how many are held and what the limit is."""


class Lookup(NamedTuple):
    """`rows` [k] belong to `ids`, in the order asked (repeats included); `unknown` are the ids without a vector."""

    ids: list[str]
    rows: NDArray[np.intp]
    unknown: list[str]


class Catalog:
    """The unit vectors of all content, float32 [rows, dimensions].

    Memory: 4 · dimensions bytes an item (1,536 for 384) out of `max_bytes`, and about 200 bytes an item for its id.
    The whole matrix is reserved at start, but the system hands out memory only as rows are first written, so it grows
    in place, is never copied, and a small catalogue stays small. Rows of deleted items are used again.
    """

    def __init__(self, dimensions: int, max_bytes: int) -> None:
        self.dimensions = dimensions
        self.capacity = max_bytes // (4 * dimensions)
        self._matrix = np.empty((self.capacity, dimensions), np.float32)
        self._version = np.zeros(self.capacity, np.uint32)
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self._top = 0  # rows ever used
        self._reserved = 0
        self._sum = np.zeros(dimensions, np.float64)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, id: str) -> bool:
        return id in self._rows

    @property
    def used_bytes(self) -> int:
        """Bytes of the matrix that were ever written, and so are held."""
        return self._top * 4 * self.dimensions

    @contextmanager
    def room_for(self, ids: Sequence[str]) -> Iterator[None]:
        """Hold room for those of `ids` that are new, while they are made durable and then `put`. Raises CatalogFull."""
        new = len(set(ids) - self._rows.keys())
        if len(self._rows) + self._reserved + new > self.capacity:
            raise self._full(new)
        self._reserved += new
        try:
            yield
        finally:
            self._reserved -= new

    def put(self, id: str, embedding: NDArray[np.float32]) -> None:
        """Add an item, or replace its vector [dimensions]. Raises CatalogFull or ValueError, changing nothing."""
        if embedding.shape != (self.dimensions,):
            raise ValueError(f"the vector of {id!r} has shape {embedding.shape}, expected ({self.dimensions},)")
        row = self._rows.get(id)
        if row is None:
            row = self._free.pop() if self._free else self._next_row()
            self._rows[id] = row
        else:
            self._sum -= self._matrix[row]
        self._matrix[row] = embedding
        self._version[row] += 1
        self._sum += embedding

    def delete(self, id: str) -> bool:
        """Forget an item; False if it was not there."""
        row = self._rows.pop(id, None)
        if row is None:
            return False
        self._free.append(row)
        self._sum -= self._matrix[row]
        return True

    def lookup(self, ids: Sequence[str]) -> Lookup:
        """The rows of `ids`. They hold until the next put or delete: gather before awaiting anything."""
        known = [id for id in ids if id in self._rows]
        rows = np.fromiter((self._rows[id] for id in known), np.intp, len(known))
        return Lookup(known, rows, [id for id in ids if id not in self._rows] if len(known) < len(ids) else [])

    def gather(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """A copy of these rows, float32 [k, dimensions]."""
        return self._matrix[rows]

    def versions(self, rows: NDArray[np.intp]) -> NDArray[np.uint32]:
        """How often these rows were written, [k]: what was computed from a row holds while this stays the same."""
        return self._version[rows]

    def ids(self) -> list[str]:
        """All ids."""
        return list(self._rows)

    def mean(self) -> NDArray[np.float64]:
        """The plain average of all items, [dimensions], kept up to date as they change; zeros without any."""
        return self._sum / max(len(self._rows), 1)

    def _next_row(self) -> int:
        if self._top == self.capacity:
            raise self._full(1)
        self._top += 1
        return self._top - 1

    def _full(self, new: int) -> CatalogFull:
        return CatalogFull(
            f"{new} more items do not fit: {len(self._rows)} of {self.capacity} are held and {self._reserved} are on "
            f"their way, at {4 * self.dimensions} bytes each; raise the catalogue's bytes or delete content"
        )
