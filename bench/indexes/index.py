"""What an index under comparison does: it is built from stored vectors, and finds the ten nearest of a query."""

import os
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 384
RESULTS = 10
GROUPS = 100  # an item is in the group of its number modulo this: a filter of 1 %
_CHUNK_ROWS = 10_000

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]


@dataclass
class StoredVectors:
    """Unit vectors float32 [count, 384] in a file, read in chunks so that they are in memory only where an index keeps
    them. `read`: how many the last iteration has passed on."""

    path: Path
    count: int
    read: int = 0

    def chunks(self) -> Iterator[tuple[int, Vectors]]:
        """Each chunk [n, 384] with the number of its first vector."""
        with self.path.open("rb") as file:
            for start in range(0, self.count, _CHUNK_ROWS):
                rows = min(_CHUNK_ROWS, self.count - start)
                self.read = start + rows
                yield start, np.frombuffer(file.read(4 * rows * DIMENSIONS), np.float32).reshape(rows, DIMENSIONS)

    def sample(self, size: int) -> Vectors:
        """Up to `size` of them, evenly spaced."""
        step = -(-self.count // size)
        return np.concatenate([chunk[-start % step :: step] for start, chunk in self.chunks()])


class Index(ABC):
    """One engine with its usual parameters. `settings`: what is raised until recall is high enough, from the fastest to
    the most accurate; an exact index has one. `filters`: whether it can search one group alone."""

    settings: Sequence[dict[str, int]] = ({},)
    filters = True

    def __init__(self, folder: Path) -> None:
        """folder: an empty one for its files."""
        self.folder = folder

    @abstractmethod
    def build(self, vectors: StoredVectors) -> None:
        """Add every vector under its number."""

    def use(self, setting: dict[str, int]) -> None:
        """Search with one of `settings` from now on."""
        self.setting = setting

    @abstractmethod
    def search(self, query: Vectors, group: int | None = None) -> Sequence[int]:
        """The numbers of the nearest ten to a unit vector [384], of one group where it is named."""

    def disk_bytes(self) -> int:
        """Bytes on the disk: under its folder, and of files without a name."""
        entries = [entry.stat() for entry in self.folder.rglob("*") if entry.is_file()]
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                entries.append(os.fstat(int(descriptor)))
            except OSError:  # the one that listed them
                continue
        files = {entry.st_ino: entry.st_blocks * 512 for entry in entries if stat.S_ISREG(entry.st_mode)}
        return sum(files.values())

    def progress(self) -> str:
        """How far `build` is, where that is not the number of vectors it has read. Another thread asks."""
        return ""

    def processes(self) -> list[int]:
        """Whose memory it is."""
        return [os.getpid()]

    def close(self) -> None:
        """Delete its files, and stop what runs beside this process."""
        shutil.rmtree(self.folder, ignore_errors=True)
