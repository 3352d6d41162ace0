import numpy as np

from runtime.personalization.cold_start import popular_vector


def test_popular_is_the_plain_average_normalised():
    vector = popular_vector(np.array([[1, 0], [1, 0], [0, 1]], np.float32))
    np.testing.assert_allclose(vector, np.array([2, 1]) / np.sqrt(5), atol=1e-7)
    assert vector.dtype == np.float32


def test_nothing_popular_or_no_direction():
    assert popular_vector(np.empty((0, 2), np.float32)) is None
    assert popular_vector(np.array([[1, 0], [-1, 0]], np.float32)) is None
