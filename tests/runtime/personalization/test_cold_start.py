import numpy as np

from runtime.personalization.cold_start import popular_vector, user_embedding

HISTORY, PREFERENCES, POPULAR = np.eye(3, dtype=np.float32)


def never():
    raise AssertionError("asked for a step that was not needed")


def test_history_comes_first_and_nothing_else_is_looked_up():
    found = user_embedding(HISTORY, never, never)
    assert found.source == "history"
    assert found.embedding is HISTORY


def test_then_preferences_then_popular_then_nothing():
    assert user_embedding(None, lambda: PREFERENCES, never).source == "preferences"
    assert user_embedding(None, lambda: None, lambda: POPULAR).source == "popular"
    assert user_embedding(None, lambda: None, lambda: None) is None


def test_popular_is_the_plain_average_normalised():
    vector = popular_vector(np.array([[1, 0], [1, 0], [0, 1]], np.float32))
    np.testing.assert_allclose(vector, np.array([2, 1]) / np.sqrt(5), atol=1e-7)
    assert vector.dtype == np.float32


def test_nothing_popular_or_no_direction():
    assert popular_vector(np.empty((0, 2), np.float32)) is None
    assert popular_vector(np.array([[1, 0], [-1, 0]], np.float32)) is None
