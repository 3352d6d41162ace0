"""A catalogue on disk whose files outlive the process; see `files` for what makes them safe."""

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.binary_matrix import BinaryMatrix
from runtime.catalog.catalog import Catalog
from runtime.catalog.files import (
    LAYOUT,
    Files,
    FilesDamaged,
    Header,
    RowDamaged,
    SavedClusters,
    read_clusters,
    write_clusters,
    write_header,
)
from runtime.catalog.ids import IdHashes
from runtime.catalog.mapped import MappedArray
from runtime.catalog.row_seals import RowSeals

Vector = NDArray[np.float32]
Source = Callable[[Sequence[str]], Awaitable[Mapping[str, Vector]]]


class SavedCatalog(Catalog):
    """See `Catalog`. Vectors of an earlier process are compared with their checksums as they are first read, and one
    that is damaged is read from the database; all else is compared at the start."""

    def __init__(self, dimensions: int, max_bytes: int, folder: Path | None, files: Files, source: Source) -> None:
        """source: reads vectors of items from the database, by id. Raises OSError."""
        super().__init__(dimensions, max_bytes, "disk", folder, files)
        assert isinstance(self._matrix, BinaryMatrix)
        assert isinstance(self._ids, IdHashes)
        self._binary, self._hashed = self._matrix, self._ids
        self._files = files
        self._source = source
        self._seals = RowSeals(self.capacity, dimensions, self._arrays)
        self._header_turn = threading.Lock()
        self._moved = False  # entries of labels, since the last header was made
        self._broken = False  # the files hold what cannot be read
        self._seals.cover(self._hashed.in_files)

    def restore(self, header: Header, now: int, changed: Sequence[str]) -> None:
        """Take over what the files hold, but for the items that changed since: these are taken out, to be put again.

        now: the number of the database's last change. changed: ids of items that may have changed since the header's.
        Raises FilesDamaged or OSError.
        """
        if header.rows > self.capacity or header.labels > self._labels.capacity:
            raise FilesDamaged(f"they hold {header.rows} items, and there is room for {self.capacity} now")
        if header.rotation != self._binary.rotation_mark:
            raise FilesDamaged("their codes were made by another rotation")
        for name, array in self._arrays.kept.items():
            if array.found_rows < (header.labels if name.startswith("labels-") else header.rows):
                raise FilesDamaged(f"{name} is cut off")
        mapped = [one for one in self._arrays.kept.values() if isinstance(one, MappedArray)]
        for one in mapped:
            one.read_in_order()
        self._labels.reserve(header.rows, header.labels)
        rows = min(header.rows + len(changed), self.capacity)  # so many may have come since
        self._reserve(rows, 0)
        self._binary.read(rows)
        self._restore_clusters()
        changes = self._seals.changes[:rows]
        if rows and (newest := int(changes.max())) > now:
            raise FilesDamaged(f"they hold change {newest} of the database, whose last is {now}")
        damaged = self._seals.wrong(rows)
        damaged |= self._labels.read(header.labels, rows) != self._seals.label_sums[:rows]
        held = self._hashed.held(rows)
        known = (changes > header.change) | self._hashed.among(rows, changed)
        if lost := int(np.count_nonzero(damaged & held & ~known)):
            raise FilesDamaged(f"{lost} of {header.rows} items are not as they were written")
        dropped = known | (damaged & ~held)
        self._labels.drop(dropped)
        for row in np.flatnonzero(dropped).tolist():
            self._begin(row)
            self._hashed.erase(row)
            self._seal_free(row)
        self.rows = rows = int(np.flatnonzero(changes)[-1]) + 1 if changes.any() else 0
        self._hashed.read(rows)
        held = self._hashed.held(rows)
        self._binary.clusters.count(held)
        self._code_again(np.flatnonzero(self._binary.wrong(rows) & held))
        self._held[:rows] = held
        self._version[:rows] = held
        self._seals.unverified[:rows] = held
        self._free.extend(np.flatnonzero(~held)[::-1].tolist())
        for one in mapped:
            one.read_as_before()

    def _restore_clusters(self) -> None:
        """Where they are not whole, codes relative to them are found to be wrong."""
        saved = read_clusters(self._files.folder)
        if saved is not None and saved.rotation == self._binary.rotation_mark:
            with suppress(ValueError):
                self._binary.clusters.restore(saved.first, saved.centres)

    def _code_again(self, rows: NDArray[np.intp]) -> None:
        """Of rows whose codes are not as they were written: they may be half written where clusters were being made,
        which the database knows nothing of. Raises FilesDamaged or OSError."""
        coded = 0

        def sound(rows: NDArray[np.intp], vectors: Vector) -> NDArray[np.bool_]:
            nonlocal coded
            found: NDArray[np.bool_] = self._seals.of_vectors(vectors) == self._seals.vector_sums[rows]
            coded += int(np.count_nonzero(found))
            return found

        for _ in self._binary.code(rows, sound):
            pass
        if lost := len(rows) - coded:
            raise FilesDamaged(f"{lost} items are not as they were written")

    def header(self, identity: str, bundle: str, change: int, position: str = "") -> Header:
        """What to write when everything up to this change has been put, and is synced."""
        self._moved = False
        return Header(
            layout=LAYOUT, identity=identity, bundle=bundle, dimensions=self.dimensions,
            secret=self._files.secret.hex(), rotation=self._binary.rotation_mark,
            change=change, rows=self.rows, labels=self._labels.end, position=position,
        )  # fmt: skip

    def sync(self, header: Header) -> None:
        """Make what the header speaks of durable, then the header. In any thread. Raises OSError."""
        for one in list(self._arrays.kept.values()):
            one.sync()
        with self._header_turn:
            if not self._moved and not self._broken:  # else it says what is no longer so
                write_header(self._files.folder, header)

    def save_clusters(self) -> None:
        first, centres = self._binary.clusters.planned()
        write_clusters(self._files.folder, SavedClusters(self._binary.rotation_mark, first, centres))

    async def gather(self, rows: NDArray[np.intp]) -> Vector:
        vectors = await super().gather(rows)
        doubted = np.flatnonzero(self._seals.unverified[rows])  # those that changed meanwhile are not
        if len(doubted):
            await self._verify(rows[doubted], vectors, doubted)
        return vectors

    async def _verify(self, rows: NDArray[np.intp], vectors: Vector, places: NDArray[np.intp]) -> None:
        """Compare vectors, which were read at these `places`, and replace those that are damaged."""
        same = self._seals.of_vectors(vectors[places]) == self._seals.vector_sums[rows]
        self._seals.unverified[rows[same]] = False
        if same.all():
            return
        ids = self.ids(rows[~same])
        found = await self._source(ids)
        for place, id in zip(places[~same].tolist(), ids, strict=True):
            if (vector := found.get(id)) is None:
                continue  # deleted meanwhile
            vectors[place] = vector
            row = self._ids.row(id)
            if row >= 0 and self._seals.unverified[row]:
                self._binary.set(row, vector)
                self._seals.unverified[row] = False

    def ids(self, rows: NDArray[np.intp]) -> list[str]:
        """Raises RowDamaged."""
        try:
            return super().ids(rows)
        except RowDamaged as error:
            for row in error.args[0]:
                self._lose(row)
            with self._header_turn:
                self._broken = True
                self._files.forget_header()
            raise RowDamaged(f"the ids of {len(error.args[0])} items are damaged on the disk") from None

    def _lose(self, row: int) -> None:
        self._begin(row)
        self._hashed.forget(row)
        self._held[row] = False
        self._labels.clear(row)
        self._end(row, None)
        self.changes += 1

    def _begin(self, row: int) -> None:
        self._seals.begin(row, self._files.change())

    def _end(self, row: int, embedding: Vector | None) -> None:
        if embedding is None:
            self._seal_free(row)
        else:
            self._seals.end(row, embedding, self._labels.checksum(row))

    def _seal_free(self, row: int) -> None:
        self._binary.erase(row)
        self._seals.end(row, np.zeros(self.dimensions, np.float32), self._labels.checksum(row))

    def _sound(self, rows: NDArray[np.intp], vectors: Vector) -> NDArray[np.bool_]:
        """A vector that is damaged keeps its old codes until it is read, which replaces it."""
        same: NDArray[np.bool_] = self._seals.of_vectors(vectors) == self._seals.vector_sums[rows]
        return same | ~self._seals.unverified[rows]

    def _before_packing(self) -> None:
        with self._header_turn:
            self._moved = True
            self._files.forget_header()

    def _reserve(self, rows: int, labels: int) -> None:
        super()._reserve(rows, labels)
        self._seals.reserve(rows)
