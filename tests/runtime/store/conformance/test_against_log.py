"""Any sequence of writes and restarts against a model that computes everything from the log anew."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.personalization.actions import STRENGTHS
from runtime.personalization.popularity import HALF_LIVES_HOURS
from runtime.store import Conflict
from runtime.store.tombstones import FOR_A_WEEK, TombstoneLimits

DAY_US = 86_400_000_000
DECAY = 0.05
TAU_US = [hours * 3_600_000_000 / math.log(2) for hours in HALF_LIVES_HOURS]

users = st.sampled_from(["ann", "bob", "cyd"])
contents = st.sampled_from(["barn", "hall", "tent", "ship"])
times = st.one_of(st.integers(0, 100 * DAY_US), st.integers(-62_135_596_800_000_000, 1_700_000_000_000_000))
some_events = st.lists(
    st.tuples(st.integers(0, 40).map(str), users, contents, st.sampled_from(sorted(STRENGTHS)), times),
    min_size=1,
    max_size=12,
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), some_events),
        st.tuples(st.just("add"), some_events),
        st.tuples(st.just("put"), contents, st.integers(0, 5)),
        st.tuples(st.just("delete content"), contents),
        st.tuples(st.just("hide"), contents, st.booleans()),
        st.tuples(st.just("undo"), st.integers(0, 40).map(str)),
        st.tuples(st.just("delete user"), users),
        st.tuples(st.just("prefer"), users, st.integers(0, 5)),
        st.tuples(st.just("read"), users),
        st.tuples(st.just("restart")),
    ),
    min_size=1,
    max_size=25,
)


class Model:
    """The definition of every answer, in plain Python."""

    def __init__(self, remembers):
        """remembers: what was deleted. `deleted`: of user and id, the time."""
        self.content, self.log, self.preferences, self.known, self.hidden = {}, [], {}, set(), set()
        self.remembers, self.deleted = remembers, {}

    def add(self, events):
        outcomes = []
        for event in events:
            if stored := [old for old in self.log if event[0] == old[0]]:
                fields = ("event_id", "user_id", "content_id", "type", "timestamp")
                differs = [name for name, new, old in zip(fields, event, stored[0], strict=True) if new != old]
                outcomes.append(Conflict(tuple(differs)) if differs else "duplicate")
            elif self.remembers and self.deleted.get(event[:2]) == event[4]:
                outcomes.append("deleted")
            elif event[2] not in self.content:
                outcomes.append("unknown_content")
            else:
                outcomes.append("stored")
                self.log.append(event)
                self.known.add(event[1])
        return outcomes

    def delete_user(self, user):
        mine = [event for event in self.log if event[1] == user]
        receipt = (int(user in self.known), len(mine), int(user in self.preferences))
        self.log = [event for event in self.log if event[1] != user]
        self.deleted |= {event[:2]: event[4] for event in mine}
        self.preferences.pop(user, None)
        self.known.discard(user)
        return receipt

    def engaged(self, field, value):
        """The content of events with this value in a field, but for those that count for nothing."""
        return {event[2] for event in self.log if event[field] == value and STRENGTHS[event[3]]}

    def undo(self, id):
        left = [event for event in self.log if event[0] != id]
        existed = len(left) < len(self.log)
        self.deleted |= {event[:2]: event[4] for event in self.log if event[0] == id}
        self.log = left
        return existed

    def mean(self, user):
        counted = [
            (STRENGTHS[type], self.content[content], time)
            for _, owner, content, type, time in self.log
            if owner == user and STRENGTHS[type] and content in self.content
        ]
        if not counted:
            return None
        now = max(time for _, _, time in counted)
        weights = [strength * math.exp(-DECAY * (now - time) / DAY_US) for strength, _, time in counted]
        return sum(w * e.astype(float) for w, (_, e, _) in zip(weights, counted, strict=True)) / sum(weights)

    def popularity(self, content):
        return sum(STRENGTHS[type] for _, _, other, type, _ in self.log if other == content)


def assert_user(store, model, user):
    state = store.get_user(user)
    if state is not None and state.stale:
        state = store.rebuild_user(user)
        assert not state.stale
    assert (state is not None) == (user in model.known)
    if state is None:
        return
    assert state.interaction_count == sum(owner == user for _, owner, *_ in model.log)
    expected = model.mean(user)
    if expected is None:
        assert state.sums is None
    else:
        np.testing.assert_allclose(state.sums.weighted / state.sums.weight, expected, atol=1e-9)


def assert_counts(found, model):
    engaged = [(content, time) for _, _, content, type, time in model.log if STRENGTHS[type]]
    assert found.keys() == {content for content, _ in engaged}
    for id, counts in found.items():
        times = [time for content, time in engaged if content == id]
        for tau, kept in zip(TAU_US, counts, strict=True):
            # As of the newest event: the logarithm of a far time has fewer digits left
            expected = math.log(sum(math.exp((time - max(times)) / tau) for time in times))
            assert kept - max(times) / tau == pytest.approx(expected, abs=0.02)


def assert_same(store, model):
    for user in ("ann", "bob", "cyd"):
        assert_user(store, model, user)
        preferred = store.get_preferences(user)
        assert (preferred is not None) == (user in model.preferences)
    for id in ("barn", "hall", "tent", "ship"):
        found = store.get_content(id)
        assert (found is not None) == (id in model.content)
        if found is not None:
            np.testing.assert_array_equal(found.embedding, model.content[id])
            assert found.popularity == model.popularity(id)
    assert_counts(store.item_counts(["barn", "hall", "tent", "ship", "nowhere"]), model)
    assert store.hidden(["barn", "hall", "tent", "ship", "nowhere"]) == model.hidden
    logged = store.log()[0]
    assert [(e.event_id, e.user_id, e.content_id, e.type, e.time_us) for e in logged] == model.log
    counts = store.counts()
    assert (counts.content, counts.users, counts.interactions, counts.preferences) == (
        len(model.content),
        len(model.known),
        len(model.log),
        len(model.preferences),
    )


def test_every_answer_is_what_the_log_says(implementation, open_at, item, event, preferences, embedding):
    @settings(max_examples=implementation.examples)
    @given(operations, st.booleans())
    def check(program, remembers):
        compare(open_at, item, event, preferences, embedding, program, remembers)

    check()


def compare(open_at, item, event, preferences, embedding, program, remembers):
    tombstones = FOR_A_WEEK if remembers else TombstoneLimits(seconds=0)
    with tempfile.TemporaryDirectory() as folder:
        store = open_at(Path(folder), decay_per_day=DECAY, tombstones=tombstones)
        model = Model(remembers)
        for operation, *arguments in program:
            match operation:
                case "add":
                    sent = [event(id, u, c, type, t) for id, u, c, type, t in arguments[0]]
                    assert store.add_interactions(sent) == model.add(arguments[0])
                case "put":
                    id, seed = arguments
                    outcome = "replaced" if id in model.content else "created"
                    assert store.put_content([item(id, seed)]) == [outcome]
                    model.content[id] = embedding(seed)
                case "delete content":
                    existed = model.content.pop(arguments[0], None) is not None
                    model.hidden.discard(arguments[0])
                    assert store.delete_content(arguments[0]) == existed
                case "hide":
                    id, hidden = arguments
                    assert store.hide_content(id, hidden) == (id in model.content)
                    model.hidden = (model.hidden | {id} if hidden else model.hidden - {id}) & model.content.keys()
                case "undo":
                    counted, expected = set(), model.engaged(0, arguments[0])
                    assert store.delete_interaction(arguments[0], counted=counted) == model.undo(arguments[0])
                    assert counted == expected
                case "delete user":
                    counted, engaged = set(), model.engaged(1, arguments[0])
                    receipt = store.delete_user(arguments[0], counted=counted)
                    expected = model.delete_user(arguments[0])
                    assert counted == engaged
                    assert (receipt.users, receipt.interactions, receipt.preferences) == expected
                case "prefer":
                    user, seed = arguments
                    store.put_preferences(user, preferences(seed))
                    model.preferences[user] = seed
                    model.known.add(user)
                case "read":
                    assert_user(store, model, arguments[0])
                case "restart":
                    store.close()
                    store = open_at(Path(folder), decay_per_day=DECAY, tombstones=tombstones)
        assert_same(store, model)
        store.close()
        store = open_at(Path(folder), decay_per_day=DECAY, tombstones=tombstones)
        assert_same(store, model)
        assert store.check() == []
        store.close()
