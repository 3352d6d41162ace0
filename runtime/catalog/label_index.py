"""Which rows of the catalogue carry a label: a tag, a vendor, a category."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.mapped import Arrays, MappedArray

ROW_BYTES = 7  # where a row's entries are, how many, and whether it carries the labels that were last looked for
ENTRY_BYTES = 12
MAX_LABELS = 255  # of one row
MOST_KEPT = 12  # common labels whose rows are kept, those last looked for: a bit for each row
_COMMON = 64  # a label is common if one row in so many carries it, or more
_FEW_SHARE = 8  # of other labels that were last looked for so many rows are kept: one for each 8 rows there is room for
KEPT_BYTES = (MOST_KEPT + 32 // _FEW_SHARE) // 8  # for each row
_SAMPLES, _SAMPLE = 16, 1_024  # entries in a row, from which common labels are known

IN_MEMORY = Arrays()
_FIRST_BIT = 0x80  # of a byte, as packbits has it
_STEP = 1 << 18  # entries compared at a time, so that the comparison takes little memory
_HALF, _LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)
_MIX = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7], np.uint64)  # odd


class LabelIndex:
    """The labels of each row, kept as 64-bit hashes beside the row they belong to, in the order they were set.

    Memory: 12 bytes a label and 7 a row; a dictionary of sets takes ten times as much. Finding a label is one pass over
    all entries (2 MB for 22,000 items of 12 labels), which costs less than scoring the items where they are in memory;
    the rows of the labels last looked for are kept. Nothing of the text is kept: two labels are the same when their
    hashes are, which for a million different labels happens once in 30 million catalogues. The arrays are
    reserved at once, but the system allocates their memory as it is written.
    """

    def __init__(
        self,
        rows: int,
        capacity: int,
        arrays: Arrays = IN_MEMORY,
        secret: bytes = b"",
        before_packing: Callable[[], None] = lambda: None,
    ) -> None:
        """secret: of hashes that are saved. before_packing: called before saved entries are moved. Raises OSError where
        the arrays are on the disk."""
        self.capacity = capacity
        self.held = 0
        self._hash: Callable[[str], int] = _Keyed(secret) if secret else hash
        self._before_packing = before_packing
        # The upper and the lower half of each hash: finding a label compares the upper ones and few of the others.
        self._entries = [
            arrays.new(capacity, (), dtype, name)
            for dtype, name in ((np.uint32, "labels-upper"), (np.uint32, "labels-lower"), (np.int32, "labels-rows"))
        ]
        for one in self._entries:
            if isinstance(one, MappedArray):
                one.read_by_passes()
        self._upper, self._lower, self._rows = (one.rows for one in self._entries)  # row −1: no longer used
        self._by_row = [arrays.new(rows, (), dtype) for dtype in (np.int32, np.uint8)]
        self._start, self._count = (one.rows for one in self._by_row)
        self._end = 0
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()  # of common labels by hash, a bit for each row
        self._found: dict[int, NDArray[np.uint8]] = {}  # likewise, of labels that are being looked for
        self._few: OrderedDict[int, NDArray[np.int32]] = OrderedDict()  # of other labels by hash, their rows

    def reserve(self, rows: int, labels: int) -> None:
        """Make sure that the first `rows` can be written, and so many more labels. Raises OSError."""
        for one in self._by_row:
            one.reserve(rows)
        for one in self._entries:
            one.reserve(min(self._end + labels, self.capacity))

    @property
    def end(self) -> int:
        """Entries that were ever written since they were last packed."""
        return self._end

    @property
    def used_bytes(self) -> int:
        """Bytes of entries that were ever written since they were last packed."""
        return self._end * ENTRY_BYTES

    def count(self, row: int) -> int:
        """Labels of a row."""
        return int(self._count[row])

    def fits(self, row: int | None, labels: int) -> bool:
        """Whether a row (None: a new one) can get this many labels in place of its own."""
        return self.held - (0 if row is None else self.count(row)) + labels <= self.capacity

    def set(self, row: int, labels: Collection[str]) -> None:
        """Replace the labels of a row; a repeated one counts once. Call `fits` before."""
        hashes = np.fromiter({self._hash(label) for label in labels}, np.int64).view(np.uint64)
        self.clear(row)
        if self._end + len(hashes) > self.capacity:
            self._pack()
        stop = self._end + len(hashes)
        if stop > self.capacity or len(hashes) > MAX_LABELS:
            raise RuntimeError(f"this is a bug: {len(hashes)} labels do not fit beside {self.held} of {self.capacity}")
        self.reserve(row + 1, len(hashes))
        self._upper[self._end : stop] = hashes >> _HALF
        self._lower[self._end : stop] = hashes & _LOWER
        self._rows[self._end : stop] = row
        self._start[row], self._count[row] = self._end, len(hashes)
        self._end = stop
        self.held += len(hashes)
        if self._kept or self._found or self._few:
            for hash in hashes.tolist():
                for one in (self._kept, self._found):
                    if (bits := one.get(hash)) is not None:
                        bits[row >> 3] |= _FIRST_BIT >> (row & 7)
                if (rows := self._few.get(hash)) is not None:
                    self._few[hash] = np.append(rows, np.int32(row))

    def clear(self, row: int) -> None:
        """Remove a row's labels. Their entries stay, unused, until the index is packed."""
        count = self.count(row)
        if count:
            start = int(self._start[row])
            for hash in self._hashes(start, start + count).tolist() if self._few else ():
                if (rows := self._few.get(hash)) is not None:
                    self._few[hash] = rows[rows != row]
            for values, unused in ((self._rows, -1), (self._upper, 0), (self._lower, 0)):
                values[start : start + count] = unused
            self._count[row] = 0
            self.held -= count
            for bits in (*self._kept.values(), *self._found.values()):
                bits[row >> 3] &= ~(_FIRST_BIT >> (row & 7)) & 0xFF

    def carriers(self, label: str, rows: int) -> NDArray[np.bool_]:
        """Which of the first rows carry a label, a copy: [rows]."""
        (wanted,) = np.array([self._hash(label)], np.int64).view(np.uint64).tolist()
        if (bits := self._kept.get(wanted)) is not None:
            self._kept.move_to_end(wanted)
            return np.unpackbits(bits, count=rows).view(np.bool_)
        carry = np.zeros(len(self._count), np.bool_)
        few = self._few.get(wanted)
        if few is None:
            few = self.rows_with(label)
            carry[few] = True
            if len(few) * _COMMON >= len(carry):
                self._keep(wanted, np.packbits(carry))
            else:
                self._few[wanted] = few
                while sum(map(len, self._few.values())) * _FEW_SHARE > len(carry):
                    self._few.popitem(last=False)
        else:
            self._few.move_to_end(wanted)
            carry[few] = True
        return carry[:rows]

    def keep_common(self) -> Iterator[None]:
        """Find the rows of the most common labels, so that the first filter by one need not wait for it. In steps of a
        few milliseconds, between which everything may change. No more than there is still room for."""
        hashes = [one for one in self._common() if one not in self._kept][: MOST_KEPT - len(self._kept)]
        self._found = {hash: np.zeros(-(-len(self._count) // 8), np.uint8) for hash in hashes}
        start = 0
        while start < self._end and self._found:  # packing ends it
            for hash, bits in self._found.items():
                rows = self._carriers_between(hash, start, min(start + _STEP, self._end))
                np.bitwise_or.at(bits, rows >> 3, (_FIRST_BIT >> (rows & 7)).astype(np.uint8))
            start += _STEP
            yield
        for hash, bits in self._found.items():
            self._keep(hash, bits)
        self._found = {}

    def _common(self) -> list[int]:
        """The hashes of the most common labels, judged by some entries."""
        starts = np.linspace(0, max(self._end - _SAMPLE, 0), _SAMPLES, dtype=np.intp).tolist()
        sample = np.concatenate([self._hashes(start, min(start + _SAMPLE, self._end)) for start in starts])
        hashes, counts = np.unique(sample, return_counts=True)
        rows = int(np.count_nonzero(self._count))
        common = (hashes != 0) & (counts * self._end * _COMMON >= rows * len(sample))
        first = np.argsort(-counts[common], kind="stable")[:MOST_KEPT]
        found: list[int] = hashes[common][first].tolist()
        return found

    def _keep(self, hash: int, bits: NDArray[np.uint8]) -> None:
        self._kept[hash] = bits
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def rows_with(self, label: str) -> NDArray[np.int32]:
        """The rows that carry a label, in no order."""
        (wanted,) = np.array([self._hash(label)], np.int64).view(np.uint64).tolist()
        steps = ((start, min(start + _STEP, self._end)) for start in range(0, self._end, _STEP))
        return np.concatenate([np.empty(0, np.int32), *(self._carriers_between(wanted, *step) for step in steps)])

    def _carriers_between(self, hash: int, start: int, stop: int) -> NDArray[np.int32]:
        """The rows whose label has this hash, by these entries."""
        upper, lower = np.uint32(hash >> 32), np.uint32(hash & 0xFFFFFFFF)
        at = np.flatnonzero(self._upper[start:stop] == upper) + start
        rows: NDArray[np.int32] = self._rows[at[self._lower[at] == lower]]
        return rows[rows >= 0]

    def _hashes(self, start: int, stop: int) -> NDArray[np.uint64]:
        hashes: NDArray[np.uint64] = self._upper[start:stop].astype(np.uint64) << _HALF | self._lower[start:stop]
        return hashes

    def checksum(self, row: int) -> int:
        """A checksum of a row's labels."""
        start, count = int(self._start[row]), self.count(row)
        return int(self._mixed(start, start + count).sum() >> _HALF)

    def read(self, end: int, rows: int) -> NDArray[np.uint32]:
        """Take the entries up to `end`, and those of the first rows, from saved files; returns each row's checksum.
        Before any label is looked for."""
        sums = np.zeros(rows, np.uint64)
        for start in range(0, end, _STEP):
            stop = min(start + _STEP, end)
            of = self._rows[start:stop]
            first = np.flatnonzero(np.diff(of, prepend=-2))  # of each row's entries, or of a part of them
            sums_here = np.add.reduceat(self._mixed(start, stop), first)
            counts = np.diff(first, append=stop - start)
            owners = of[first]
            there = (owners >= 0) & (owners < rows)
            owners = owners[there]
            np.add.at(sums, owners, sums_here[there])
            new = self._count[owners] == 0
            self._start[owners[new]] = first[there][new] + start
            np.add.at(self._count, owners, counts[there].astype(np.uint8))
        self._end = end
        self.held = int(self._count[:rows].sum(dtype=np.int64))
        found: NDArray[np.uint32] = (sums >> _HALF).astype(np.uint32)
        return found

    def drop(self, rows: NDArray[np.bool_]) -> None:
        """Remove every entry of these of the first rows, [rows], wherever one is. Before any label
        is looked for."""
        for start in range(0, self._end, _STEP):
            stop = min(start + _STEP, self._end)
            of = self._rows[start:stop]
            dropped = np.flatnonzero((of >= 0) & (of < len(rows)) & rows[of.clip(0, len(rows) - 1)])
            for values, unused in ((self._rows, -1), (self._upper, 0), (self._lower, 0)):
                values[start + dropped] = unused
        self._count[: len(rows)][rows] = 0
        self.held = int(self._count[: len(rows)].sum(dtype=np.int64))

    def _mixed(self, start: int, stop: int) -> NDArray[np.uint64]:
        """A number of each entry, which differs where the entry does: [stop − start]."""
        mixed: NDArray[np.uint64] = self._upper[start:stop] * _MIX[0] + self._lower[start:stop] * _MIX[1] + _MIX[2]
        return mixed

    def _pack(self) -> None:
        """Take out the entries that are no longer used. A row's entries stay together, in their order."""
        self._before_packing()
        self._found = {}
        used = self._rows[: self._end] >= 0
        rows = self._rows[: self._end][used]
        self._upper[: self.held] = self._upper[: self._end][used]
        self._lower[: self.held] = self._lower[: self._end][used]
        self._rows[: self.held] = rows
        firsts, starts = np.unique(rows, return_index=True)
        self._start[firsts] = starts
        self._end = self.held


class _Keyed:
    """A label's hash, the same in every process that knows the secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __call__(self, label: str) -> int:
        digest = blake2b(label.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest, "little", signed=True)
