"""Pages: complete, in order, without repeats, and never longer than requested."""

import numpy as np
import pytest

from runtime.personalization.actions import TYPES


@pytest.fixture
def history(store, item, event):
    """25 events of ann on ten items, of which one was deleted and one is hidden afterwards."""
    store.put_content([item(f"item-{n}", n) for n in range(10)])
    types = ("view", "save", "share", "skip")
    store.add_interactions(
        [
            event(str(n), content=f"item-{n % 10}", type=types[n % 4], time_us=1_000 - n, device=f"device {n}")
            for n in range(25)
        ]
    )
    store.add_interactions([event("other", user="bob", content="item-1")])
    store.delete_content("item-3")
    store.hide_content("item-4", True)
    return store


def pages(read, limit):
    found, before = [], None
    while page := read("ann", before=before, limit=limit):
        assert len(page) <= limit
        found += page
        before = page[-1].sequence
    return found


@pytest.mark.parametrize("limit", [1, 7, 25, 100])
def test_what_was_seen_comes_newest_first_with_deleted_content_included(history, limit):
    found = pages(history.seen, limit)
    assert [one.content_id for one in found] == [f"item-{n % 10}" for n in reversed(range(25))]
    assert [one.sequence for one in found] == sorted((one.sequence for one in found), reverse=True)


@pytest.mark.parametrize("limit", [1, 7, 25, 100])
def test_the_history_leaves_deleted_content_out_and_marks_what_is_hidden(history, item, limit):
    found = pages(history.history, limit)
    assert [one.event_id for one in found] == [str(n) for n in reversed(range(25)) if n % 10 != 3]
    assert {one.content_id for one in found if one.hidden} == {"item-4"}
    for one in found:
        np.testing.assert_array_equal(one.embedding, item("", int(one.content_id[5:])).embedding)


def test_the_newest_events_are_by_their_own_time_oldest_first(history):
    found = history.newest("ann", 5)
    assert found.content_ids == ["item-5", "item-4", "item-2", "item-1", "item-0"]
    assert found.time_us.tolist() == [995, 996, 998, 999, 1000]
    assert found.action.tolist() == [2, 1, 3, 2, 1]
    assert found.device == [f"device {n}" for n in (5, 4, 2, 1, 0)]
    assert np.isnan(found.duration_ms).all()
    assert history.newest("nobody", 5).content_ids == []


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_the_catalogue_is_listed_in_the_order_of_storing_without_what_is_hidden(history, limit):
    found, after = [], 0
    while after is not None:
        page, after = history.list_content(after=after, limit=limit, max_bytes=1 << 20)
        assert len(page) <= limit
        found += [one.id for one in page]
    assert found == [f"item-{n}" for n in range(10) if n not in (3, 4)]


def test_a_page_of_the_catalogue_ends_before_it_holds_too_many_bytes(store, item):
    store.put_content([item(f"item-{n}", fields=b"x" * 1_000) for n in range(5)])
    page, after = store.list_content(after=0, limit=5, max_bytes=2_500)
    assert [one.id for one in page] == ["item-0", "item-1"]
    page, after = store.list_content(after=after, limit=5, max_bytes=10)  # the first is there whatever its size
    assert [one.id for one in page] == ["item-2"]


def test_the_newest_events_come_oldest_first_by_their_own_time(store, event, item):
    """Ids of every kind, and content that is gone: all are in what is read."""
    ids = ["barn", 'a "quoted" id', "back\\slash", "çé日本"]
    store.put_content([item(id, n) for n, id in enumerate(ids)])
    types = ("skip", "view", "save", "share")
    events = [event(str(n), "ann", id, types[n], 1_000 - n) for n, id in enumerate(ids)]
    store.add_interactions([*events, event("tie", "ann", "barn", "save", 1_000)])
    store.delete_content("back\\slash")
    found = store.recent("ann", 4)
    assert found.content_ids == ["back\\slash", 'a "quoted" id', "barn", "barn"]
    assert [TYPES[code] for code in found.action] == ["save", "view", "skip", "save"]
    assert len(store.recent("nobody", 4).content_ids) == len(store.recent("nobody", 4).action) == 0


def test_all_engaged_content_comes_in_pages_with_its_counts(store, item, event):
    ids = [f"item-{n}" for n in range(5)]
    store.put_content([item(id, n) for n, id in enumerate(ids)])
    assert store.engaged_content() == ({}, None)
    store.add_interactions([event(f"e{n}", content=id, type="save") for n, id in enumerate(ids[:3])])
    found, after = {}, 0
    while after is not None:
        page, after = store.engaged_content(after=after, limit=2)
        assert len(page) <= 2
        found |= page
    assert sorted(found) == ids[:3]
    counts = store.item_counts(ids)
    assert all((found[id] == counts[id]).all() for id in ids[:3])
