"""A turn at measuring, on a machine where others measure as well."""

import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bench.suite import NotMeasured

_AHEAD = -19


@contextmanager
def measuring_turn(processes: Collection[int], core: int | None = None) -> Iterator[None]:
    """Everything inside runs with these processes on `core`, or where they are.

    Where VOWS_BENCH_TURN names a file, whoever locks it measures, ahead of other work if that is allowed: this waits
    for the lock, so keep a turn short. Raises NotMeasured where a core may not be chosen.
    """
    file = os.environ.get("VOWS_BENCH_TURN")
    with open(file or os.devnull, "rb") as lock, ExitStack() as undo:
        if file:
            fcntl.flock(lock, fcntl.LOCK_EX)
        for process in processes:
            with suppress(ProcessLookupError, FileNotFoundError):  # it has ended
                if file:
                    _put_session_ahead(process, undo.callback)
                if core is not None:
                    for thread in map(int, os.listdir(f"/proc/{process}/task")):
                        before = os.sched_getaffinity(thread)
                        _pin(thread, {core})
                        undo.callback(_pin, thread, before)
        yield


def _pin(thread: int, cores: set[int]) -> None:
    try:
        os.sched_setaffinity(thread, cores)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise NotMeasured("choosing the core of another user's process needs the capability CAP_SYS_NICE") from None


def _put_session_ahead(process: int, undo: Callable[..., object]) -> None:
    """Of a kernel that shares a core among sessions (autogroup), where a process's own priority counts in its session
    alone; and of one that does not."""
    group, before = Path(f"/proc/{process}/autogroup"), os.getpriority(os.PRIO_PROCESS, process)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process, _AHEAD)
        undo(_set_priority, process, before)
    with suppress(OSError):
        shown = group.read_text(encoding="ascii").split()
        if shown:  # empty where a control group of its own divides the core instead, as in most containers
            group.write_text(str(_AHEAD), encoding="ascii")
            undo(_set_group, group, shown[-1])


def _set_priority(process: int, priority: int) -> None:
    with suppress(OSError):  # it has ended
        os.setpriority(os.PRIO_PROCESS, process, priority)


def _set_group(group: Path, priority: str) -> None:
    with suppress(OSError):  # its process has ended
        group.write_text(priority, encoding="ascii")
