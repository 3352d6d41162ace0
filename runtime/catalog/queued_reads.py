"""Many reads of one file under way at once, without threads: io_submit(2) of Linux, which Python has no function for.

Of rows read by eight threads half of the CPU went into switching between them and telling the device of each row alone
(docs/decisions/027). It is asynchronous for files opened with O_DIRECT only.
"""

import ctypes
import errno
import os
import platform
import threading
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

DEPTH = 64  # reads under way; 128 were no quicker

# Of io_setup, io_destroy, io_submit and io_getevents
_SYSCALLS = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)}

# struct iocb and struct io_event of linux/aio_abi.h, on a little-endian machine
_READ = np.dtype([
    ("data", "u8"), ("key", "u4"), ("flags_of_read", "i4"), ("opcode", "u2"), ("priority", "i2"), ("file", "u4"),
    ("buffer", "u8"), ("bytes", "u8"), ("offset", "i8"), ("reserved", "u8"), ("flags", "u4"), ("event_file", "u4"),
])  # fmt: skip
_DONE = np.dtype([("data", "u8"), ("read", "u8"), ("result", "i8"), ("result2", "i8")])


class QueuedReads:
    """A queue of the kernel's. May be used by several threads, one at a time."""

    def __init__(self) -> None:
        """Raises OSError where the system has none, or allows none."""
        if (numbers := _SYSCALLS.get(platform.machine())) is None:
            raise OSError(errno.ENOSYS, f"it is not known how {platform.machine()} has them")
        setup, self._destroy, self._submit, self._get = numbers
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._queue = ctypes.c_ulong(0)
        self._turn = threading.Lock()
        self._done = np.zeros(DEPTH, _DONE)
        self._call(setup, ctypes.c_long(DEPTH), ctypes.byref(self._queue))

    def __del__(self) -> None:
        if getattr(self, "_queue", None):
            with suppress(OSError):
                self._call(self._destroy, self._queue)

    def read(self, file: int, rows: NDArray[np.intp], row_bytes: int, target: NDArray[np.uint8]) -> None:
        """Read the rows [k] of a file into target [k · row_bytes], aligned as O_DIRECT needs it. Raises OSError."""
        count = len(rows)
        places = np.arange(count, dtype=np.uint64)
        reads = np.zeros(count, _READ)
        reads["data"], reads["file"], reads["bytes"] = places, file, row_bytes
        reads["offset"] = rows * row_bytes
        reads["buffer"] = target.ctypes.data + row_bytes * places
        pointers = reads.ctypes.data + _READ.itemsize * places
        sent, done, failure = 0, 0, None
        with self._turn:
            try:
                while done < count and failure is None:
                    if room := min(DEPTH - (sent - done), count - sent):
                        start = ctypes.c_void_p(pointers.ctypes.data + pointers.itemsize * sent)
                        sent += self._call(self._submit, self._queue, ctypes.c_long(room), start)
                    ended = self._wait()
                    done += len(ended)
                    failure = next(iter(ended[ended["result"] != row_bytes]), None)
            finally:
                while done < sent:  # the kernel still writes into `target`
                    done += len(self._wait())
        if failure is not None:
            if failure["result"] < 0:
                raise OSError(-int(failure["result"]), os.strerror(-int(failure["result"])))
            raise OSError(errno.EIO, f"row {rows[int(failure['data'])]} is cut off on the disk")

    def _wait(self) -> NDArray[np.void]:
        """The reads that have ended, at least one."""
        least, most = ctypes.c_long(1), ctypes.c_long(DEPTH)
        count = self._call(self._get, self._queue, least, most, ctypes.c_void_p(self._done.ctypes.data), None)
        ended: NDArray[np.void] = self._done[:count].copy()
        return ended

    def _call(self, *arguments: object) -> int:
        while True:
            if (found := int(self._syscall(*arguments))) >= 0:
                return found
            if (error := ctypes.get_errno()) != errno.EINTR:
                raise OSError(error, os.strerror(error))
