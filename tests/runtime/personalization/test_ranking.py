import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from runtime.personalization.ranking import cosine_scores, normalised, ranked, top_k

# Few distinct values, so that there are ties; large enough for the partition to be used.
scores_with_ties = st.builds(
    lambda seed, n, kinds: np.random.default_rng(seed).integers(0, kinds, n).astype(np.float32) / kinds,
    st.integers(0, 2**32 - 1),
    st.one_of(st.integers(0, 50), st.integers(1000, 3000)),
    st.integers(1, 40),
)


@given(scores_with_ties)
def test_ranked_is_best_first_and_ties_keep_their_order(scores):
    order = ranked(scores).tolist()
    assert order == sorted(range(len(scores)), key=lambda i: (-scores[i], i))


@given(scores_with_ties, st.integers(-1, 400))
def test_top_k_is_the_start_of_ranked(scores, k):
    assert top_k(scores, k).tolist() == ranked(scores)[: max(k, 0)].tolist()


@given(
    npst.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 8)),
        elements=st.floats(-(2.0**127), 2.0**127, width=32),
    )
)
def test_normalised_rows_have_length_one_or_are_refused(vectors):
    if (np.abs(vectors).max(axis=1) < 1e-30).any():
        with pytest.raises(ValueError, match="length zero"):
            normalised(vectors)
        return
    unit = normalised(vectors)
    assert unit.dtype == np.float32
    assert unit.shape == vectors.shape
    np.testing.assert_allclose(np.linalg.norm(unit.astype(np.float64), axis=1), 1, atol=1e-6)
    expected = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_refused_by_row(bad):
    vectors = np.ones((3, 4), np.float32)
    vectors[2, 1] = bad
    with pytest.raises(ValueError, match="vector 2 has a value that is not a finite number"):
        normalised(vectors)
    with pytest.raises(ValueError, match="vector 0"):
        normalised(vectors[2])


def test_scores_are_cosines_of_each_candidate_alone():
    rng = np.random.default_rng(3)
    user = normalised(rng.standard_normal(384))
    candidates = normalised(rng.standard_normal((333, 384)))
    candidates[50] = user
    candidates[51:60] = candidates[3]
    scores = cosine_scores(user, candidates)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, candidates.astype(np.float64) @ user.astype(np.float64), atol=1e-6)
    assert scores.max() <= 1.0
    assert ranked(scores)[0] == 50
    # the same candidate scores the same to the last bit, wherever it stands and whoever stands beside it
    assert set(scores[51:60]) == {scores[3]}
    alone = [cosine_scores(user, candidate[np.newaxis].copy())[0] for candidate in candidates]
    assert scores.tolist() == [float(score) for score in alone]


def test_no_candidates_no_scores():
    assert cosine_scores(np.ones(4, np.float32), np.empty((0, 4), np.float32)).shape == (0,)
