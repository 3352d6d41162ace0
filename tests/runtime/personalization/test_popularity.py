import numpy as np
import pytest

from runtime.personalization import popularity

HOUR_US = 3_600_000_000
NOW_US = 1_780_000_000_000_000


def counts_of(times_us):
    found = popularity.no_counts(1)[0]
    for time_us in times_us:
        found = popularity.add(found, time_us)
    return found


def test_a_count_halves_with_each_half_life():
    found = counts_of([NOW_US])
    for column, hours in enumerate(popularity.HALF_LIVES_HOURS):
        later = NOW_US + int(3 * hours * HOUR_US)
        assert popularity.decayed(found, later)[column] == pytest.approx(1 / 8, rel=1e-8)


def test_counts_are_the_decayed_sum_in_any_order():
    rng = np.random.default_rng(0)
    times_us = NOW_US - rng.integers(0, 400 * 24 * HOUR_US, 200)
    half_lives_us = np.array(popularity.HALF_LIVES_HOURS) * HOUR_US
    expected = np.exp2(-(NOW_US - times_us)[:, None] / half_lives_us).sum(axis=0)
    for order in (np.sort(times_us), np.sort(times_us)[::-1], times_us):
        np.testing.assert_allclose(popularity.decayed(counts_of(order.tolist()), NOW_US), expected, rtol=1e-7)


def test_adding_many_events_equals_adding_each():
    rng = np.random.default_rng(1)
    rows, times_us = rng.integers(0, 3, 50), NOW_US - rng.integers(0, 24 * HOUR_US, 50)
    together = popularity.no_counts(3)
    popularity.add_all(together, rows, times_us)
    for row in range(3):
        assert np.array_equal(together[row], counts_of(times_us[rows == row].tolist()))  # to the last bit


def test_an_event_taken_back_leaves_what_was_there_before():
    before = counts_of([NOW_US - 5 * HOUR_US, NOW_US - HOUR_US])
    after = popularity.remove(popularity.add(before, NOW_US), NOW_US)
    np.testing.assert_allclose(popularity.decayed(after, NOW_US), popularity.decayed(before, NOW_US), rtol=1e-6)


def test_what_would_be_rounding_is_left_to_the_log():
    assert popularity.remove(counts_of([NOW_US]), NOW_US) is None
    assert (popularity.decayed(popularity.from_log(np.zeros(0, np.int64)), NOW_US) == 0).all()


def test_counts_survive_being_stored():
    found = counts_of([NOW_US, NOW_US - HOUR_US])
    assert np.array_equal(popularity.decode(popularity.encode(found)), found)
    assert (popularity.decode(None) == -np.inf).all()
    with pytest.raises(ValueError, match="8 bytes, 4 half-lives take 32"):
        popularity.decode(b"12345678")
