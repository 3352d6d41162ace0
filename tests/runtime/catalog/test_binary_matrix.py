"""Estimates of one bit a dimension: unbiased, and as far off as they say."""

import numpy as np

from runtime.catalog.binary_matrix import BinaryMatrix
from runtime.personalization.ranking import normalised


def scores_by_definition(matrix, rows, query):
    """The reference: signs times the rotated query, divided by the sum of the row's absolute values."""
    rotated = rows @ matrix._rotation.T
    return (np.sign(rotated) @ (matrix._rotation @ query)) / np.abs(rotated).sum(axis=1)


def filled(rows):
    matrix = BinaryMatrix(len(rows), rows.shape[1])
    for n, row in enumerate(rows):
        matrix.set(n, row)
    return matrix


def test_a_score_is_what_the_paper_says_but_for_the_query_in_four_bits():
    rows = normalised(np.random.default_rng(1).standard_normal((900, 384)))
    matrix = filled(rows)
    query = normalised(rows[0] + 0.5 * rows[1])
    found = matrix.scan(query).scores(0, 900)
    np.testing.assert_allclose(found, scores_by_definition(matrix, rows, query), atol=0.04)
    np.testing.assert_array_equal(matrix.scan(query).scores(300, 500), found[300:500])
    assert matrix.scan(query).scores(7, 7).shape == (0,)
    np.testing.assert_array_equal(matrix.exact(np.array([5, 2])), rows[[5, 2]])  # to the last bit
    np.testing.assert_array_equal(matrix.row(9), rows[9])


def test_nineteen_of_twenty_scores_are_off_by_no_more_than_they_say():
    rng = np.random.default_rng(2)
    centres = normalised(rng.standard_normal((20, 384)))
    rows = normalised(centres[rng.integers(0, 20, 2_000)] + 0.03 * rng.standard_normal((2_000, 384)))
    matrix, off, said = filled(rows), [], []
    for query in rows[:50]:
        scan = matrix.scan(query)
        off.append(scan.scores(0, 2_000) - rows @ query)
        said.append(scan.errors(np.arange(2_000)))
    off, said = np.stack(off), np.stack(said)
    assert 0.94 < (np.abs(off) <= said).mean() < 0.99
    assert said.max() < 0.12
    assert abs(off.mean()) < 0.01
