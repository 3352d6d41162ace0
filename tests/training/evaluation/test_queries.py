"""Queries have the events before them as history, and every model gets the same ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.datasets import random_dataset
from training.data.events import SKIP, Dataset
from training.data.split import by_time, leave_last_out, log_of
from training.evaluation.queries import Queries, flat, last_events, sample_queries, seen_items, shuffled

seeds = st.integers(0, 10_000)
EVERYTHING = 1_000_000


def queries(dataset: Dataset, per_user: int = EVERYTHING, at_most: int = EVERYTHING) -> Queries:
    split = by_time(dataset)
    return sample_queries(log_of(*split), split.test, per_user=per_user, at_most=at_most, engaged_only=False)


@settings(max_examples=25)
@given(seeds)
def test_a_history_has_the_events_strictly_before_the_query(seed: int) -> None:
    dataset = random_dataset(seed)
    found = queries(dataset)
    assert len(found) == len(by_time(dataset).test.events)
    for user, now, item, seen, history in zip(
        found.user, found.now_us, found.item, found.seen_before, found.histories, strict=True
    ):
        everything = dataset.events.of_user(int(user))
        expected = everything.take(everything.time_us < now)
        assert history.duration_ms.tolist() == expected.duration_ms.tolist()
        assert seen == (item in expected.item)


@settings(max_examples=25)
@given(seeds)
def test_leave_last_out_breaks_ties_by_the_order_of_the_source(seed: int) -> None:
    dataset = random_dataset(seed)
    split = leave_last_out(dataset)
    found = sample_queries(
        log_of(*split),
        split.test,
        per_user=EVERYTHING,
        at_most=EVERYTHING,
        engaged_only=True,
        source_order_breaks_ties=True,
    )
    for user, history in zip(found.user, found.histories, strict=True):
        events = dataset.events.of_user(int(user))
        last = int(np.flatnonzero(events.action != SKIP)[-1])
        assert history.duration_ms.tolist() == events.duration_ms[:last].tolist()


@settings(max_examples=25)
@given(seeds, st.integers(1, 6), st.integers(5, 60))
def test_limits_per_user_and_in_total_are_kept(seed: int, per_user: int, at_most: int) -> None:
    dataset = random_dataset(seed)
    full, few = queries(dataset), queries(dataset, per_user)
    counts = {user: int((full.user == user).sum()) for user in set(full.user.tolist())}
    assert {user: int((few.user == user).sum()) for user in counts} == {u: min(n, per_user) for u, n in counts.items()}
    fewer = queries(dataset, per_user, at_most)
    assert len(fewer) <= at_most + per_user
    for user in set(fewer.user.tolist()):
        assert (fewer.user == user).sum() == min(counts[user], per_user)  # all queries of a user or none


@settings(max_examples=25)
@given(seeds, st.integers(0, 12))
def test_cut_and_shuffled_histories(seed: int, k: int) -> None:
    found = queries(random_dataset(seed))
    for cut, whole in zip(last_events(found.histories, k), found.histories, strict=True):
        assert cut.duration_ms.tolist() == whole.duration_ms.tolist()[len(whole) - min(k, len(whole)) :]
    mixed = shuffled(found.histories, seed)
    for one, whole in zip(mixed, found.histories, strict=True):
        assert one.time_us.tolist() == whole.time_us.tolist()
        assert sorted(zip(one.item, one.action, one.duration_ms, strict=True)) == sorted(
            zip(whole.item, whole.action, whole.duration_ms, strict=True)
        )
    owner, rows, age = flat(found.histories, 5)
    for number, whole in enumerate(found.histories):
        mine = owner == number
        assert found.histories.events.duration_ms[rows[mine]].tolist() == whole.duration_ms.tolist()[-5:]
        assert age[mine].tolist() == list(range(min(5, len(whole))))[::-1]


def test_shuffling_destroys_order() -> None:
    found = queries(random_dataset(3, users=2, events=400))
    whole, mixed = list(found.histories)[-1], list(shuffled(found.histories, 1))[-1]
    assert whole.item.tolist() != mixed.item.tolist()


def test_seen_items() -> None:
    found = queries(random_dataset(4))
    seen = seen_items(found.histories, 15)
    assert [set(np.flatnonzero(row)) for row in seen] == [set(history.item.tolist()) for history in found.histories]


def test_queries_are_deterministic() -> None:
    first, second = queries(random_dataset(5), 3, 20), queries(random_dataset(5), 3, 20)
    assert np.array_equal(first.rows, second.rows)
    assert first.now_us == pytest.approx(second.now_us)
