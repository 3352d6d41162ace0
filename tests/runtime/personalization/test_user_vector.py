"""The sums kept per event against the formula computed from the whole log in one go."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.personalization import user_vector
from runtime.personalization.actions import STRENGTHS
from runtime.personalization.user_vector import Sums

DIMENSIONS = 4
MATRIX = np.random.default_rng(7).standard_normal((6, DIMENSIONS)).astype(np.float32)
MATRIX /= np.linalg.norm(MATRIX, axis=1, keepdims=True)
DAY_US = 86_400_000_000
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999

events = st.lists(
    st.tuples(
        st.sampled_from(sorted(STRENGTHS)),
        st.integers(0, len(MATRIX) - 1),
        st.one_of(st.integers(FIRST, LAST), st.integers(0, 400 * DAY_US)),
    ),
    max_size=30,
)
decays = st.sampled_from([0.0, 0.01, 0.5, 10.0])


def naive(log, decay_per_day):
    """The definition: Σ wᵢ·eᵢ / Σ wᵢ, ages measured back from the latest event that weighs anything."""
    counted = [(STRENGTHS[type], row, time) for type, row, time in log if STRENGTHS[type]]
    if not counted:
        return None
    now = max(time for _, _, time in counted)
    weights = [strength * math.exp(-decay_per_day * (now - time) / DAY_US) for strength, _, time in counted]
    weighted = sum(
        weight * MATRIX[row].astype(np.float64) for weight, (_, row, _) in zip(weights, counted, strict=True)
    )
    return weighted / sum(weights)


def one_by_one(log, decay_per_day):
    sums = None
    for type, row, time in log:
        sums = user_vector.add(sums, STRENGTHS[type], MATRIX[row], time, decay_per_day=decay_per_day)
    return sums


def at_once(log, decay_per_day, chunk=6):
    return user_vector.from_log(
        np.array([STRENGTHS[type] for type, _, _ in log], np.int64),
        np.array([time for _, _, time in log], np.int64),
        np.array([row for _, row, _ in log], np.int64),
        (MATRIX[start : start + chunk] for start in range(0, len(MATRIX), chunk)),
        decay_per_day=decay_per_day,
    )


@given(events, decays, st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_formula(log, decay_per_day, shuffle: random.Random):
    expected = naive(log, decay_per_day)
    shuffle.shuffle(log)
    for sums in (one_by_one(log, decay_per_day), at_once(log, decay_per_day), at_once(log, decay_per_day, chunk=2)):
        if expected is None:
            assert sums is None
            continue
        assert sums.reference_us == max(time for type, _, time in log if STRENGTHS[type])
        assert sums.weight >= 1  # never underflows: the latest event weighs at least a view
        assert np.isfinite(sums.weighted).all()
        np.testing.assert_allclose(sums.weighted / sums.weight, expected, atol=1e-12)


@given(events, decays)
def test_unit_vector_has_the_direction_of_the_mean_or_says_there_is_none(log, decay_per_day):
    mean = naive(log, decay_per_day)
    vector = user_vector.unit_vector(one_by_one(log, decay_per_day))
    if mean is None:
        assert vector is None
    else:
        assert vector.dtype == np.float32
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


@given(events)
def test_a_skip_moves_nothing(log):
    without = [event for event in log if event[0] != "skip"]
    a, b = one_by_one(log, 0.01), one_by_one(without, 0.01)
    assert (a is None) == (b is None)
    if a is not None:
        assert a.encode() == b.encode()


@given(events.filter(lambda log: any(STRENGTHS[type] for type, _, _ in log)))
def test_sums_come_back_from_bytes_as_they_went(log):
    sums = one_by_one(log, 0.01)
    data = sums.encode()
    assert len(data) == 16 + 8 * DIMENSIONS
    back = Sums.decode(data, DIMENSIONS)
    assert (back.reference_us, back.weight) == (sums.reference_us, sums.weight)
    np.testing.assert_array_equal(back.weighted, sums.weighted)
    # and can be added to
    assert user_vector.add(back, 1, MATRIX[0], 5, decay_per_day=0.01).weight > 0


def test_bytes_of_another_layout_are_refused():
    with pytest.raises(ValueError, match=r"15 bytes, 4 dimensions take 48"):
        Sums.decode(b"x" * 15, DIMENSIONS)


def test_opposite_tastes_have_no_direction():
    sums = user_vector.add(None, 3, MATRIX[0], 0, decay_per_day=0.01)
    sums = user_vector.add(sums, 3, -MATRIX[0], 0, decay_per_day=0.01)
    assert user_vector.unit_vector(sums) is None


def test_half_the_weight_after_69_days():
    assert user_vector.decay(round(math.log(2) / 0.01 * DAY_US), 0.01) == pytest.approx(0.5)


def test_a_row_outside_the_matrix_is_an_error():
    with pytest.raises(ValueError, match="row 6 of a matrix of 6"):
        user_vector.from_log(np.array([1]), np.array([0]), np.array([6]), [MATRIX], decay_per_day=0.01)
