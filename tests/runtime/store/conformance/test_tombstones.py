"""A late retry does not bring back what was deleted, for as long as the setting says."""

import pytest

from runtime.store.tombstones import MOST_EVENTS_OF_USER, TombstoneLimits

HOUR_US = 3_600_000_000
NOW_US = 1_800_000_000_000_000


@pytest.fixture
def clock():
    """A list whose only element is the time."""
    return [NOW_US]


@pytest.fixture
def open_with(open_store, clock, item):
    """Opens the store with limits and the clock, and an item in it."""

    def open(seconds=3_600.0, rows=1_000):
        store = open_store(clock_us=lambda: clock[0], tombstones=TombstoneLimits(seconds, rows))
        store.put_content([item("barn")])
        return store

    return open


def test_a_retry_of_an_event_that_was_taken_back_is_refused_for_the_stated_time(open_with, clock, event):
    store = open_with()
    assert store.add_interactions([event("1"), event("2")]) == ["stored", "stored"]
    assert store.delete_interaction("1")
    clock[0] += HOUR_US - 1
    retries = [event("1"), event("1", timed=False, time_us=clock[0]), event("2")]
    assert store.add_interactions(retries) == ["deleted", "deleted", "duplicate"]
    assert store.counts().interactions == 1
    assert store.add_interactions([event("1", user="bob")]) == ["stored"]  # no retry of it
    assert store.delete_interaction("1")
    assert not store.delete_interaction("1")
    store.close()
    store = open_with()
    assert store.add_interactions([event("1")]) == ["deleted"]
    clock[0] += 2
    assert store.add_interactions([event("1")]) == ["stored"]
    assert store.check() == []


def test_a_retry_does_not_bring_a_deleted_user_back_and_other_events_do(open_with, clock, event):
    store = open_with()
    store.add_interactions([event("1", time_us=5), event("2", timed=False, time_us=NOW_US)])
    assert store.delete_user("ann").interactions == 2
    clock[0] += HOUR_US // 2
    late = [
        event("1", time_us=5),
        event("1", timed=False, time_us=clock[0]),
        event("2", timed=False, time_us=clock[0]),  # the first one's answer was lost, and it says no time
    ]
    assert store.add_interactions(late) == ["deleted"] * 3
    assert store.get_user("ann") is None
    assert (store.counts().users, store.counts().interactions) == (0, 0)
    others = [event("1", time_us=6), event("3", time_us=5), event("2", user="bob")]
    assert store.add_interactions([*late[1:], *others]) == ["deleted"] * 2 + ["stored"] * 3
    assert store.delete_user("ann").interactions == 2
    # The mark of an event that was stored again at another time is that of the later one
    assert store.add_interactions([event("1", time_us=6), event("3", time_us=5)]) == ["deleted"] * 2
    assert store.check() == []


def test_the_oldest_are_forgotten_beyond_the_bound_and_the_newest_events_of_a_user_are_kept(open_with, clock, event):
    store = open_with(rows=3)
    ids = [str(n) for n in range(6)]
    store.add_interactions([event(id) for id in ids])
    for id in ids:
        clock[0] += 1
        store.delete_interaction(id)
    assert store.add_interactions([event(id) for id in ids]) == ["stored"] * 3 + ["deleted"] * 3
    store.close()
    store = open_with(rows=10**6)
    many = [event(f"of-bob-{n}", user="bob", timed=False) for n in range(MOST_EVENTS_OF_USER + 5)]
    store.add_interactions(many)
    store.delete_user("bob")
    assert store.add_interactions(many) == ["stored"] * 5 + ["deleted"] * MOST_EVENTS_OF_USER
    assert store.check() == []


def test_nothing_is_remembered_where_the_time_is_zero(open_with, event):
    store = open_with(seconds=0.0)
    store.add_interactions([event("1"), event("2", user="bob")])
    assert store.delete_interaction("1")
    assert store.delete_user("bob").interactions == 1
    assert store.add_interactions([event("1"), event("2", user="bob")]) == ["stored", "stored"]
