import errno
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from runtime.catalog.catalog import Catalog, CatalogFull
from runtime.catalog.formats import row_bytes
from runtime.catalog.mapped import MappedArray
from runtime.catalog.vector_matrix import Float32Matrix, Int8Matrix
from runtime.personalization.ranking import cosine_scores, normalised
from runtime.system.host import process_memory

unit_rows = npst.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(8)), elements=st.floats(-1, 1, width=32)
).filter(lambda rows: (np.abs(rows).max(axis=1) > 1e-3).all())


@given(unit_rows, st.integers(0, 2**32 - 1))
def test_an_int8_score_is_off_by_no_more_than_it_says(rows, seed):
    rows = normalised(rows)
    query = normalised(np.random.default_rng(seed).standard_normal(8))
    matrix = Int8Matrix(len(rows), 8)
    for n, row in enumerate(rows):
        matrix.set(n, row)
    every, scan = np.arange(len(rows)), matrix.scan(query)
    off = np.abs(scan.scores(0, len(rows)) - rows.astype(np.float64) @ query)
    assert (off <= scan.errors(every)).all()
    np.testing.assert_allclose([matrix.row(n) for n in every], rows, atol=1 / 250)
    np.testing.assert_array_equal(matrix.exact(every), rows)  # to the last bit


def test_the_products_are_those_of_whole_numbers():
    """The reference is numpy's product of the int8 vectors as int64: no kernel may saturate or round."""
    rng = np.random.default_rng(5)
    rows = rng.choice([-1.0, 1.0], (70, 384)).astype(np.float32)  # every int8 is ±127
    rows[1:] = normalised(rng.standard_normal((69, 384)))
    matrix = Int8Matrix(70, 384)
    for n, row in enumerate(rows):
        matrix.set(n, row)
    for query in (rows[0], rows[1]):
        scan = matrix.scan(query)
        whole = matrix._rows.astype(np.int64)
        coarse, fine = whole @ scan._coarse.astype(np.int64), whole @ scan._fine.astype(np.int64)
        expected = (coarse * float(scan._coarse_scale) + fine * float(scan._fine_scale)) * matrix._scales
        np.testing.assert_allclose(scan.scores(0, 70), expected, rtol=1e-6, atol=1e-6)


def test_a_scan_leaves_no_reference_behind():
    """A kernel that is called with `out` takes a reference to None at each call, until Python ends."""
    matrix = Int8Matrix(4, 384)
    for n in range(4):
        matrix.set(n, np.ones(384, np.float32))
    scan = matrix.scan(np.ones(384, np.float32))
    before = sys.getrefcount(None)
    for _ in range(1_000):
        scan.scores(0, 4)
    assert abs(sys.getrefcount(None) - before) < 100


def test_rows_of_a_file_are_there_at_any_size(tmp_path):
    rows = np.random.default_rng(6).standard_normal((3_000, 384)).astype(np.float32)
    file = MappedArray(tmp_path, 3_000, (384,), np.float32)
    for n in (0, 2_999, 1_500):
        file.write(n, rows[n])
    some = np.array([2_999, 0, 1_500, 0])
    for _ in range(2):  # as if they were on the disk, and as they are
        np.testing.assert_array_equal(file.gather(some), rows[some])
    with pytest.raises(OSError, match="3001 rows are more"):
        file.reserve(3_001)
    assert list(tmp_path.iterdir()) == []  # nothing is left, however the process ends


@pytest.mark.parametrize("format", ["int8", "disk"])
def test_a_full_disk_is_an_error_before_anything_is_written(format, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    catalog = Catalog(8, 16 * 10, format, tmp_path)
    monkeypatch.setattr("os.posix_fallocate", full)
    with (
        pytest.raises(CatalogFull, match="1 more items do not fit on the disk: No space left"),
        catalog.room_for("a"),
    ):
        pass
    monkeypatch.undo()
    with catalog.room_for("a"):
        catalog.put("a", np.ones(8, np.float32))
    assert "a" in catalog


@pytest.mark.parametrize("kind", [Float32Matrix, Int8Matrix])
def test_scores_of_any_range_of_rows(kind):
    rows = normalised(np.random.default_rng(2).standard_normal((1_300, 16)))
    matrix = kind(1_300, 16)
    for n, row in enumerate(rows):
        matrix.set(n, row)
    for start, stop in ((0, 1_300), (3, 4), (500, 1_100), (7, 7)):
        np.testing.assert_allclose(
            matrix.scan(rows[9]).scores(start, stop), cosine_scores(rows[9], rows[start:stop]), atol=0.02
        )
    assert matrix.row_bytes == row_bytes("float32" if kind is Float32Matrix else "int8", 16)


def test_the_error_of_embeddings_is_small():
    rows = normalised(np.random.default_rng(3).standard_normal((50, 384)))
    matrix = Int8Matrix(50, 384)
    for n, row in enumerate(rows):
        matrix.set(n, row)
    assert matrix.scan(rows[0]).errors(np.arange(50)).max() < 0.01


def test_rows_that_were_read_in_a_pass_need_not_stay_resident(tmp_path):
    rows = normalised(np.random.default_rng(1).standard_normal((4096, 512)).astype(np.float32))
    matrix = Int8Matrix(*rows.shape, tmp_path)
    for row, vector in enumerate(rows):
        matrix.set(row, vector)
    every = np.arange(len(rows))
    assert (matrix.exact(every) == rows).all()
    resident = process_memory().file
    matrix.release()
    assert resident - process_memory().file > rows.nbytes // 2
    assert (matrix.exact(every) == rows).all()
