"""Content id ↔ row of a matrix of vectors. Used from the event-loop thread only."""

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.binary_matrix import BinaryMatrix
from runtime.catalog.files import Files, RowDamaged
from runtime.catalog.formats import LABELS_PER_ITEM, kept_item_vectors, new_arrays, new_matrix, row_bytes
from runtime.catalog.ids import IdHashes, Ids, MemoryIds
from runtime.catalog.label_index import LabelIndex
from runtime.catalog.row_counts import RowCounts
from runtime.catalog.vector_matrix import Int8Matrix, Scan
from runtime.personalization import popularity

COSINE_ROWS = 64  # scored at a time: 96 KiB of vectors, which malloc keeps
MOST_AVERAGED = 4_096  # a few milliseconds in the event loop
MOST_WAITING = 20_000  # ids of items that are stored and not here, some 2 MB; others are counted


class CatalogFull(Exception):
    """There is no room for more vectors. The message says how many are held and what the limit is."""


class Lookup(NamedTuple):
    """`rows` [k] belong to `ids`, in the order of the request (repeats included); `unknown`: ids without a vector."""

    ids: list[str]
    rows: NDArray[np.intp]
    unknown: list[str]


class Catalog:
    """The unit vectors of all content, their labels, and counts of what everybody engages with.

    Memory of vectors, out of `max_bytes`: 1,536 bytes an item of 384 dimensions as float32, 392 as int8, 52 on disk;
    and beside them what formats.FORMATS says. As int8 and on disk the exact vectors are in a file without a name, 1,536
    bytes an item, which is mapped; on disk that is true of nearly all the rest, too.
    All is reserved at start, but the system allocates memory only as rows are first written, so it grows in place, is
    never copied, and a small catalogue stays small. Rows of deleted items are used again.
    """

    def __init__(
        self,
        dimensions: int,
        max_bytes: int,
        format: str = "float32",
        folder: Path | None = None,
        files: Files | None = None,
    ) -> None:
        """format: one of formats.FORMATS. folder: of the files; None takes the system's for temporary files. files: in
        which a catalogue on disk outlives the process. Raises OSError."""
        self.dimensions = dimensions
        self.capacity = max_bytes // row_bytes(format, dimensions)
        self.kept_item_vectors = kept_item_vectors(format, self.capacity)
        self.changes = 0  # how often an item was put or deleted
        self.rows = 0  # ever used; those of deleted items are among them
        arrays = new_arrays(format, folder, files.folder if files else None)
        secret = files.secret if files else b""
        self._matrix = new_matrix(format, self.capacity, dimensions, arrays)
        self._ids: Ids = IdHashes(self.capacity, arrays, secret) if arrays.on_disk else MemoryIds(self.capacity)
        self._labels = LabelIndex(self.capacity, LABELS_PER_ITEM * self.capacity, arrays, secret, self._before_packing)
        self._arrays = arrays
        self.counts = RowCounts(self.capacity, arrays)
        self._version = np.zeros(self.capacity, np.uint32)
        self._held = np.zeros(self.capacity, np.bool_)  # by row: whether an item is there
        self._free = array("i")
        self._reserved_labels = 0
        self._reserved = 0
        self._waiting: set[str] = set()
        self.without_room = 0  # items that are stored, neither here nor waiting; they have their room, by number
        self._sum = None if arrays.on_disk else np.zeros(dimensions, np.float64)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id: str) -> bool:
        return self._ids.row(id) >= 0

    @property
    def waiting(self) -> int:
        """Items that are stored and not here, hidden or without a vector yet, for which room is kept."""
        return len(self._waiting)

    @property
    def used_bytes(self) -> int:
        """Bytes of the vectors that a search reads."""
        return self.rows * self._matrix.row_bytes

    @property
    def label_bytes(self) -> int:
        """Bytes held by tags, vendors and categories."""
        return self._labels.used_bytes

    @contextmanager
    def room_for(self, ids: Sequence[str], labels: int = 0) -> Iterator[None]:
        """Hold room for those of `ids` that are new, and for `labels` in place of those they have, while they are made
        durable and then `put`. Raises CatalogFull."""
        rows = self._ids.rows(list(dict.fromkeys(ids)))
        new = int(np.count_nonzero(rows < 0)) - len(self._waiting.intersection(ids))
        if new and len(self) + len(self._waiting) + self.without_room + self._reserved + new > self.capacity:
            raise self._full(new)
        more = max(0, labels - sum(map(self._labels.count, rows[rows >= 0].tolist())))
        if self._labels.held + self._reserved_labels + more > self._labels.capacity:
            raise self._labels_full(more)
        try:
            self._reserve(min(self.rows + self._reserved + new, self.capacity), self._reserved_labels + labels)
        except OSError as error:
            raise CatalogFull(
                f"{new} more items do not fit on the disk: {error.strerror}; free space in the data folder"
            ) from error
        self._reserved += new
        self._reserved_labels += more
        try:
            yield
        finally:
            self._reserved -= new
            self._reserved_labels -= more

    def put(self, id: str, embedding: NDArray[np.float32], labels: Collection[str] = ()) -> None:
        """Add an item, or replace its vector [dimensions] and labels. Raises CatalogFull, ValueError or OSError,
        changing nothing."""
        if embedding.shape != (self.dimensions,):
            raise ValueError(f"the vector of {id!r} has shape {embedding.shape}, expected ({self.dimensions},)")
        row = self._ids.row(id)
        if not self._labels.fits(None if row < 0 else row, len(labels)):
            raise self._labels_full(len(labels))
        if row < 0 and not self._free and self.rows == self.capacity:
            raise self._full(1)
        self._reserve(min(self.rows + 1, self.capacity), len(labels))
        if row < 0:
            if self._free:
                row = self._free.pop()
            else:
                row, self.rows = self.rows, self.rows + 1
            self._begin(row)
            self._ids.add(id, row)
            self._held[row] = True
            self._waiting.discard(id)
            self.counts.clear(row)
        else:
            self._begin(row)
            if self._sum is not None:
                self._sum -= self._matrix.row(row)
        self._labels.set(row, labels)
        self._matrix.set(row, embedding)
        if self._sum is not None:
            self._sum += self._matrix.row(row)
        self._version[row] += 1
        self._end(row, embedding)
        self.changes += 1

    def holds(self, id: str) -> bool:
        """Whether an item is here, or room is kept for it."""
        return id in self or id in self._waiting

    def found_room(self) -> None:
        """One of those without room is about to be put, or is no longer stored."""
        self.without_room = max(0, self.without_room - 1)

    def keep_room(self, id: str) -> None:
        """Take an item out, if it is here, and keep its room: it is stored, and can come back. What has no room, and
        finds none, is counted in `without_room`."""
        here = self._take_out(id)
        fits = here or len(self) + len(self._waiting) < self.capacity
        if fits and len(self._waiting) < MOST_WAITING:
            self._waiting.add(id)
        elif here:
            self.without_room += 1

    def delete(self, id: str) -> bool:
        """Forget an item that is no longer stored; False if it was not here, nor its room kept."""
        waited = id in self._waiting
        self._waiting.discard(id)
        return self._take_out(id) or waited

    def _take_out(self, id: str) -> bool:
        row = self._ids.row(id)
        if row < 0:
            return False
        self._begin(row)
        self._ids.remove(id, row)
        self._held[row] = False
        self._labels.clear(row)
        self._free.append(row)
        if self._sum is not None:
            self._sum -= self._matrix.row(row)
        self._end(row, None)
        self.changes += 1
        return True

    def lookup(self, ids: Sequence[str]) -> Lookup:
        """The rows of `ids`. They hold until the next put or delete: gather before awaiting anything."""
        rows = self._ids.rows(ids)
        known = rows >= 0
        if known.all():  # as nearly always
            return Lookup(list(ids), rows, [])
        return Lookup(list(compress(ids, known.tolist())), rows[known], list(compress(ids, (~known).tolist())))

    async def gather(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The exact vectors, float32 [k, dimensions], of rows that hold an item as this is called. Where they are read
        from the disk, what changes meanwhile may be there as it was or as it is."""
        if isinstance(self._matrix, BinaryMatrix):
            return await self._matrix.fetch(rows)
        return self._matrix.exact(rows)

    def release(self) -> None:
        """After a pass over all rows: those in a mapped file stop counting as resident memory."""
        if isinstance(self._matrix, Int8Matrix):
            self._matrix.release()

    async def finer(self, rows: NDArray[np.intp]) -> NDArray[np.uint8] | None:
        """What `Estimates.closer` needs of these rows; None where they are in memory."""
        return await self._matrix.finer(rows) if isinstance(self._matrix, BinaryMatrix) else None

    def read(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """As `gather`, at once: for a few rows that were just written."""
        return self._matrix.exact(rows)

    async def cosines(
        self, rows: NDArray[np.intp], vectors: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Of these rows, as of `gather`, with each of the unit vectors, float32 [k]: without the memory of all at once,
        whose pages take longer than the products."""
        near = not isinstance(self._matrix, BinaryMatrix) or self._matrix.vectors_near
        step = COSINE_ROWS if near else max(len(rows), 1)
        found = [np.empty(len(rows), np.float32) for _ in vectors]
        for start in range(0, len(rows), step):
            some = await self.gather(rows[start : start + step])
            for scores, vector in zip(found, vectors, strict=True):
                np.vecdot(some, vector, out=scores[start : start + step])
        return [scores.clip(-1.0, 1.0, out=scores) for scores in found]  # as `cosine_scores`, in one go

    def versions(self, rows: NDArray[np.intp]) -> NDArray[np.uint32]:
        """How often these rows were written, [k]: what was computed from a row holds while this stays the same."""
        return self._version[rows]

    def has(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether each of these rows holds an item, [k]."""
        return self._held[rows]

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """The row of each id, −1 for one that is not here: [n]. They hold as those of `lookup` do."""
        return self._ids.rows(ids)

    def popular(self, n: int, half_life: int) -> NDArray[np.intp]:
        """The rows of the n items with the highest count by one of the half-lives, of equals the earlier row first;
        fewer where fewer have one."""
        return self.counts.highest(self._held[: self.rows], n, half_life)

    def set_counts(self, ids: Sequence[str], counts: Mapping[str, popularity.Counts]) -> None:
        """Those of `ids` that are here get their counts, or none."""
        for id, row in zip(ids, self._ids.rows(ids).tolist(), strict=True):
            if row >= 0:
                self.counts.set(row, counts.get(id))

    def ids_or_none(self, rows: NDArray[np.integer]) -> list[str | None]:
        """The id of each row, None for a free one."""
        held = self._held[rows]
        ids = iter(self.ids(rows[held].astype(np.intp)))
        return [next(ids) if is_held else None for is_held in held.tolist()]

    def pages(self, rows: int) -> Iterator[list[str]]:
        """The ids of all items, those of so many rows at a time. The catalogue may change between pages: an item that
        is there throughout is in one of them."""
        start = 0
        while start < self.rows:
            stop = min(start + rows, self.rows)
            try:
                yield self.ids(np.flatnonzero(self._held[start:stop]) + start)
            except RowDamaged:
                continue  # without the row that is damaged: it was taken out
            start = stop

    def scan(self, query: NDArray[np.float32]) -> Scan:
        """Prepare the cosines of a unit vector [dimensions] with rows; those of free ones are some number."""
        return self._matrix.scan(query)

    def matching(self, labels: Collection[str], any_of: Sequence[Collection[str]] = ()) -> NDArray[np.bool_]:
        """Which rows hold an item that carries all `labels` and at least one of each group of `any_of`, bool [rows].
        They hold as those of `lookup` do."""
        wanted = self._held[: self.rows].copy()
        for label in labels:
            wanted &= self._labels.carriers(label, self.rows)
        for group in any_of:
            carries = np.zeros(self.rows, np.bool_)
            for label in group:
                carries |= self._labels.carriers(label, self.rows)
            wanted &= carries
        return wanted

    def near(self, query: NDArray[np.float32], wanted: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
        """Of very many rows `wanted`, bool [rows], those near a unit vector [dimensions], `least` or more, among which
        are all but a few of those with the best cosines."""
        return self._matrix.near(query, wanted, least) if isinstance(self._matrix, BinaryMatrix) else wanted

    def keep_common_labels(self) -> Iterator[None]:
        """Where labels are on the disk: see `LabelIndex.keep_common`."""
        return self._labels.keep_common() if self._arrays.on_disk else iter(())

    @property
    def clusters_due(self) -> bool:
        """Whether clusters are worth while to be made, or made again."""
        return isinstance(self._matrix, BinaryMatrix) and self._matrix.clusters.due(len(self))

    def plan_clusters(self) -> Iterator[None]:
        """Find their centres, in steps of about a millisecond, between which everything may change. Raises OSError."""
        assert isinstance(self._matrix, BinaryMatrix)
        return self._matrix.plan_clusters(self._held)

    def save_clusters(self) -> None:
        """Between planning and using them: make durable what codes will be relative to. In any thread. Raises
        OSError."""

    def use_clusters(self) -> Iterator[None]:
        """Give rows the clusters that were planned, or that some do not have yet; steps as of `plan_clusters`."""
        assert isinstance(self._matrix, BinaryMatrix)
        return self._matrix.use_clusters(self._held, self._sound)

    def ids(self, rows: NDArray[np.intp]) -> list[str]:
        """The ids of rows that hold an item."""
        return self._ids.ids(rows)

    def mean(self) -> NDArray[np.float64]:
        """The plain average of all items as they are held, [dimensions]; zeros without any. On disk an estimate from
        some thousands of them, evenly spaced."""
        if self._sum is not None:
            return self._sum / max(len(self), 1)
        assert isinstance(self._matrix, BinaryMatrix)
        rows = np.flatnonzero(self._held[: self.rows])
        return self._matrix.mean(rows[:: 1 + len(rows) // MOST_AVERAGED])

    def _begin(self, row: int) -> None:
        """Called before a row changes."""

    def _end(self, row: int, embedding: NDArray[np.float32] | None) -> None:
        """Called when a row holds an item with this vector, or none any more."""

    def _sound(self, rows: NDArray[np.intp], vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which of these rows have these exact vectors, for all that is known: [k]."""
        return np.ones(len(rows), np.bool_)

    def _before_packing(self) -> None:
        """Called before the entries of labels are moved."""

    def _reserve(self, rows: int, labels: int) -> None:
        self._matrix.reserve(rows)
        self._ids.reserve(rows)
        self._labels.reserve(rows, labels)
        self.counts.reserve(rows)

    def _full(self, new: int) -> CatalogFull:
        others = len(self._waiting) + self.without_room
        return CatalogFull(
            f"{new} more items do not fit: {len(self)} of {self.capacity} are held and {self._reserved} are on "
            f"their way{f', {others} are stored and not ranked' if others else ''}, at {self._matrix.row_bytes} bytes "
            "each; raise the catalogue's bytes or delete content"
        )

    def _labels_full(self, new: int) -> CatalogFull:
        return CatalogFull(
            f"{new} more tags, vendors and categories do not fit: {self._labels.held} of {self._labels.capacity} are "
            f"held, {LABELS_PER_ITEM} for each of {self.capacity} items; raise the catalogue's bytes or use fewer tags"
        )
