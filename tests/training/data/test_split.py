"""No event in two parts, none lost, nothing learnt from the future."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.datasets import random_dataset
from training.data.events import SKIP, Dataset
from training.data.split import Split, by_time, leave_last_out


def identities(*parts: Dataset) -> list[float]:
    return sorted(float(number) for part in parts for number in part.events.duration_ms)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([20, 60, 1_000]))
def test_a_global_cut_leaks_nothing(seed: int, instants: int) -> None:
    dataset = random_dataset(seed, instants=instants)
    split = by_time(dataset, (0.6, 0.2, 0.2))
    assert identities(*split) == identities(dataset)
    for earlier, later in itertools.pairwise(split):
        assert earlier.events.time_us.max() < later.events.time_us.min()


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_leave_last_out_is_what_a_loop_over_users_finds(seed: int) -> None:
    dataset = random_dataset(seed, events=80)
    split = leave_last_out(dataset)
    expected: tuple[list[float], ...] = ([], [], [])
    for user in range(len(dataset.users)):
        events = dataset.events.of_user(user)
        engaged = [row for row in range(len(events)) if events.action[row] != SKIP]
        cuts = engaged[-2:] if len(engaged) >= 3 else [len(events)] * 2
        for row in range(len(events)):
            expected[(row >= cuts[0]) + (row >= cuts[1])].append(float(events.duration_ms[row]))
    assert [identities(part) for part in split] == [sorted(part) for part in expected]


def test_a_part_without_events_is_refused() -> None:
    dataset = random_dataset(1, instants=1)
    with pytest.raises(ValueError, match="parts of"):
        by_time(dataset)
    with pytest.raises(ValueError, match="sum to 1"):
        by_time(dataset, (0.5, 0.1, 0.1))


def test_parts_share_users_and_items() -> None:
    dataset = random_dataset(2)
    split: Split = by_time(dataset)
    assert all(part.users is dataset.users and part.catalogue is dataset.catalogue for part in split)
    assert np.array_equal(split.test.starts[[0, -1]], [0, len(split.test.events)])
