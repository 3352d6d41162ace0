"""Reads past the page cache give what was written, whatever is still on its way to the disk."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from runtime.catalog.direct_reads import DirectReads, NoDirectReads
from runtime.catalog.mapped import MappedArray
from runtime.catalog.queued_reads import QueuedReads


@pytest.fixture(params=["queue", "threads"])
def reads_past_cache(request, monkeypatch):
    """As where next to none of a file fits in memory: with the kernel's queue, and where that is not allowed."""
    if request.param == "queue":
        try:
            QueuedReads()
        except OSError as error:
            pytest.skip(f"this system has no queue of reads: {error}")
    else:

        def refused(self):
            raise OSError("as in a container that allows none")

        monkeypatch.setattr(QueuedReads, "__init__", refused)
    monkeypatch.setattr("runtime.catalog.mapped.memory_limit", lambda: 1)


def past_cache(file):
    file.read_past_cache()
    if file._direct is None:
        pytest.skip("this file system has no direct reads")
    return file


def test_rows_are_what_was_written_last(tmp_path, reads_past_cache):
    file = past_cache(MappedArray(tmp_path, 3_000, (384,), np.float32))
    rows = np.random.default_rng(1).standard_normal((3_000, 384)).astype(np.float32)
    for n, row in enumerate(rows):
        file.write(n, row)
    for some in (np.array([2_999]), np.arange(0, 3_000, 7), np.array([5, 5, 1]), np.empty(0, np.intp)):
        np.testing.assert_array_equal(file.gather(some), rows[some])
    file.write(5, rows[6])
    np.testing.assert_array_equal(file.gather(np.array([5])), rows[[6]])


def test_rows_that_no_device_reads_alone_go_through_the_cache(tmp_path, reads_past_cache):
    file = MappedArray(tmp_path, 10, (100,), np.float32)
    file.read_past_cache()
    file.write(3, np.ones(100, np.float32))
    assert file.gather(np.array([3])).sum() == 100
    with pytest.raises(NoDirectReads, match="400 bytes, no multiple of 512"):
        DirectReads(file._file.descriptor, 400)


def test_a_file_of_which_much_fits_in_memory_goes_through_the_cache(tmp_path):
    file = MappedArray(tmp_path, 10, (384,), np.float32)
    file.read_past_cache()
    assert file._direct is None


def test_a_row_that_is_cut_off_is_an_error(tmp_path, reads_past_cache):
    file = past_cache(MappedArray(tmp_path, 10, (384,), np.float32))
    with pytest.raises(OSError, match="row 10 is cut off"):
        file.gather(np.array([0, 10]))


def test_many_threads_read_at_once(tmp_path, reads_past_cache):
    file = past_cache(MappedArray(tmp_path, 1_000, (384,), np.float32))
    written = np.random.default_rng(2).standard_normal((1_000, 384)).astype(np.float32)
    for n, row in enumerate(written):
        file.write(n, row)
    draw = np.random.default_rng(3)
    some = [draw.integers(0, 1_000, 200) for _ in range(40)]
    with ThreadPoolExecutor(8) as threads:
        for rows, found in zip(some, threads.map(file.gather, some), strict=True):
            np.testing.assert_array_equal(found, written[rows])
