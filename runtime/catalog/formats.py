"""How the catalogue can be held, and what an item takes of memory in each format."""

from pathlib import Path
from typing import NamedTuple

from runtime.catalog import clusters, label_index
from runtime.catalog.binary_matrix import BinaryMatrix
from runtime.catalog.mapped import Arrays
from runtime.catalog.vector_matrix import Float32Matrix, Int8Matrix, Matrix
from runtime.personalization import popularity

LABELS_PER_ITEM = 12  # on average, there is room for so many


# The sequence model's vectors that are kept of a catalogue on disk; the others are computed when they are ranked.
_KEPT_ITEM_VECTORS = 32_768


class ItemBytes(NamedTuple):
    """Of memory an item takes beside its vector: for its id and version, its labels, its popularity."""

    id: int
    labels: int
    counts: int


# With ids of 36 bytes: 96 as a string, up to 40 to find it, 6 of a version and flags. Of the 325 bytes of all three 253
# were measured as float32 (`python -m bench.memory_parts catalogue`).
_IN_MEMORY = ItemBytes(142, LABELS_PER_ITEM * label_index.ENTRY_BYTES + label_index.ROW_BYTES, popularity.COUNT_BYTES)
# A table of hashes (at most 16), a version, three flags and clusters; rows of labels; the rest is in mapped files.
_ON_DISK = ItemBytes(23 + clusters.ROW_BYTES, label_index.KEPT_BYTES, 0)

# From the fastest to the one that takes the least memory.
FORMATS = {"float32": _IN_MEMORY, "int8": _IN_MEMORY, "disk": _ON_DISK}


def row_bytes(format: str, dimensions: int) -> int:
    """Bytes that every search reads of a vector: float32, int8 with its scale and its error, or one bit a dimension and
    a factor."""
    return {"float32": 4 * dimensions, "int8": dimensions + 8, "disk": dimensions // 8 + 4}[format]


def kept_item_vectors(format: str, items: int) -> int:
    """How many of `items` the sequence model's vectors are kept of."""
    return min(items, _KEPT_ITEM_VECTORS) if format == "disk" else items


def new_matrix(format: str, rows: int, dimensions: int, arrays: Arrays) -> Matrix:
    """Raises OSError."""
    if format == "float32":
        return Float32Matrix(rows, dimensions)
    return Int8Matrix(rows, dimensions, arrays.folder) if format == "int8" else BinaryMatrix(rows, dimensions, arrays)


def new_arrays(format: str, folder: Path | None, saved: Path | None = None) -> Arrays:
    """Makes the other arrays by row of a format: on the disk where the vectors are. saved: the folder of what outlives
    the process, of a catalogue on disk."""
    return Arrays(format == "disk", folder, saved)
