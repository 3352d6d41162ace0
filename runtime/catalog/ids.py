"""Content id ↔ row: in dictionaries, or as hashes with the ids on the disk."""

import secrets
from collections.abc import Sequence
from hashlib import shake_256
from itertools import repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.files import RowDamaged
from runtime.catalog.mapped import Arrays

MAX_ID_BYTES = 256


class Ids(Protocol):
    """The ids of rows that hold an item."""

    def __len__(self) -> int: ...

    def reserve(self, rows: int) -> None:
        """Make sure that the first `rows` can be written. Raises OSError."""
        ...

    def row(self, id: str) -> int:
        """The row of an id; −1 where it has none."""
        ...

    def rows(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """The row of each id, [n]; −1 where it has none."""
        ...

    def ids(self, rows: NDArray[np.intp]) -> list[str]:
        """The ids of rows that hold an item."""
        ...

    def add(self, id: str, row: int) -> None:
        """Give a free row to an id that has none."""
        ...

    def remove(self, id: str, row: int) -> None:
        """Free the row of an id."""


class IdDictionary:
    """About 210 bytes an item for ids of 36 characters, and the fastest look-up."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._ids: list[str | None] = []  # by row

    def __len__(self) -> int:
        return len(self._rows)

    def reserve(self, rows: int) -> None:
        """As of `Ids`."""

    def row(self, id: str) -> int:
        return self._rows.get(id, -1)

    def rows(self, ids: Sequence[str]) -> NDArray[np.intp]:
        return np.fromiter(map(self._rows.get, ids, repeat(-1)), np.intp, len(ids))

    def ids(self, rows: NDArray[np.intp]) -> list[str]:
        return [id for row in rows.tolist() if (id := self._ids[row]) is not None]

    def add(self, id: str, row: int) -> None:
        self._ids.extend([None] * (row + 1 - len(self._ids)))
        self._rows[id] = row
        self._ids[row] = id

    def remove(self, id: str, row: int) -> None:
        del self._rows[id]
        self._ids[row] = None


_DELETED = np.uint32(0xFFFFFFFF)
_SLOTS_PER_ROW = 2  # of the table, at least
_UNSAVED = Arrays(on_disk=True)


class IdHashes:
    """Hashes of 64 bits, an open table from them to rows, and the ids in a file.

    Memory: about 12 bytes a row for the table; 8 of the hash and 258 of the id in files that are mapped. Two ids are
    taken for the same when their hashes are, which under a secret key happens once in 30 million catalogues of a
    million items.

    The hash is two multilinear functions of the characters with random keys of 64 bits, the upper 32 bits of each
    (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): computed for a thousand ids at once.
    """

    def __init__(self, capacity: int, arrays: Arrays = _UNSAVED, secret: bytes = b"") -> None:
        """secret: of the hashes; without one it is chosen at random."""
        size = 1 << max(4, (_SLOTS_PER_ROW * capacity - 1).bit_length())
        self._table = np.zeros(size, np.uint32)  # row + 1; 0: never used
        self._used = 0  # slots that are not 0
        self._count = 0
        self._hashes = arrays.mapped(capacity, (), np.uint64, "hashes")
        self._text = arrays.mapped(capacity, (MAX_ID_BYTES,), np.uint8, "ids")
        self._length = arrays.mapped(capacity, (), np.uint32, "id-lengths")  # in bytes; 0: the row is free
        self._text.read_at_random()
        self._rows = 0  # rows ever used
        keys = shake_256(secret or secrets.token_bytes(16)).digest(16 * (MAX_ID_BYTES + 1))
        self._keys = np.frombuffer(keys, np.uint64).reshape(2, -1)

    def __len__(self) -> int:
        return self._count

    def reserve(self, rows: int) -> None:
        """Make sure that the first `rows` can be written. Raises OSError."""
        for one in (self._hashes, self._text, self._length):
            one.reserve(rows)

    def row(self, id: str) -> int:
        return int(self.rows([id])[0])

    def rows(self, ids: Sequence[str]) -> NDArray[np.intp]:
        found = np.full(len(ids), -1, np.intp)
        if not ids:
            return found
        hashes = self._hash(ids)
        left, slots = np.arange(len(ids)), self._slots(hashes)
        while len(left):
            entries = self._table[slots]
            at = entries.astype(np.intp) - 1  # −1: never used
            row = np.where((entries == 0) | (entries == _DELETED), 0, at)
            here = (entries != 0) & (entries != _DELETED) & (self._hashes.rows[row] == hashes[left])
            found[left[here]] = row[here]
            on = ~here & (entries != 0)
            left, slots = left[on], (slots[on] + 1) & (len(self._table) - 1)
        return found

    def ids(self, rows: NDArray[np.intp]) -> list[str]:
        """Raises RowDamaged, with the rows, where an id is not what its hash was made of."""
        lengths = self._length.rows[rows]
        held, lengths = rows[lengths > 0], lengths[lengths > 0].tolist()
        texts = self._text.gather(held).tobytes()
        ids = [
            texts[start : start + length].decode(errors="replace")
            for start, length in zip(range(0, len(texts), MAX_ID_BYTES), lengths, strict=True)
        ]
        if ids and (wrong := self._hash(ids) != self._hashes.rows[held]).any():
            raise RowDamaged(held[wrong].tolist())
        return ids

    def add(self, id: str, row: int) -> None:
        self.reserve(row + 1)
        data = id.encode()
        if not 1 <= len(data) <= MAX_ID_BYTES:
            raise ValueError(f"an id has 1 to {MAX_ID_BYTES} bytes, this one has {len(data)}")
        hashes = self._hash([id])
        self._hashes.rows[row] = hashes[0]
        self._text.rows[row, : len(data)] = np.frombuffer(data, np.uint8)
        self._length.rows[row] = len(data)
        self._rows = max(self._rows, row + 1)
        self._count += 1
        if 4 * self._used >= 3 * len(self._table):  # of deleted ones: the rows fill half at the most
            self._build()
        else:
            self._insert(int(self._slots(hashes)[0]), row)

    def remove(self, id: str, row: int) -> None:
        self.forget(row)

    def forget(self, row: int) -> None:
        """Remove whatever id a row has."""
        slot = int(self._slots(self._hashes.rows[row : row + 1])[0])
        while self._table[slot] != row + 1:
            slot = (slot + 1) & (len(self._table) - 1)
        self._table[slot] = _DELETED
        self.erase(row)
        self._count -= 1

    def erase(self, row: int) -> None:
        """Overwrite what the files hold of a row."""
        self._text.rows[row] = 0
        self._hashes.rows[row] = 0
        self._length.rows[row] = 0

    @property
    def in_files(self) -> list[NDArray[np.generic]]:
        """What is there of each row beside the id itself, which its hash stands for."""
        return [self._hashes.rows, self._length.rows]

    def held(self, rows: int) -> NDArray[np.bool_]:
        """Which of the first rows have an id, [rows]."""
        has: NDArray[np.bool_] = (self._length.rows[:rows] > 0) & (self._hashes.rows[:rows] > 0)
        return has

    def among(self, rows: int, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Which of the first rows have the hash of one of these ids, [rows]."""
        return np.isin(self._hashes.rows[:rows], self._hash(ids)) if ids else np.zeros(rows, np.bool_)

    def read(self, rows: int) -> None:
        """Take the first rows from saved files."""
        self._rows = rows
        self._build()
        self._count = self._used

    def _insert(self, slot: int, row: int) -> None:
        while self._table[slot] not in (0, _DELETED):
            slot = (slot + 1) & (len(self._table) - 1)
        self._used += self._table[slot] == 0
        self._table[slot] = row + 1

    def _build(self) -> None:
        """The table anew, without what was deleted."""
        self._table[:] = 0
        self._used = 0
        left = np.flatnonzero(self.held(self._rows)).astype(np.uint32)
        self._used = len(left)
        slots = self._slots(self._hashes.rows[left])
        while len(left):  # those that get the slot they are at, until all have one
            free = self._table[slots] == 0
            self._table[slots[free]] = left[free] + 1
            on = self._table[slots] != left + 1
            left, slots = left[on], (slots[on] + 1) & (len(self._table) - 1)

    def _slots(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        return (hashes & np.uint64(len(self._table) - 1)).astype(np.intp)

    def _hash(self, ids: Sequence[str]) -> NDArray[np.uint64]:
        lengths = np.fromiter(map(len, ids), np.uint64, len(ids))
        longest = int(lengths.max())
        characters = np.array(ids, f"U{longest}").view(np.uint32).reshape(len(ids), longest).astype(np.uint64)
        first, second = (
            (characters @ keys[1 : longest + 1] + keys[0] * (lengths + np.uint64(1))) >> np.uint64(32)
            for keys in self._keys
        )
        hashes: NDArray[np.uint64] = first << np.uint64(32) | second
        return hashes
