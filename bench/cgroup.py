"""A memory cgroup with a hard limit (versions 1 and 2), to run a process as a small machine would."""

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process_memory import MiB
from bench.suite import NotMeasured

CGROUP = Path("/sys/fs/cgroup")
_REMOVE_TRIES = 100
_names = itertools.count()


@dataclass(frozen=True)
class MemoryGroup:
    """A group with a limit. Version 1 and 2 name the same files differently."""

    path: Path
    version: int

    def join(self) -> None:
        """Move the calling process into the group; what it allocates from here on is charged to it."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def peak_mib(self) -> float | None:
        """Highest charge so far, page cache included (so it may touch the limit); None on kernels without it."""
        file = self.path / ("memory.max_usage_in_bytes" if self.version == 1 else "memory.peak")
        return int(file.read_text(encoding="ascii")) / MiB if file.exists() else None

    def anonymous_mib(self) -> float:
        """Anonymous memory charged to the group now."""
        return self._number("memory.stat", "total_rss" if self.version == 1 else "anon") / MiB

    def oom_kills(self) -> int:
        """Processes of the group that the kernel ended for memory."""
        return self._number("memory.oom_control" if self.version == 1 else "memory.events", "oom_kill")

    def _number(self, file: str, name: str) -> int:
        for line in (self.path / file).read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[0] == name:
                return int(words[1])
        return 0


@contextmanager
def memory_limit(limit_mib: int) -> Iterator[MemoryGroup]:
    """A new group limited to `limit_mib` without swap; removed at the end. Its processes must have ended by then.

    Raises NotMeasured when the machine lets this process make none (needs root and a writable cgroup file system).
    """
    if os.geteuid() != 0:
        raise NotMeasured("needs root, to make a memory cgroup")
    version = 1 if (CGROUP / "memory" / "memory.limit_in_bytes").exists() else 2
    path = (CGROUP / "memory" if version == 1 else CGROUP) / f"vows-bench-{os.getpid()}-{next(_names)}"
    try:
        path.mkdir()
    except OSError as error:
        raise NotMeasured(f"needs a writable memory cgroup: {error.strerror}") from error
    try:
        try:
            _write_limit(path, version, limit_mib * MiB)
        except OSError as error:
            raise NotMeasured(f"needs the memory controller: {error}") from error
        yield MemoryGroup(path, version)
    finally:
        _remove(path)


def _write_limit(path: Path, version: int, limit: int) -> None:
    if version == 1:
        (path / "memory.limit_in_bytes").write_text(str(limit), encoding="ascii")
        swap = path / "memory.memsw.limit_in_bytes"
        if swap.exists():
            swap.write_text(str(limit), encoding="ascii")
        return
    (path / "memory.max").write_text(str(limit), encoding="ascii")
    if (path / "memory.swap.max").exists():
        (path / "memory.swap.max").write_text("0", encoding="ascii")


def _remove(path: Path) -> None:
    for _ in range(_REMOVE_TRIES):  # the kernel releases ended processes a moment later
        try:
            path.rmdir()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"cannot remove {path}: a process in it still runs")


def forget_cached(roots: Iterable[Path]) -> None:
    """Drop the files under `roots` from the page cache, so that reading them is charged to the group that does.

    Pages that another running process maps stay.
    """
    for root in roots:
        for path in [root, *root.rglob("*")]:
            if path.is_file() and not path.is_symlink():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)
