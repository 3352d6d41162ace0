"""How glibc's malloc takes memory and gives it back."""

import ctypes

# Parameters of mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_THRESHOLD_BYTES = 128 * 1024  # where glibc starts; left alone it goes up to 32 MiB with the largest block ever freed
# Free memory at the heap's end that stays the process's: what a request takes and frees is not made of new pages each
# time, which took up to a tenth of a search and of recommendations.
KEPT_FREE_BYTES = 1 << 20


def one_heap() -> None:
    """One heap for all threads, where each would get its own. Before any thread is started."""
    _mallopt(_M_ARENA_MAX, 1)


def give_back_freed() -> None:
    """Hand back what loading left free, and from now on keep large blocks out of the heap, where what outlives them
    would pin them: they go back to the system as they are freed, but for KEPT_FREE_BYTES.

    After loading, which takes and frees so many that asking the system for each would slow the start by a twentieth.
    """
    _mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
    _mallopt(_M_TRIM_THRESHOLD, _THRESHOLD_BYTES)
    _mallopt(_M_TOP_PAD, KEPT_FREE_BYTES)
    if (trim := _libc("malloc_trim")) is not None:
        trim(0)


def _mallopt(parameter: int, value: int) -> None:
    if (mallopt := _libc("mallopt")) is not None:
        mallopt(parameter, value)


def _libc(function: str) -> "ctypes._NamedFuncPointer | None":
    """None where the C library is not glibc (musl): nothing is set then."""
    try:
        return getattr(ctypes.CDLL(None), function, None)
    except OSError:
        return None
