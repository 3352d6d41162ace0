import math

import numpy as np
import pytest

from runtime.personalization.actions import CODES, STRENGTH_OF_CODE, STRENGTHS
from runtime.personalization.user_vector import unit_vector
from runtime.store import Conflict, OwnType, StoreError


def test_outcome_of_each_event(store, item, event):
    store.put_content([item("barn")])
    outcomes = store.add_interactions([event("1"), event("2", content="nowhere"), event("1"), event("3", type="skip")])
    assert outcomes == ["stored", "unknown_content", "duplicate", "stored"]
    assert store.add_interactions([event("1"), event("2")]) == ["duplicate", "stored"]
    assert store.get_user("ann").interaction_count == 3
    assert store.get_user("bob") is None
    assert store.get_content("barn").popularity == 2
    store.delete_content("barn")
    assert store.add_interactions([event("1")]) == ["duplicate"]  # a retry is answered as before


def test_the_log_keeps_everything_and_its_cursor_never_goes_back(open_store, item, event):
    store = open_store(clock_us=lambda: 77)
    store.put_content([item("barn")])
    first = event("1", type="share", time_us=-5, duration_ms=1200, device="phone", context=b'{"a":1}')
    store.add_interactions([first, event("2", user="bob"), event("3", user="bob")])
    logged = store.log()[0]
    assert [entry.event_id for entry in logged] == ["1", "2", "3"]
    for field in first.__struct_fields__:
        assert getattr(logged[0], field) == getattr(first, field)
    assert logged[0].received_us == 77
    assert [entry.event_id for entry in store.log(after=logged[0].sequence, limit=1)[0]] == ["2"]
    store.delete_user("bob")
    store.add_interactions([event("4")])
    assert [entry.event_id for entry in store.log(after=logged[-1].sequence)[0]] == ["4"]


def test_last_updated_is_when_an_event_was_accepted_and_never_goes_back(open_store, item, event):
    clock = iter([1, 500, 400])
    store = open_store(clock_us=lambda: next(clock))
    store.put_content([item("barn")])
    store.add_interactions([event("1", time_us=123)])
    assert store.get_user("ann").last_updated_us == 500
    store.add_interactions([event("2", time_us=124)])  # this machine's clock was set back
    assert store.get_user("ann").last_updated_us == 500


def test_preferences(store, preferences):
    assert store.get_preferences("ann") is None
    store.put_preferences("ann", preferences(1))
    store.put_preferences("ann", preferences(2, texts=["modern"]))
    found = store.get_preferences("ann")
    assert found.preferences == ["modern"]
    np.testing.assert_array_equal(found.embedding, preferences(2).embedding)
    assert found.updated_us > 0
    state = store.get_user("ann")
    assert (state.interaction_count, state.last_updated_us, state.sums, state.stale) == (0, None, None, False)
    assert (store.counts().users, store.counts().preferences) == (1, 1)


def test_a_changed_vector_makes_its_users_stale_and_a_rebuild_cures_it(store, item, event):
    store.put_content([item("barn", 1), item("hall", 2)])
    store.add_interactions([event("1"), event("2", content="hall"), event("3", user="bob", content="hall")])
    store.put_content([item("barn", 1, fields=b"same vector, other fields")])
    assert not store.get_user("ann").stale
    store.put_content([item("barn", 5)])
    assert store.get_user("ann").stale
    assert not store.get_user("bob").stale
    store.add_interactions([event("4", time_us=2_000_000)])  # counted, though the sums are not to be used
    rebuilt = store.rebuild_user("ann")
    assert not rebuilt.stale
    assert rebuilt.interaction_count == 3
    expected = (item("barn", 5).embedding.astype(float) * 2 + item("hall", 2).embedding) / 3
    np.testing.assert_allclose(rebuilt.sums.weighted / rebuilt.sums.weight, expected, atol=1e-6)
    assert not store.get_user("ann").stale


def test_a_user_whose_content_was_deleted_has_no_usable_history(store, item, event):
    store.put_content([item("barn")])
    store.add_interactions([event("1")])
    store.delete_content("barn")
    assert store.get_user("ann").stale
    state = store.rebuild_user("ann")
    assert (state.sums, state.interaction_count) == (None, 1)
    assert unit_vector(state.sums) is None
    assert store.rebuild_user("nobody") is None


def test_another_decay_makes_every_history_stale(open_store, item, event):
    store = open_store(decay_per_day=0.01)
    store.put_content([item("barn", 1), item("hall", 2)])
    store.add_interactions([event("1", time_us=0), event("2", content="hall", time_us=86_400_000_000)])
    store.close()
    store = open_store(decay_per_day=0.01)
    assert not store.get_user("ann").stale
    store.close()
    store = open_store(decay_per_day=10)
    assert store.get_user("ann").stale
    assert store.rebuild_user("ann").sums.weight == pytest.approx(1 + math.exp(-10))


def test_other_strengths_make_every_history_stale_and_count_popularity_again(open_store, item, event, monkeypatch):
    store = open_store()
    store.put_content([item("barn")])
    store.add_interactions([event("1"), event("2", type="save")])
    store.close()
    monkeypatch.setitem(STRENGTHS, "view", 2)
    monkeypatch.setitem(STRENGTH_OF_CODE, CODES["view"], 2)
    store = open_store()
    assert store.get_user("ann").stale
    assert store.get_content("barn").popularity == 5


def test_vectors_of_other_dimensions_are_refused_at_start(open_store):
    open_store(dimensions=4).close()
    with pytest.raises(StoreError, match="holds 4-d vectors and the model makes 8-d"):
        open_store(dimensions=8)
    open_store(dimensions=4)  # nothing was changed, and the lock was let go


def test_taking_back_an_event_costs_a_rebuild_only_where_little_is_left(store, item, event):
    store.put_content([item("barn", 1), item("hall", 2)])
    day_us = 86_400_000_000
    events = [event("1", type="share"), event("2", content="hall", type="save", time_us=day_us)]
    store.add_interactions(events)
    assert store.delete_interaction("2")
    state = store.get_user("ann")
    assert (state.stale, state.interaction_count) == (False, 1)
    np.testing.assert_allclose(state.sums.weighted / state.sums.weight, item("barn", 1).embedding, atol=1e-9)
    assert store.delete_interaction("1")
    assert store.get_user("ann").stale
    assert store.rebuild_user("ann").sums is None
    assert not store.delete_interaction("1")
    assert store.get_content("barn").popularity == 0


def test_an_event_id_is_that_of_one_event(store, item, event):
    store.put_content([item("barn"), item("hall")])
    first = event("1", time_us=5, duration_ms=7, device="ios", context=b'{"a":1,"b":2}')
    assert store.add_interactions([first]) == ["stored"]
    same = {"time_us": 5, "duration_ms": 7, "device": "ios", "context": b'{"b":2,"a":1}'}
    assert (
        store.add_interactions([first, event("1", **same), event("1", **same | {"time_us": 9}, timed=False)])
        == ["duplicate"] * 3
    )
    for differs, other in {
        ("user_id",): event("1", user="bob", **same),
        ("content_id",): event("1", content="hall", **same),
        ("type",): event("1", type="save", **same),
        ("timestamp",): event("1", **same | {"time_us": 6}),
        ("duration_ms",): event("1", **same | {"duration_ms": None}),
        ("device",): event("1", **same | {"device": "web"}),
        ("context",): event("1", **same | {"context": None}),
        ("user_id", "type"): event("1", user="bob", type="skip", **same),
    }.items():
        assert store.add_interactions([other, event("2", time_us=1)])[0] == Conflict(differs)
    assert store.counts().interactions == 2
    # Within a call as between: the first is stored.
    assert store.add_interactions([event("3"), event("3", user="bob"), event("3")]) == [
        "stored",
        Conflict(("user_id",)),
        "duplicate",
    ]
    store.delete_content("barn")
    assert store.add_interactions([first, event("1", user="bob", **same)]) == ["duplicate", Conflict(("user_id",))]


def test_own_types_weigh_what_they_were_recorded_with(store, item, event):
    store.put_content([item("barn", 1), item("hall", 2)])
    bought = OwnType("bought", 10)
    sent = [
        event("1", type="share", own_type=bought),
        event("2", content="hall", type="view"),
        event("3", content="hall", type="save", own_type=OwnType("liked", 2)),
        event("4", type="skip", own_type=OwnType("closed", 0)),
        event("5", user="bob", type="share", own_type=OwnType("bought", 4)),
    ]
    assert store.add_interactions(sent) == ["stored"] * 5
    assert store.add_interactions(sent) == ["duplicate"] * 5
    assert store.add_interactions([event("1", type="share")]) == [Conflict(("type",))]
    expected = 10 * item("", 1).embedding + 3 * item("", 2).embedding
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(unit_vector(store.get_user("ann").sums), expected, atol=1e-6)
    np.testing.assert_allclose(unit_vector(store.rebuild_user("ann").sums), expected, atol=1e-6)
    assert [(one.strength, one.type_name, one.type) for one in store.history("ann")] == [
        (0, "closed", "skip"), (2, "liked", "save"), (1, "view", "view"), (10, "bought", "share")]  # fmt: skip
    assert [one.own_type for one in store.log()[0]] == [one.own_type for one in sent]
    assert [one.event_id for one in store.log(user_id="bob")[0]] == ["5"]
    after = store.log()[0][1].sequence
    assert [one.event_id for one in store.log(user_id="ann", after=after, limit=1)[0]] == ["3"]
    assert store.log(user_id="nobody")[0] == []
    assert store.get_content("barn").popularity == 14
    assert store.delete_interaction("1")
    assert store.get_content("barn").popularity == 4
    np.testing.assert_allclose(unit_vector(store.get_user("ann").sums), item("", 2).embedding, atol=1e-6)
    store.delete_user("bob")
    assert store.get_content("barn").popularity == 0
