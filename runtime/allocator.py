"""How glibc's malloc takes memory and gives it back, set once before anything large is loaded."""

import ctypes

# Parameters of mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_THRESHOLD_BYTES = 128 * 1024  # glibc's own, but fixed: left alone it grows to 32 MiB with the first large block freed


def give_memory_back() -> bool:
    """One heap for all threads, and large blocks outside it, so that what is freed goes back to the system.

    By default every thread gets a heap of its own, and after the first large request such blocks are cut from the heap,
    where what outlives them pins them. False where the C library has no mallopt (musl): nothing is changed then.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(
        mallopt(parameter, value) == 1
        for parameter, value in (
            (_M_ARENA_MAX, 1),
            (_M_MMAP_THRESHOLD, _THRESHOLD_BYTES),
            (_M_TRIM_THRESHOLD, _THRESHOLD_BYTES),
        )
    )
