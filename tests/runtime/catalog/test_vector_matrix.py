import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from runtime.catalog.vector_matrix import Float32Matrix, Int8Matrix, row_bytes
from runtime.personalization.ranking import cosine_scores, normalised

unit_rows = npst.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(8)), elements=st.floats(-1, 1, width=32)
).filter(lambda rows: (np.abs(rows).max(axis=1) > 1e-3).all())


@settings(deadline=None)
@given(unit_rows, st.integers(0, 2**32 - 1))
def test_an_int8_score_is_off_by_no_more_than_it_says(rows, seed):
    rows = normalised(rows)
    query = normalised(np.random.default_rng(seed).standard_normal(8))
    matrix = Int8Matrix(len(rows), 8)
    for n, row in enumerate(rows):
        matrix.set(n, row)
    every = np.arange(len(rows))
    off = np.abs(matrix.scores(query, 0, len(rows)) - rows.astype(np.float64) @ query)
    assert (off <= matrix.errors(every)).all()
    np.testing.assert_allclose(matrix.held(every), rows, atol=1 / 250)
    np.testing.assert_array_equal(matrix.held(every), [matrix.row(n) for n in every])


@pytest.mark.parametrize("kind", [Float32Matrix, Int8Matrix])
def test_scores_of_any_range_of_rows(kind):
    rows = normalised(np.random.default_rng(2).standard_normal((1_300, 16)))
    matrix = kind(1_300, 16)
    for n, row in enumerate(rows):
        matrix.set(n, row)
    for start, stop in ((0, 1_300), (3, 4), (500, 1_100), (7, 7)):
        np.testing.assert_allclose(
            matrix.scores(rows[9], start, stop), cosine_scores(rows[9], rows[start:stop]), atol=0.02
        )
    assert matrix.row_bytes == row_bytes("float32" if kind is Float32Matrix else "int8", 16)


def test_the_error_of_embeddings_is_small():
    rows = normalised(np.random.default_rng(3).standard_normal((50, 384)))
    matrix = Int8Matrix(50, 384)
    for n, row in enumerate(rows):
        matrix.set(n, row)
    assert matrix.errors(np.arange(50)).max() < 0.01
