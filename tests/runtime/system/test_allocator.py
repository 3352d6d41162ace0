"""What is freed goes back to the system. Each in a process of its own: malloc's settings last."""

import subprocess
import sys

import pytest

from tests.waiting import WAIT_S

HEAP = """
import ctypes, sys
from runtime.system.allocator import give_back_freed, one_heap
from runtime.system.host import process_memory
one_heap()
held = lambda: process_memory().anonymous
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def take(size, count):
    blocks = [libc.malloc(size) for _ in range(count)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    return blocks
"""


def run(program):
    done = subprocess.run([sys.executable, "-c", HEAP + program], capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


@pytest.fixture(scope="module", autouse=True)
def _glibc():
    import ctypes

    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("the C library is not glibc: nothing is set")


def test_what_loading_freed_below_something_that_stays_is_given_back():
    before, freed, given = run("""
before = held()
blocks = take(60_000, 500)          # 30 MB in the heap
stays = take(60_000, 1)             # above them: malloc cannot shorten the heap
for block in blocks: libc.free(block)
freed = held()
give_back_freed()
print(before, freed, held())
""")
    assert freed - before > 25e6
    assert given - before < 5e6


def test_large_blocks_go_back_as_they_are_freed_whatever_was_freed_before():
    """glibc raises its threshold to the largest block ever freed; then such blocks stay in the heap, below others."""
    before, after = run("""
give_back_freed()
libc.free(take(16 << 20, 1)[0])
before = held()
blocks = take(1 << 20, 30)
stays = take(1 << 20, 1)
for block in blocks: libc.free(block)
print(before, held())
""")
    assert after - before < 4e6


def test_what_is_taken_and_freed_again_and_again_is_not_made_of_new_pages():
    (faults,) = run("""
from resource import RUSAGE_SELF, getrusage
give_back_freed()
faults = lambda: getrusage(RUSAGE_SELF).ru_minflt
for n in range(101):
    if n == 1: before = faults()
    for block in take(100_000, 8): libc.free(block)
print(faults() - before)
""")
    assert faults < 2_000  # of 20,000 without what is kept


def test_threads_share_one_heap():
    heaps = run("""
import threading
def work():
    for block in take(1_000, 1_000): libc.free(block)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fdopen.restype = ctypes.c_void_p
import os, tempfile
with tempfile.TemporaryFile() as file:
    stream = libc.fdopen(os.dup(file.fileno()), b"w")
    libc.malloc_info(0, stream)
    libc.fflush(ctypes.c_void_p(stream))
    file.seek(0)
    print(file.read().count(b"<heap nr="))
""")
    assert heaps == [1]
