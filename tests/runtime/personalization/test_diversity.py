import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.personalization.diversity import mmr
from runtime.personalization.ranking import cosine_scores, normalised, ranked


def drawn(seed, n, dimensions=5):
    rng = np.random.default_rng(seed)
    vectors = normalised(rng.standard_normal((n, dimensions)))
    return cosine_scores(normalised(rng.standard_normal(dimensions)), vectors), vectors


def naive(relevance, vectors, k, diversity):
    """The definition, with every similarity computed anew in each step."""
    chosen = []
    for _ in range(min(k, len(vectors))):
        best, best_gain = -1, -np.inf
        for n in range(len(vectors)):
            if n in chosen:
                continue
            gain = float(relevance[n])
            if chosen:
                alike = max(float(cosine_scores(vectors[other], vectors[n : n + 1])[0]) for other in chosen)
                gain = (1 - diversity) * gain - diversity * alike
            if gain > best_gain:
                best, best_gain = n, gain
        chosen.append(best)
    return chosen


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 14), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]))
def test_it_is_the_definition(seed, n, k, diversity):
    relevance, vectors = drawn(seed, n)
    assert mmr(relevance, vectors, k, diversity=diversity).tolist() == naive(relevance, vectors, k, diversity)


def test_without_diversity_it_is_the_ranking():
    relevance, vectors = drawn(1, 40)
    assert mmr(relevance, vectors, 40, diversity=0).tolist() == ranked(relevance).tolist()


def test_twins_give_way_to_something_else():
    vectors = normalised(np.array([[1, 0.1], [1, 0.1], [0.8, -0.6]]))
    relevance = cosine_scores(normalised(np.array([1.0, 0.0])), vectors)
    assert mmr(relevance, vectors, 3, diversity=0.5).tolist() == [0, 2, 1]


@pytest.mark.parametrize("k", [0, 3])
def test_nothing_to_choose_from(k):
    chosen = mmr(np.empty(0, np.float32), np.empty((0, 4), np.float32), k, diversity=0.5)
    assert chosen.tolist() == []
