"""Estimates of one bit a dimension: unbiased, and as far off as they say."""

import asyncio

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


def clustered(seed, rows):
    rng = np.random.default_rng(seed)
    centres = normalised(rng.standard_normal((20, 384)))
    return normalised(centres[rng.integers(0, 20, rows)] + 0.03 * rng.standard_normal((rows, 384)))


def test_a_closer_score_is_what_the_paper_says_and_half_as_far_off():
    rows = clustered(3, 2_000)
    matrix, every = filled(rows), np.arange(2_000)
    rotated = rows @ matrix._rotation.T
    numbers = np.sign(rotated) * np.where(np.abs(rotated) > 0.9957 / np.sqrt(384), 3, 1)
    off, closer_off, said = [], [], []
    for query in rows[:50]:
        scan = matrix.scan(query)
        scores, errors = scan.closer(every, asyncio.run(matrix.finer(every)))
        by_definition = numbers @ (matrix._rotation @ query) / (numbers * rotated).sum(axis=1)
        np.testing.assert_allclose(scores, by_definition, atol=0.05)
        off.append(scan.scores_of(every) - rows @ query)
        closer_off.append(scores - rows @ query)
        said.append(errors)
    assert 1.7 < np.std(off) / np.std(closer_off) < 2.4
    assert 0.94 < (np.abs(closer_off) <= np.stack(said)).mean() < 0.99


def test_scores_of_some_rows_are_those_of_all():
    rows = clustered(4, 3_000)
    scan = filled(rows).scan(rows[3])
    some = np.array([7, 2_999, 0, 1_500])
    np.testing.assert_array_equal(scan.scores_of(some), scan.scores(0, 3_000)[some])
    np.testing.assert_array_equal(scan.at_most(1_000, 1_200), scan.at_most(0, 3_000)[1_000:1_200])
    assert scan.scores_of(some[:0]).shape == scan.at_most(9, 9).shape == (0,)


def test_next_to_none_scores_more_than_its_most_and_most_of_the_rest_is_told_from_the_best():
    rows = clustered(6, 3_000)
    matrix, above, possible = filled(rows), [], []
    for query in rows[:20]:
        scan = matrix.scan(query)
        scores, at_most = scan.scores(0, 3_000), scan.at_most(0, 3_000)
        least = np.sort(scores)[-150]
        np.testing.assert_array_equal(scan.possible(np.arange(9, 3_000), least), at_most[9:] > least)
        np.testing.assert_array_equal(scan.possible(slice(9, 3_000), least), at_most[9:] > least)
        above.append(scores > at_most)
        possible.append(at_most > np.sort(scores)[-150])
    assert np.mean(above) < 0.04
    assert np.mean(possible) < 0.2


def test_an_erased_row_scores_nothing():
    matrix = filled(clustered(5, 10))
    matrix.erase(3)
    (score,), (error,) = matrix.scan(matrix.row(4)).closer(np.array([3]), asyncio.run(matrix.finer(np.array([3]))))
    assert score == error == 0
