"""Vectors that belong to a version of a row, and what is left of them once they are released."""

import numpy as np

from runtime.catalog.item_vectors import ITEM_BYTES, ItemVectors

ROWS = np.array([0, 2], np.intp)
VERSIONS = np.array([1, 5], np.uint32)
VECTORS = np.array([[0.5, -1.0], [0.25, 0.0]], np.float32)


def test_a_vector_is_there_until_its_row_changes():
    held = ItemVectors(3, 2)
    assert held.missing(ROWS, VERSIONS).all()
    held.put(ROWS, VERSIONS, VECTORS)
    assert held.missing(ROWS, VERSIONS).tolist() == [False, False]
    assert held.missing(ROWS, np.array([1, 6], np.uint32)).tolist() == [False, True]
    kept = held.read(np.array([2, -1, 0]), np.array([5, 0, 1], np.uint32))  # −1: an item without a row
    assert kept.missing.tolist() == [False, True, False]
    np.testing.assert_array_equal(kept.vectors[[0, 2]], VECTORS[::-1])  # exact in half precision
    assert ItemVectors(1, 128)._matrix.nbytes + 8 == ITEM_BYTES


def test_released_vectors_are_missing_and_take_no_new_ones():
    """A fill that started before the switch ends after it, and must not fail nor keep anything."""
    held = ItemVectors(3, 2)
    held.put(ROWS, VERSIONS, VECTORS)
    held.release()
    held.put(ROWS, VERSIONS, VECTORS)
    assert held.missing(ROWS, VERSIONS).all()
    kept = held.read(ROWS, VERSIONS)
    assert kept.missing.all()
    assert kept.vectors.shape == (2, 2)


def test_with_less_room_than_rows_the_last_one_put_is_there():
    held = ItemVectors(2, 2)
    held.put(ROWS, VERSIONS, VECTORS)  # rows 0 and 2 share a place
    assert held.missing(ROWS, VERSIONS).tolist() == [True, False]
    np.testing.assert_array_equal(held.read(ROWS[1:], VERSIONS[1:]).vectors, VECTORS[1:])
    rows, versions = held.kept()
    assert (rows.tolist(), versions.tolist()) == ([2], [5])
