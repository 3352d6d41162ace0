"""Content id ↔ row of an in-memory matrix of vectors. Used from the event-loop thread only."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.label_index import LabelIndex
from runtime.catalog.vector_matrix import Float32Matrix, Int8Matrix, Matrix, Scan, row_bytes
from runtime.personalization import popularity

LABELS_PER_ITEM = 12  # on average, there is room for so many
# Of an item, beside its vector and labels: 106 with an id of 36 bytes (`python -m bench.memory_parts catalogue`).
ID_BYTES = 210


class CatalogFull(Exception):
    """There is no room for more vectors. The message says how many are held and what the limit is."""


class Lookup(NamedTuple):
    """`rows` [k] belong to `ids`, in the order of the request (repeats included); `unknown`: ids without a vector."""

    ids: list[str]
    rows: NDArray[np.intp]
    unknown: list[str]


class Catalog:
    """The unit vectors of all content.

    Memory: 1,536 bytes an item of 384 dimensions as float32, 392 as int8, out of `max_bytes`; and about 210 bytes an
    item for its id and up to 150 for its labels. As int8 the exact vectors are in a file without a name, 1,536 bytes an
    item, which is mapped.
    The whole matrix is reserved at start, but the system allocates memory only as rows are first written, so it grows
    in place, is never copied, and a small catalogue stays small. Rows of deleted items are used again.
    """

    def __init__(self, dimensions: int, max_bytes: int, format: str = "float32", folder: Path | None = None) -> None:
        """format: one of vector_matrix.FORMATS. folder: of the file that int8 needs; None takes the system's for
        temporary files. Raises OSError."""
        self.dimensions = dimensions
        self.capacity = max_bytes // row_bytes(format, dimensions)
        self._matrix: Matrix = (
            Float32Matrix(self.capacity, dimensions)
            if format == "float32"
            else Int8Matrix(self.capacity, dimensions, folder)
        )
        self.changes = 0  # how often an item was put or deleted
        self._version = np.zeros(self.capacity, np.uint32)
        self._counts = np.empty((self.capacity, len(popularity.HALF_LIVES_HOURS)))  # set as rows are given to items
        self._rows: dict[str, int] = {}
        self._ids: list[str | None] = []  # by row
        self._free: list[int] = []
        self._held = np.zeros(self.capacity, np.bool_)  # by row: whether an item is there
        self._labels = LabelIndex(self.capacity, LABELS_PER_ITEM * self.capacity)
        self._reserved_labels = 0
        self._reserved = 0
        self._sum = np.zeros(dimensions, np.float64)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, id: str) -> bool:
        return id in self._rows

    @property
    def used_bytes(self) -> int:
        """Bytes of the matrix that were ever written, and so are held."""
        return self.rows * self._matrix.row_bytes

    @property
    def label_bytes(self) -> int:
        return self._labels.used_bytes

    @property
    def rows(self) -> int:
        """Rows ever used; those of deleted items are among them."""
        return len(self._ids)

    @contextmanager
    def room_for(self, ids: Sequence[str], labels: int = 0) -> Iterator[None]:
        """Hold room for those of `ids` that are new, and for `labels` in place of those they have, while they are made
        durable and then `put`. Raises CatalogFull."""
        new = len(set(ids) - self._rows.keys())
        if len(self._rows) + self._reserved + new > self.capacity:
            raise self._full(new)
        more = max(0, labels - sum(self._labels.count(self._rows[id]) for id in set(ids) & self._rows.keys()))
        if self._labels.held + self._reserved_labels + more > self._labels.capacity:
            raise self._labels_full(more)
        try:
            self._matrix.reserve(min(self.rows + self._reserved + new, self.capacity))
        except OSError as error:
            raise CatalogFull(
                f"{new} more vectors do not fit on the disk: {error.strerror}; free space in the data folder"
            ) from error
        self._reserved += new
        self._reserved_labels += more
        try:
            yield
        finally:
            self._reserved -= new
            self._reserved_labels -= more

    def put(self, id: str, embedding: NDArray[np.float32], labels: Collection[str] = ()) -> None:
        """Add an item, or replace its vector [dimensions] and labels. Raises CatalogFull or ValueError, changing
        nothing."""
        if embedding.shape != (self.dimensions,):
            raise ValueError(f"the vector of {id!r} has shape {embedding.shape}, expected ({self.dimensions},)")
        row = self._rows.get(id)
        if not self._labels.fits(row, len(labels)):
            raise self._labels_full(len(labels))
        if row is None:
            row = self._free.pop() if self._free else self._next_row()
            self._rows[id] = row
            self._ids[row] = id
            self._held[row] = True
            self._counts[row] = -np.inf
        else:
            self._sum -= self._matrix.row(row)
        self._labels.set(row, labels)
        self._matrix.set(row, embedding)
        self._sum += self._matrix.row(row)
        self._version[row] += 1
        self.changes += 1

    def delete(self, id: str) -> bool:
        """Forget an item; False if it was not there."""
        row = self._rows.pop(id, None)
        if row is None:
            return False
        self._ids[row] = None
        self._held[row] = False
        self._labels.clear(row)
        self._free.append(row)
        self._sum -= self._matrix.row(row)
        self.changes += 1
        return True

    def lookup(self, ids: Sequence[str]) -> Lookup:
        """The rows of `ids`. They hold until the next put or delete: gather before awaiting anything."""
        rows = list(map(self._rows.get, ids))
        if None not in rows:  # as nearly always
            return Lookup(list(ids), np.array(rows, np.intp), [])
        known = [row is not None for row in rows]
        unknown = [id for id, is_known in zip(ids, known, strict=True) if not is_known]
        return Lookup(list(compress(ids, known)), np.array(list(compress(rows, known)), np.intp), unknown)

    async def gather(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The exact vectors, float32 [k, dimensions], of rows that hold an item as this is called."""
        return self._matrix.exact(rows)

    def versions(self, rows: NDArray[np.intp]) -> NDArray[np.uint32]:
        """How often these rows were written, [k]: what was computed from a row holds while this stays the same."""
        return self._version[rows]

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The row of each id, −1 for one that is not here: [n]. They hold as those of `lookup` do."""
        row = self._rows.get
        return np.fromiter((row(id, -1) for id in ids), np.int64, len(ids))

    def counts(self, rows: NDArray[np.integer]) -> popularity.Counts:
        """A copy of the decayed counts, float64 [k, half-lives], of rows that hold an item; −1 has none."""
        found: popularity.Counts = self._counts[rows]
        found[rows < 0] = -np.inf
        return found

    def counts_between(self, start: int, stop: int) -> popularity.Counts:
        """A view of the decayed counts of the rows from `start` up to `stop`; those of free rows are some number."""
        return self._counts[start:stop]

    def set_counts(self, ids: Sequence[str], counts: Mapping[str, popularity.Counts]) -> None:
        """Those of `ids` that are here get their counts, or none."""
        for id in ids:
            if (row := self._rows.get(id)) is not None:
                self._counts[row] = counts.get(id, -np.inf)

    def ids_or_none(self, rows: NDArray[np.integer]) -> list[str | None]:
        """The id of each row, None for a free one."""
        return [self._ids[row] for row in rows.tolist()]

    def all_ids(self) -> list[str]:
        """The ids of all items."""
        return list(self._rows)

    def scan(self, query: NDArray[np.float32]) -> Scan:
        """Prepare the cosines of a unit vector [dimensions] with rows; those of free ones are some number."""
        return self._matrix.scan(query)

    def matching(self, labels: Collection[str]) -> NDArray[np.bool_]:
        """Which rows hold an item that carries all `labels`, bool [rows]. They hold as those of `lookup` do."""
        wanted = self._held[: self.rows].copy()
        for label in labels:
            carries = np.zeros(self.rows, np.bool_)
            carries[self._labels.rows_with(label)] = True
            wanted &= carries
        return wanted

    def ids(self, rows: NDArray[np.intp]) -> list[str]:
        """The ids of rows that hold an item."""
        return [id for row in rows.tolist() if (id := self._ids[row]) is not None]

    def mean(self) -> NDArray[np.float64]:
        """The plain average of all items as they are held, [dimensions], kept as they change; zeros without any."""
        return self._sum / max(len(self._rows), 1)

    def _next_row(self) -> int:
        if self.rows == self.capacity:
            raise self._full(1)
        self._ids.append(None)
        return self.rows - 1

    def _full(self, new: int) -> CatalogFull:
        return CatalogFull(
            f"{new} more items do not fit: {len(self._rows)} of {self.capacity} are held and {self._reserved} are on "
            f"their way, at {self._matrix.row_bytes} bytes each; raise the catalogue's bytes or delete content"
        )

    def _labels_full(self, new: int) -> CatalogFull:
        return CatalogFull(
            f"{new} more tags, vendors and categories do not fit: {self._labels.held} of {self._labels.capacity} are "
            f"held, {LABELS_PER_ITEM} for each of {self.capacity} items; raise the catalogue's bytes or use fewer tags"
        )
