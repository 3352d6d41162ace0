"""Content id ↔ row, by hashes of the ids: these are in memory, or on the disk."""

import secrets
from collections.abc import Sequence
from hashlib import shake_256
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.files import RowDamaged
from runtime.catalog.hash_table import HashTable
from runtime.catalog.mapped import Arrays

MAX_ID_BYTES = 256
_FEW = 32  # ids that are found sooner one by one
_FIRST_ROWS = 16
_ALL_BITS = (1 << 64) - 1


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


class MemoryIds:
    """Python strings, found by their hashes, which are random in each process: about 125 bytes an item for ids of 36
    characters. A dictionary takes 30 more, and twice as long for a thousand ids that are not in the processor's caches.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = max(capacity, 1)
        self._hashes = np.zeros(self._capacity, np.uint64)
        self._table = HashTable(capacity, self._hashes)
        self._ids = np.empty(_FIRST_ROWS, object)  # by row; None of a free one
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def reserve(self, rows: int) -> None:
        """As of `Ids`."""

    def row(self, id: str) -> int:
        for row in self._table.rows_of(hash(id) & _ALL_BITS):
            if self._ids[row] == id:
                return row
        return -1

    def rows(self, ids: Sequence[str]) -> NDArray[np.intp]:
        if len(ids) <= _FEW:
            return np.fromiter(map(self.row, ids), np.intp, len(ids))
        found = self._table.rows(np.fromiter(map(hash, ids), np.int64, len(ids)).view(np.uint64))
        held = self._ids[found].tolist()
        if held != ids:  # an unknown one, of which `found` is −1, or another one's hash
            for n in [n for n, (one, id) in enumerate(zip(held, ids, strict=True)) if one != id and found[n] >= 0]:
                found[n] = self.row(ids[n])
        return found

    def ids(self, rows: NDArray[np.intp]) -> list[str]:
        return [id for id in self._ids[rows].tolist() if id is not None]

    def add(self, id: str, row: int) -> None:
        if row >= len(self._ids):
            longer = np.empty(min(max(2 * len(self._ids), row + 1), self._capacity), object)
            longer[: len(self._ids)] = self._ids
            self._ids = longer
        self._ids[row] = id
        self._hashes[row] = hash(id) & _ALL_BITS
        self._table.add(row)
        self._count += 1

    def remove(self, id: str, row: int) -> None:
        self._table.remove(row)
        self._ids[row] = None
        self._count -= 1


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
        self._count = 0
        self._hashes = arrays.mapped(capacity, (), np.uint64, "hashes")
        self._table = HashTable(capacity, self._hashes.rows)
        self._text = arrays.mapped(capacity, (MAX_ID_BYTES,), np.uint8, "ids")
        self._length = arrays.mapped(capacity, (), np.uint32, "id-lengths")  # in bytes; 0: the row is free
        self._text.read_at_random()
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
        return self._table.rows(self._hash(ids)) if ids else np.empty(0, np.intp)

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
        self._hashes.rows[row] = self._hash([id])[0]
        self._text.rows[row, : len(data)] = np.frombuffer(data, np.uint8)
        self._length.rows[row] = len(data)
        self._count += 1
        self._table.add(row)

    def remove(self, id: str, row: int) -> None:
        self.forget(row)

    def forget(self, row: int) -> None:
        """Remove whatever id a row has."""
        self._table.remove(row)
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
        held = np.flatnonzero(self.held(rows))
        self._table.build(held)
        self._count = len(held)

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
