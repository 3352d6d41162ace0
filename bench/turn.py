"""A turn at measuring, on a machine where others measure as well."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_AHEAD = -19


@contextmanager
def measuring_turn(core: int, processes: Collection[int]) -> Iterator[None]:
    """Everything inside runs with these processes on one core.

    Where VOWS_BENCH_TURN names a file, whoever locks it measures, ahead of other work if that is allowed: this waits
    for the lock, so keep a turn short.
    """
    file = os.environ.get("VOWS_BENCH_TURN")
    with open(file or os.devnull, "rb") as lock:
        if file:
            fcntl.flock(lock, fcntl.LOCK_EX)
        priority = _AHEAD if file else None
        before = [_placed(thread, {core}, priority) for process in processes for thread in _threads(process)]
        try:
            yield
        finally:
            for thread, cores, priority in before:
                _placed(thread, cores, priority)


def _threads(process: int) -> list[int]:
    return [int(entry.name) for entry in Path(f"/proc/{process}/task").iterdir()]


def _placed(thread: int, cores: set[int], priority: int | None) -> tuple[int, set[int], int | None]:
    """Move a thread, if it is still there; where it was before."""
    was: tuple[int, set[int], int | None] = (thread, cores, priority)
    with suppress(ProcessLookupError):
        was = (thread, os.sched_getaffinity(thread), os.getpriority(os.PRIO_PROCESS, thread))
        os.sched_setaffinity(thread, cores)
        if priority is not None:
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, thread, priority)
    return was
