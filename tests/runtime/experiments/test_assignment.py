"""Assignment reproduces GrowthBook's hash and keeps its promises."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.experiments.assignment import arm_of, covered, hash_unit, in_namespace

USERS = [f"user-{n}" for n in range(20_000)]


@pytest.mark.parametrize(("seed", "id", "value"), [("seed", "a", 0.0505), ("seed", "b", 0.2696), ("foo", "ab", 0.2575)])
def test_the_hash_is_that_of_growthbook_version_2(seed, id, value):
    assert hash_unit(seed, id) == value


def test_text_is_hashed_as_utf_8():
    assert hash_unit("seed", "é") != hash_unit("seed", "\xc3\xa9")  # its bytes read as Latin-1 are other text


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_hash_is_in_the_unit_interval_and_repeats(seed, id):
    assert 0 <= hash_unit(seed, id) < 1
    assert hash_unit(seed, id) == hash_unit(seed, id)


def test_arms_get_the_share_of_their_weights():
    counts = [0, 0, 0]
    for user in USERS:
        counts[arm_of("feed", [0.5, 0.3, 0.2], user)] += 1
    for count, weight in zip(counts, [0.5, 0.3, 0.2], strict=True):
        assert abs(count - weight * len(USERS)) < 5 * (len(USERS) * weight * (1 - weight)) ** 0.5


def test_raising_coverage_adds_users_and_moves_nobody():
    in_each = [{user for user in USERS if covered("feed", coverage, user)} for coverage in (0.1, 0.5, 0.9, 1.0)]
    assert all(fewer < more for fewer, more in pairwise(in_each))
    assert len(in_each[-1]) == len(USERS)
    assert abs(len(in_each[0]) - 2_000) < 5 * 1_800**0.5


def test_coverage_and_arm_do_not_depend_on_each_other():
    """With one hash for both, the users of a coverage of 0.5 would all be in the first arm."""
    second = sum(arm_of("feed", [1, 1], user) for user in USERS if covered("feed", 0.5, user))
    assert abs(second - 5_000) < 5 * 2_500**0.5


def test_two_experiments_split_users_independently():
    both = sum(arm_of("feed", [1, 1], user) and arm_of("search", [1, 1], user) for user in USERS)
    assert abs(both - 5_000) < 5 * 3_750**0.5


def test_ranges_of_a_namespace_share_no_user_and_leave_none_out():
    ranges = [(0.0, 0.3), (0.3, 0.55), (0.55, 1.0)]
    for user in USERS[:2_000]:
        assert sum(in_namespace("page", start, end, user) for start, end in ranges) == 1
