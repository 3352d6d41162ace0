"""Each event is scored once, with enough history before it; training and serving compute the same features."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.personalization import sequence_features
from runtime.personalization.sequence_features import event_date_us, features, query_contexts
from tests.small_world import small_world
from training import batches as batches_module
from training.batches import Windows
from training.data import events
from training.simulator.multi_world import side_by_side
from training.simulator.parameters import Parameters


def test_integer_codes_are_those_of_the_event_log() -> None:
    from runtime.personalization.actions import TYPES

    assert sequence_features.DEVICES == events.DEVICES
    assert events.ACTIONS == TYPES


@settings(max_examples=20)
@given(each=st.integers(1, 70), context=st.sampled_from([4, 16, 32]), seed=st.integers(0, 5))
def test_every_event_is_scored_once(each: int, context: int, seed: int) -> None:
    world = small_world(seed, users=3, each=each)
    windows = Windows(world, context)
    seen = np.zeros(len(world.events), np.int64)
    for start, end, scored in windows.spans:
        assert end - start <= context
        assert scored == world.starts[world.events.user[start]] or scored - start >= context // 2
        seen[scored:end] += 1
    assert (seen == 1).all()
    assert sum(int(batch.scored.sum()) for batch in windows.in_order(4)) == len(world.events)


def test_only_marked_events_are_scored() -> None:
    world = small_world(users=5, each=40)
    marked = np.arange(len(world.events)) % 40 >= 35
    windows = Windows(world, 16, marked)
    assert sum(int(batch.scored.sum()) for batch in windows.in_order(4)) == marked.sum()
    assert len(windows) < len(Windows(world, 16))


def test_an_epoch_has_every_window_once_in_its_own_order() -> None:
    windows = Windows(small_world(users=30), 8)
    first, again, second = windows.shuffled(4, (0, 0)), windows.shuffled(4, (0, 0)), windows.shuffled(4, (0, 1))
    assert sorted(np.concatenate(first)) == list(range(len(windows)))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all(len(a) == len(b) and (a == b).all() for a, b in zip(first, second, strict=False))


def test_contrastive_anchors_have_a_later_engaged_item_and_skipped_items() -> None:
    windows = Windows(small_world(users=8, each=30), 32)
    batch = windows.batch(np.arange(8), (1,))
    assert len(batch.anchor_window) > 8
    for window, position, engaged, skipped in zip(
        batch.anchor_window, batch.anchor_position, batch.engaged, batch.skipped, strict=True
    ):
        later = batch.item[window, position:][batch.action[window, position:] != 0]
        assert engaged in later
        skips = set(batch.item[window][batch.action[window] == 0].tolist()) | {-1}
        assert set(skipped.tolist()) <= skips


def test_a_batch_has_items_of_one_catalogue() -> None:
    worlds = [small_world(seed, users=5 + seed, each=20) for seed in range(3)]
    together = side_by_side([replace(one, preference_embedding=None) for one in worlds], range(3), Parameters())
    windows, alone = Windows(together, 16), [Windows(one, 16) for one in worlds]
    assert len(windows) == sum(map(len, alone))
    for batches in (windows.in_order(3), [windows.batch(chosen, (0,)) for chosen in windows.shuffled(3, (1,))]):
        seen = np.zeros(3, np.int64)
        for batch in batches:
            catalogue_id = np.unique(together.catalogue_id[batch.catalogue])
            assert len(catalogue_id) == 1
            assert len(batch.catalogue) == len(worlds[0].catalogue)
            assert batch.negatives is None
            seen[catalogue_id] += int(batch.scored.sum())
        assert seen.tolist() == [len(one.events) for one in worlds]
    np.testing.assert_array_equal(
        batch.metadata[batch.item], worlds[int(catalogue_id[0])].catalogue.vectors[batch.item]
    )


def test_a_batch_of_a_large_catalogue_has_its_own_items_and_sampled_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "FULL_SOFTMAX", 20)
    world = small_world(users=20, each=8)
    windows = Windows(world, 8, negatives=10)
    batch = windows.batch(np.arange(3), (4,))
    assert len(batch.negatives) == 10
    assert len(batch.catalogue) <= 10 + 24
    own = world.events.item[windows.spans[0, 0] : windows.spans[0, 1]]
    np.testing.assert_array_equal(batch.catalogue[batch.item[0, : len(own)]], own)
    np.testing.assert_array_equal(batch.metadata, world.catalogue.vectors[batch.catalogue])


def test_features_of_a_log_equal_those_of_each_user_alone() -> None:
    world = small_world(users=4, each=12)
    log, starts = world.events, world.starts
    first = np.isin(np.arange(len(log)), starts[:-1])
    together = features(log.time_us, log.duration_ms, log.days_to_event, first)
    for user in range(4):
        own = log.of_user(user)
        alone = features(own.time_us, own.duration_ms, own.days_to_event, np.arange(12) == 0)
        part = slice(starts[user], starts[user + 1])
        np.testing.assert_array_equal(together.events[part], alone.events)
        np.testing.assert_array_equal(together.query_contexts[part], alone.query_contexts)
    assert (np.abs(together.events) < 3).all()  # which a NaN is not


def test_context_features_do_not_depend_on_their_own_event() -> None:
    """Those of the last event, computed from the others alone as the server does."""
    own = small_world(users=1, each=15).events
    first = np.arange(15) == 0
    whole = features(own.time_us, own.duration_ms, own.days_to_event, first)
    before = own.take(slice(0, 14))
    event_us = event_date_us(before.time_us, before.days_to_event, first[:14])
    now = query_contexts(own.time_us[14:], before.time_us[-1:], event_us[-1:])
    np.testing.assert_array_equal(whole.query_contexts[14:], now)
    none = features(own.time_us[:0], own.duration_ms[:0], own.days_to_event[:0], first[:0])
    assert none.events.shape == (0, sequence_features.EVENT)


def test_items_that_nobody_met_are_no_negatives() -> None:
    world = small_world(users=4, each=8)
    unmet = replace(world, events=world.events.take(world.events.item % 5 != 0))
    batch = Windows(unmet, 8).batch(np.arange(4), (0,))
    assert set(batch.catalogue.tolist()) == set(unmet.events.item.tolist())
    rows = batch.catalogue[batch.item[batch.scored]].numpy()
    assert (rows % 5 != 0).all()
