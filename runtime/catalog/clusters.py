"""Clusters of vectors: codes are of what a vector differs from its cluster's centre by, and a search of very many
scores the rows of the nearest clusters alone.

An inverted file (IVF; Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011) without lists:
a row has the number of its cluster, and a search wants the rows of some clusters as it wants those of a label. So
nothing is moved when an item comes, changes or goes, and filters stay what they are.

When clusters are made again, rows are given the new ones a few at a time, with their codes. There is room for two sets
of clusters, so every row can be scored all the while.
"""

from collections.abc import Callable, Iterator
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

CLUSTERS = 256  # of each of the two sets
NUMBERS = 1 + 2 * CLUSTERS  # 0: no cluster, its centre is zero
ROW_BYTES = 2  # the number of a row's cluster

# Of more rows clusters are made.
LEAST_MADE_OF = 32_768

# Of so many rows or fewer that are wanted, all are scored: then nothing is missed.
LEAST_ROWS = 131_072
# Of more, those of clusters that are hardly further from the query than the nearest one (Chen and others, "SPANN:
# Highly-efficient billion-scale approximate nearest neighbor search", 2021, arXiv 2111.08566), between a sixteenth and
# a quarter of them: measured on a million (docs/decisions/027).
_FURTHER = 1.3
_FEWEST, _MOST = 16, 4
_LEAST_SCORED = 32_768

_SAMPLE = 16_384  # rows from which centres are made
_ROUNDS = 6  # of k-means, the last with exact vectors
_STEP = 512  # rows looked at together: about a millisecond
_LOOKED_UP = 16_384
_READ_STEP = 64  # likewise, where they are read from the disk

Vectors = NDArray[np.float32]
Reader = Callable[[NDArray[np.intp]], Vectors]


class Clusters:
    """`numbers` [capacity]: of each row's cluster. `centres` [NUMBERS, dimensions], rotated as codes are; of clusters
    that were never made the first row alone. `marks` [NUMBERS]: a checksum of each centre, 0 of none."""

    def __init__(self, numbers: NDArray[np.uint16], dimensions: int) -> None:
        """numbers: the same array as long as this lives; whoever writes them calls `renumbered`."""
        self.numbers = numbers
        self.centres: Vectors = np.zeros((1, dimensions), np.float32)
        self.marks = np.zeros(NUMBERS, np.uint32)
        self._units = self.centres  # in their directions
        self.squares = np.zeros(1, np.float32)  # of their lengths
        self._first = 0  # of the set that rows are given now
        self._rows = np.zeros(NUMBERS, np.int64)  # that each has
        self._unfinished = False  # rows may have none of that set
        self._next: Vectors | None = None  # planned
        self._changes = 0  # of rows, since the clusters were made
        self._made_of = 0  # rows

    @property
    def made(self) -> bool:
        """Whether there are any."""
        return self._first > 0

    @property
    def finished(self) -> bool:
        """Whether there are any, and nearly all rows have one of the latest."""
        return self.made and not self._unfinished

    def due(self, held: int) -> bool:
        """Whether it is time to make them, of so many rows that hold an item: there are none, or they are not finished,
        or as many rows have changed since as they were made of."""
        return held > LEAST_MADE_OF and (not self.finished or self._changes > self._made_of)

    def nearest(self, rotated: Vectors) -> NDArray[np.uint16]:
        """The numbers that vectors [n, dimensions] are given now, [n]."""
        if not self.made:
            return np.zeros(len(rotated), np.uint16)
        units = self._units[self._first : self._first + CLUSTERS]
        numbers: NDArray[np.uint16] = (self._first + (rotated @ units.T).argmax(axis=1)).astype(np.uint16)
        return numbers

    def changed(self) -> None:
        """A row has another vector."""
        self._changes += 1

    def renumbered(self, before: NDArray[np.uint16], after: NDArray[np.uint16]) -> None:
        """Rows with these numbers have those now, [n] each."""
        self._rows += np.bincount(after, minlength=NUMBERS) - np.bincount(before, minlength=NUMBERS)

    def plan(self, held: NDArray[np.bool_], approximate: Reader, exact: Reader) -> Iterator[None]:
        """Find centres of the rows that hold an item, in steps of about a millisecond, between which rows may change.

        held: by row. approximate, exact: return rows as rotated vectors, from codes or as they are.
        """
        if self._unfinished:  # as after a process ended meanwhile
            return
        rows = np.flatnonzero(held)
        sample = rows[:: 1 + len(rows) // _SAMPLE]
        centres = approximate(sample[np.linspace(0, len(sample) - 1, CLUSTERS, dtype=np.intp)])
        for n in range(_ROUNDS):
            units, sums, counts = _units(centres), np.zeros_like(centres), np.zeros((CLUSTERS, 1), np.float32)
            read, step = (approximate, _STEP) if n + 1 < _ROUNDS else (exact, _READ_STEP)
            for start in range(0, len(sample), step):
                vectors = read(sample[start : start + step])
                of = (vectors @ units.T).argmax(axis=1) == np.arange(CLUSTERS)[:, np.newaxis]
                sums += of.astype(np.float32) @ vectors
                counts += np.count_nonzero(of, axis=1)[:, np.newaxis]
                yield
            centres = np.divide(sums, counts, out=units, where=counts > 0)  # one without rows stays where it is
        self._next = centres

    def planned(self) -> tuple[int, bytes]:
        """What `restore` needs: the number of the first cluster of those planned, or in use, and all centres."""
        first, centres = self._with_planned()
        return first, centres.tobytes()

    def use(self, held: int) -> None:
        """Rows are given what was planned, from now on. held: how many hold an item."""
        first, centres = self._with_planned()
        self._take(first, centres)
        self._next = None
        self._unfinished = True
        self._changes, self._made_of = 0, held

    def old(self, held: NDArray[np.bool_], start: int = 0, stop: int | None = None) -> NDArray[np.intp]:
        """The rows from `start` up to `stop` that hold an item and have no cluster of the latest. held: by row."""
        numbers = self.numbers[: len(held)][start:stop]
        latest = (numbers >= self._first) & (numbers < self._first + CLUSTERS)
        return np.flatnonzero(held[start:stop] & ~latest) + start

    def finish(self) -> None:
        """All rows have a cluster of the latest that can have one."""
        self._unfinished = False

    def restore(self, first: int, centres: bytes) -> None:
        """Take over what was planned once. Raises ValueError where it is not of such vectors."""
        found = np.frombuffer(centres, np.float32).reshape(NUMBERS, self.centres.shape[1]).copy()
        if first not in (1, 1 + CLUSTERS):
            raise ValueError(f"{first} is the number of no first cluster")
        self._take(first, found)

    def count(self, held: NDArray[np.bool_]) -> None:
        """After the numbers of the first rows were read; held: which of these hold an item."""
        numbers = self.numbers[: len(held)]
        self._rows = np.bincount(numbers, minlength=NUMBERS)
        self._changes, self._made_of = 0, int(np.count_nonzero(held))
        self._unfinished = self.made and len(self.old(held)) > 0

    def near(self, rotated: Vectors, wanted: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
        """Of the rows `wanted` [n], bool, those of the clusters nearest to a query: at least `least`, and so many that
        all but a few of those that score best are among them. All where they are not many."""
        count = int(np.count_nonzero(wanted))
        enough = max(count // _FEWEST, _LEAST_SCORED, least)
        if not self.made or count <= LEAST_ROWS or 2 * enough > count:
            return wanted
        distances = np.sqrt(np.maximum(2 - 2 * (self._units @ rotated), 0))
        distances[(self._rows == 0) | (np.arange(NUMBERS) == 0)] = np.inf
        used = int(np.count_nonzero(distances < np.inf))
        nearest = np.argsort(distances, kind="stable")[:used]
        hardly_further = int(np.count_nonzero(distances <= _FURTHER * distances.min()))
        taken = np.zeros(NUMBERS, np.bool_)
        taken[0] = True
        some = max(used * enough // count, min(hardly_further, used // _MOST))
        while some < used:
            taken[nearest[:some]] = True
            found = self._with_numbers(taken, wanted)
            if np.count_nonzero(found) >= enough:
                return found
            some = max(some + 1, some * 3 // 2)  # behind a filter of what is far from the query many hold nothing
        return wanted

    def _with_numbers(self, taken: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The rows `wanted` whose clusters are `taken`, by number."""
        found = np.empty(len(wanted), np.bool_)
        for start in range(0, len(wanted), _LOOKED_UP):  # each number takes 8 bytes meanwhile
            stop = min(start + _LOOKED_UP, len(wanted))
            np.take(taken, self.numbers[start:stop], out=found[start:stop], mode="clip")
        found &= wanted
        return found

    def _with_planned(self) -> tuple[int, Vectors]:
        if self._next is None:
            return self._first, self.centres
        first = 1 + CLUSTERS if self._first == 1 else 1
        centres = np.zeros((NUMBERS, self.centres.shape[1]), np.float32)
        centres[: len(self.centres)] = self.centres
        centres[first : first + CLUSTERS] = self._next
        return first, centres

    def _take(self, first: int, centres: Vectors) -> None:
        self._first, self.centres, self._units = first, centres, _units(centres)
        self.squares = np.einsum("nd,nd->n", centres, centres)
        self.marks = np.array([crc32(one.tobytes()) if one.any() else 0 for one in centres], np.uint32)


def _units(vectors: Vectors) -> Vectors:
    """In the same directions; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return units
