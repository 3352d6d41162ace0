import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.personalization import user_vector
from runtime.personalization.actions import STRENGTHS
from runtime.personalization.drift import WEEK_US, Named, Weeks, prevalent
from runtime.personalization.ranking import normalised

DECAY = 0.05
NOW = 400 * WEEK_US

events = st.lists(
    st.tuples(st.sampled_from(sorted(STRENGTHS)), st.integers(-10 * WEEK_US, NOW + WEEK_US), st.integers(0, 5)),
    max_size=30,
)


@given(events, st.integers(1, 12), st.integers(1, 7))
def test_each_weeks_vector_is_that_of_the_log_until_then(log, weeks, page):
    catalogue = normalised(np.random.default_rng(1).standard_normal((6, 4)))
    found = Weeks(NOW, weeks, decay_per_day=DECAY)
    for start in range(0, len(log), page):
        types, times, items = zip(*log[start : start + page], strict=True)
        found.add(np.array([STRENGTHS[type] for type in types]), times, catalogue[list(items)])
    assert sum(found.interactions) == len(log)
    for end, vector in zip(found.ends_us, found.vectors(), strict=True):
        until = [(type, min(time, NOW), item) for type, time, item in log if min(time, NOW) <= end]
        sums = None
        for type, time, item in until:
            sums = user_vector.add(sums, STRENGTHS[type], catalogue[item], time, decay_per_day=DECAY)
        expected = user_vector.unit_vector(sums)
        assert (vector is None) == (expected is None)
        if vector is not None:
            np.testing.assert_allclose(vector, expected, atol=1e-6)


def test_weeks_end_now_and_a_week_apart():
    found = Weeks(NOW, 3, decay_per_day=DECAY)
    assert found.ends_us == [NOW - 2 * WEEK_US, NOW - WEEK_US, NOW]
    one = np.ones((4, 2), np.float32)
    found.add(np.ones(4, np.int64), [NOW - 2 * WEEK_US, NOW - 2 * WEEK_US + 1, NOW - WEEK_US, NOW], one)
    assert found.interactions == [1, 2, 1]


def test_names_with_most_weight():
    items = [(["Rustic", "barn"], 0.5), (["rustic ", "RUSTIC"], 0.25), (["sea", " "], 0.25), ([], 1.0)]
    assert prevalent(items, 2) == [Named("Rustic", 2, 0.375), Named("barn", 1, 0.25)]
    assert prevalent([(["far"], 0.0)], 3) == [Named("far", 1, 0.0)]
    assert prevalent([], 3) == []
