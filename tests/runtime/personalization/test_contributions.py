import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.personalization import user_vector
from runtime.personalization.contributions import Largest, contributions
from runtime.personalization.ranking import normalised

DAY_US = 86_400_000_000


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_the_parts_of_a_whole_history_add_up_to_the_score(seed, n):
    rng = np.random.default_rng(seed)
    types = rng.choice(["view", "save", "share", "skip"], n).tolist()
    types[0] = "view"
    times = rng.integers(0, 300 * DAY_US, n)
    embeddings, candidates = normalised(rng.standard_normal((n, 6))), normalised(rng.standard_normal((4, 6)))
    strengths = np.array([user_vector_strength(type) for type in types], np.int64)
    sums = user_vector.from_log(strengths, times, np.arange(n), [embeddings], decay_per_day=0.01)
    parts = contributions(strengths, times, embeddings, candidates, sums, decay_per_day=0.01)
    expected = candidates @ user_vector.unit_vector(sums)
    np.testing.assert_allclose(parts.sum(axis=1), expected, atol=1e-5)
    assert (parts[:, [type == "skip" for type in types]] == 0).all()


def user_vector_strength(type):
    return {"view": 1, "save": 3, "share": 5, "skip": 0}[type]


@pytest.mark.parametrize("pages", [[6], [1, 5], [2, 2, 2]])
def test_the_largest_of_all_pages(pages):
    values = np.random.default_rng(4).integers(-2, 5, (5, 6)).astype(float)
    largest, start = Largest(5, 3), 0
    for size in pages:
        largest.add(values[:, start : start + size], np.arange(start, start + size))
        start += size
    for row, keys, kept in zip(values, largest.keys.tolist(), largest.values.tolist(), strict=True):
        expected = sorted((key for key in range(6) if row[key] > 0), key=lambda key: (-row[key], key))[:3]
        assert [key for key in keys if key >= 0] == expected
        assert kept[: len(expected)] == row[expected].tolist()
