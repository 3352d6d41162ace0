"""The schema: sorted stably, checked, sliced."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.personalization.actions import TYPES
from runtime.personalization.sequence_features import DEVICES, device_code
from tests.training.datasets import random_dataset
from training.data.events import ACTIONS, Events

rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=40)


def test_actions_are_the_codes_of_the_runtimes_log() -> None:
    assert ACTIONS == TYPES


@given(rows)
def test_events_are_sorted_by_user_and_time_and_ties_keep_their_order(rows: list[tuple[int, int]]) -> None:
    events = Events.of(
        user=[user for user, _ in rows],
        item=list(range(len(rows))),
        action=[1] * len(rows),
        time_us=[time for _, time in rows],
    )
    expected = sorted(range(len(rows)), key=lambda row: rows[row])  # sorted is stable
    assert events.item.tolist() == expected
    assert np.isnan(events.duration_ms).all()
    assert (events.session == -1).all()


@given(rows)
def test_a_users_slice_is_what_a_filter_finds(rows: list[tuple[int, int]]) -> None:
    events = Events.of(
        user=[u for u, _ in rows], item=[0] * len(rows), action=[1] * len(rows), time_us=[t for _, t in rows]
    )
    starts = events.starts(5)
    for user in range(5):
        assert len(events.of_user(user)) == starts[user + 1] - starts[user] == sum(u == user for u, _ in rows)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"action": [7]}, "action has codes 7 to 7"),
        ({"device": [-1]}, "device has codes -1"),
        ({"item": [1, 2]}, r"item has shape \(2,\)"),
        ({"colour": [1]}, "unknown columns"),
    ],
)
def test_what_does_not_fit_is_named(columns: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Events.of(**{"user": [0], "item": [0], "action": [1], "time_us": [0], **columns})


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, "unknown"),
        (" ", "unknown"),
        ("iPad Pro", "tablet"),
        ("iOS 17", "phone"),
        ("Web", "desktop"),
        ("tv", "other"),
    ],
)
def test_devices(text: str | None, kind: str) -> None:
    assert DEVICES[device_code(text)] == kind


def test_some_users_keep_all_that_is_theirs() -> None:
    dataset = random_dataset(8)
    some = dataset.some_users(5)
    assert len(some.users) == 5
    assert "only 5 of the 12 users" in some.limits[-1]
    for row, user in enumerate(some.users):
        own, before = some.events.of_user(row), dataset.events.of_user(dataset.users.index(user))
        assert own.item.tolist() == before.item.tolist()
        assert own.time_us.tolist() == before.time_us.tolist()
    assert dataset.some_users(12) is dataset
