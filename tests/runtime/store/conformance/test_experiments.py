"""Experiments in the store: what was shown is kept, an outcome counts once, and a deleted user is forgotten."""

import asyncio

import msgspec
import pytest

from runtime.personalization.actions import MOST_WEIGHTED_ENGAGEMENT
from runtime.store import ExperimentChange, Exposure, FailedRankings, OwnType, StoreError

SECOND = 1_000_000


def exposure(ranking_id, user="ann", arm="control", *, time_us=10 * SECOND, items=("barn", "tent"), **more):
    shown = msgspec.json.encode([[item, 1.0] for item in items])
    return Exposure(
        **{
            "ranking_id": ranking_id,
            "user_id": user,
            "experiment": "feed",
            "period": 1,
            "arm": arm,
            "model_version": "simple-v1",
            "time_us": time_us,
            "items": shown,
            "closes_us": time_us + 60 * SECOND,
            "bucket_us": SECOND,
            **more,
        }
    )


def summed(store, period=1):
    found = {}
    for bucket in store.experiment_counts("feed", period):
        arm = found.setdefault(bucket.arm, {})
        for name, value in msgspec.structs.asdict(bucket).items():
            if isinstance(value, int | float) and name != "start_us" and value:
                arm[name] = arm.get(name, 0) + value
    return found


@pytest.fixture
def store(open_store, item):
    store = open_store()
    store.put_content([item("barn"), item("tent", 1), item('a"]b,["', 2)])
    return store


def test_changes_are_kept_in_order(open_store):
    store = open_store()
    made = [
        ExperimentChange(experiment="feed", kind=kind, period=1, details=b'{"n":1}', time_us=n)
        for n, kind in enumerate(["defined", "promoted", "rolled_back"])
    ]
    sequences = []
    for change in made:
        sequences.append(store.change_experiment(change, after=sequences[-1] if sequences else 0))
    assert sequences == sorted(sequences)
    store.close()
    found = open_store().experiment_changes()
    expected = [msgspec.structs.replace(c, sequence=n) for c, n in zip(made, sequences, strict=True)]
    assert found == expected
    assert [change.kind for change in found if change.sequence > sequences[0]] == ["promoted", "rolled_back"]


def test_a_change_is_refused_where_another_came_since(open_store):
    store = open_store()
    change = ExperimentChange(experiment="feed", kind="defined", period=1, details=b"{}", time_us=1)
    first = store.change_experiment(change, after=0)
    assert store.change_experiment(change, after=first - 1) is None
    other = msgspec.structs.replace(change, experiment="other")
    second = store.change_experiment(other, after=first)
    assert second > first
    assert store.change_experiment(change, after=first) is None
    assert [one.sequence for one in store.experiment_changes()] == [first, second]


def test_participants_of_ended_periods_are_forgotten_in_steps_and_their_counts_stay(store):
    store.add_exposures([exposure(f"r-{n}-{p}", f"user-{n}", period=p) for n in range(5) for p in (1, 2, 3)])
    assert store.forget_participants({"feed": 2}) == 0  # none of them is counted
    store.close_windows(1_000 * SECOND)
    store.add_exposures([exposure("r-late", "user-9", period=2)])
    assert [store.forget_participants({"feed": 2, "other": 9}, limit=4) for _ in range(4)] == [4, 4, 2, 0]
    assert store.forget_participants({}) == 0
    assert [summed(store, p)["control"]["closed"] for p in (1, 2, 3)] == [5, 5, 5]
    assert store.close_windows(1_000 * SECOND) == 1  # of the one that came late
    assert store.delete_user("user-1").participants == 1
    assert [store.participant_arm("user-2", "feed", p) for p in (1, 2, 3)] == [None, None, "control"]


def test_a_user_takes_part_in_the_arm_that_was_first(store):
    assert store.participant_arm("ann", "feed", 1) is None
    store.add_exposures([exposure("r-1"), exposure("r-2", arm="treatment", arm_propensity=0.25)])
    store.add_exposures([exposure("r-3", arm="treatment"), exposure("r-4", arm="treatment", period=2)])
    assert (store.participant_arm("ann", "feed", 1), store.participant_arm("ann", "feed", 2)) == (
        "control", "treatment",
    )  # fmt: skip
    assert store.participant_arm("ann", "other", 1) is None
    assert store.participant_arm("bob", "feed", 1) is None
    assert summed(store) == {"control": {"users": 1, "rankings": 1}, "treatment": {"rankings": 2}}
    assert [one.arm_propensity for one in store.exposures()] == [None, 0.25, None, None]
    store.close_windows(1_000 * SECOND)
    assert summed(store)["control"]["closed"] == 1
    assert "closed" not in summed(store)["treatment"]


def test_exposures_are_listed_in_order_with_a_cursor(store):
    store.add_exposures([exposure("r-1"), exposure("r-2", "bob", "treatment")])
    store.add_exposures([exposure("r-3")])
    logged = store.exposures()
    assert [one.ranking_id for one in logged] == ["r-1", "r-2", "r-3"]
    assert [(one.user_id, one.arm, one.items) for one in logged[1:2]] == [
        ("bob", "treatment", b'[["barn",1.0],["tent",1.0]]')
    ]
    assert [one.ranking_id for one in store.exposures(after=logged[0].sequence, limit=1)] == ["r-2"]
    assert store.counts().exposures == 3
    assert store.counts().users == 2


def test_a_ranking_that_is_recorded_already_fails_alone(store):
    async def together():
        return await asyncio.gather(
            *(
                store.store.add_exposures([exposure(id, user)])
                for id, user in [("r-1", "a"), ("r-1", "b"), ("r-2", "c")]
            ),
            return_exceptions=True,
        )

    outcomes = store.run(together())
    assert [type(one) for one in outcomes] == [type(None), StoreError, type(None)]
    assert [(one.ranking_id, one.user_id) for one in store.exposures()] == [("r-1", "a"), ("r-2", "c")]
    assert summed(store) == {"control": {"users": 2, "rankings": 2}}
    assert store.counts().exposures == 2


def test_a_user_counts_once_however_often_they_are_shown_something(store):
    store.add_exposures([exposure("r-1"), exposure("r-2", time_us=12 * SECOND), exposure("r-3", "bob", slow=True)])
    store.add_exposures([exposure("r-4", time_us=30 * SECOND)])
    assert summed(store) == {"control": {"users": 2, "rankings": 4, "slow": 1}}


def test_an_outcome_is_what_happened_within_the_window_and_counts_once(store, event):
    store.add_exposures([exposure(f"r-{user}", user) for user in ("ann", "bob", "eve")])
    at = 10 * SECOND
    store.add_interactions(
        [
            event("before", "ann", type="save", time_us=at - 1),
            event("ann-1", "ann", type="save", time_us=at),
            event("ann-2", "ann", type="view", time_us=at + 60 * SECOND - 1),
            event("bob-1", "bob", type="view", time_us=at + 5),
            event("late", "eve", type="share", time_us=at + 60 * SECOND),
        ]
    )
    assert store.close_windows(at + 60 * SECOND - 1) == 0
    assert store.close_windows(at + 60 * SECOND) == 3
    expected = {"users": 3, "rankings": 3, "closed": 3, "engaged": 1, "total": 5, "squares": 17}
    expected |= {"cold_closed": 3, "cold_engaged": 1}
    assert summed(store) == {"control": expected}
    assert store.close_windows(at + 600 * SECOND) == 0
    store.add_exposures([exposure("r-again", time_us=at + 700 * SECOND)])
    assert store.close_windows(at + 10_000 * SECOND) == 0
    assert summed(store) == {"control": expected | {"rankings": 4}}


def test_a_clock_that_goes_back_counts_nobody_twice_and_nothing_too_early(store, event):
    store.add_exposures([exposure("r-1", time_us=1_000 * SECOND)])
    store.add_exposures([exposure("r-2", "bob", time_us=400 * SECOND), exposure("r-3", time_us=410 * SECOND)])
    store.add_interactions(
        [
            event("before", "ann", type="save", time_us=420 * SECOND),
            event("within", "bob", type="save", time_us=420 * SECOND),
        ]
    )
    assert store.close_windows(470 * SECOND) == 1
    assert summed(store)["control"]["engaged"] == 1
    store.add_exposures([exposure("r-4", "bob", time_us=300 * SECOND)])
    assert store.close_windows(100 * SECOND) == store.close_windows(1_059 * SECOND) == 0
    store.add_interactions([event("again", "ann", type="view", time_us=1_001 * SECOND)])
    assert store.close_windows(1_060 * SECOND) == 1
    assert store.close_windows(9_999 * SECOND) == 0
    expected = {"users": 2, "rankings": 4, "closed": 2, "engaged": 1, "total": 4, "squares": 10}
    assert summed(store)["control"] == expected | {"cold_closed": 2, "cold_engaged": 1}
    assert [one.ranking_id for one in store.exposures()] == ["r-1", "r-2", "r-3", "r-4"]
    starts = [bucket.start_us for bucket in store.experiment_counts("feed", 1)]
    assert starts == sorted(starts)


def test_windows_close_in_bounded_steps(store):
    store.add_exposures([exposure(f"r-{n}", f"user-{n}") for n in range(10)])
    assert [store.close_windows(100 * SECOND, limit=4) for _ in range(4)] == [4, 4, 2, 0]


def test_own_types_weigh_what_they_were_recorded_with(store, event):
    store.add_exposures([exposure(f"r-{user}", user) for user in ("ann", "bob")])
    bought, liked = OwnType("bought", 9), OwnType("liked", 2)
    store.add_interactions(
        [
            event("1", "ann", type="share", own_type=bought, time_us=11 * SECOND),
            event("2", "ann", type="view", time_us=12 * SECOND),
            event("3", "bob", type="view", own_type=liked, time_us=11 * SECOND),
        ]
    )
    store.close_windows(100 * SECOND)
    found = summed(store)["control"]
    assert (found["closed"], found["engaged"], found["total"], found["squares"]) == (2, 1, 12, 104)


def test_weighted_engagement_is_bounded(store, event):
    store.add_exposures([exposure("r-1")])
    store.add_interactions([event(f"e-{n}", type="share", time_us=11 * SECOND) for n in range(50)])
    store.close_windows(100 * SECOND)
    assert summed(store)["control"]["total"] == MOST_WEIGHTED_ENGAGEMENT
    assert summed(store)["control"]["squares"] == MOST_WEIGHTED_ENGAGEMENT**2


def test_who_had_many_events_at_first_is_not_cold(store, event):
    store.add_interactions([event(f"e-{n}", "old", time_us=n) for n in range(5)])
    store.add_exposures([exposure("r-1", "old"), exposure("r-2", "new")])
    store.close_windows(100 * SECOND)
    assert summed(store)["control"]["cold_closed"] == 1


def test_periods_are_not_mixed(store):
    store.add_exposures([exposure("r-1"), exposure("r-2", period=2)])
    assert summed(store, 1) == summed(store, 2) == {"control": {"users": 1, "rankings": 1}}


def test_failed_rankings_are_counted(store):
    failed = FailedRankings(experiment="feed", period=1, arm="x", time_us=5, bucket_us=SECOND, failed=7)
    store.add_exposures([], [failed, failed])
    assert summed(store) == {"x": {"failed": 14}}


def test_buckets_get_wider_before_they_are_too_many(store):
    for start in range(0, 1_200, 100):
        store.add_exposures(
            [
                exposure(f"r-{n}", f"user-{n}", arm, time_us=n * SECOND)
                for n in range(start, start + 100)
                for arm in [("control", "treatment")[n % 2]]
            ]
        )
    buckets = store.experiment_counts("feed", 1)
    assert len(buckets) <= 2 * 512
    assert sum(bucket.users for bucket in buckets) == 1_200
    grains = {bucket.start_us for bucket in buckets if bucket.arm == "control"}
    assert grains == {bucket.start_us for bucket in buckets if bucket.arm == "treatment"}
    assert [bucket.start_us for bucket in buckets] == sorted(bucket.start_us for bucket in buckets)


def test_the_buckets_of_many_arms_are_bounded_together(store):
    for start in range(0, 200, 10):
        store.add_exposures(
            [
                exposure(f"r-{n}-{arm}", f"user-{n}-{arm}", f"arm-{arm}", time_us=n * SECOND)
                for n in range(start, start + 10)
                for arm in range(30)
            ]
        )
    buckets = store.experiment_counts("feed", 1)
    assert 2_000 < len(buckets) <= 4_096
    assert sum(bucket.users for bucket in buckets) == 6_000


def test_an_event_answers_the_ranking_it_names_or_the_last_that_showed_its_content(store, event):
    store.add_exposures(
        [
            exposure("r-1", items=["barn"]),
            exposure("r-2", items=["tent", "barn"], time_us=20 * SECOND),
            exposure("r-3", items=['a"]b,["'], time_us=30 * SECOND),
            exposure("r-4", "bob", items=["barn"], time_us=30 * SECOND),
        ]
    )
    later = 40 * SECOND
    store.add_interactions(
        [
            event("named", time_us=later, ranking_id="r-1"),
            event("last", time_us=later),
            event("quoted", content='a"]b,["', time_us=later),
            event("before-the-second", time_us=15 * SECOND),
            event("of-nobody", time_us=later, ranking_id="unknown"),
            event("of-another", time_us=later, ranking_id="r-4"),
            event("not-shown", "bob", content="tent", time_us=later),
        ]
    )
    found = {one.event_id: one.ranking_id for one in store.log()[0]}
    assert found == {
        "named": "r-1",
        "last": "r-2",
        "quoted": "r-3",
        "before-the-second": "r-1",
        "of-nobody": None,
        "of-another": None,
        "not-shown": None,
    }


def test_old_exposures_are_trimmed_by_age_and_by_bytes(store, event):
    store.add_exposures([exposure(f"r-{n}", f"user-{n}", time_us=n * SECOND) for n in range(10)])
    bytes_held = store.counts().exposure_bytes
    store.add_interactions([event("e", "user-0", time_us=SECOND, ranking_id="r-0")])
    assert store.trim_exposures(3 * SECOND, 1 << 40) == 3
    assert store.exposures()[0].ranking_id == "r-3"
    assert store.trim_exposures(0, bytes_held // 2) == 2
    assert (store.counts().exposures, store.counts().exposure_bytes) == (5, bytes_held // 2)
    assert store.trim_exposures(0, 0, limit=2) == 2
    assert summed(store)["control"]["users"] == 10
    assert store.log()[0][0].ranking_id is None


def test_exposures_by_a_clock_that_was_ahead_do_not_keep_the_others(store):
    store.add_exposures([exposure("r-ahead", time_us=10_000 * SECOND)])
    store.add_exposures([exposure("r-old", time_us=SECOND), exposure("r-new", time_us=9 * SECOND)])
    assert store.trim_exposures(5 * SECOND, 1 << 40, after_us=100 * SECOND) == 2
    assert [one.ranking_id for one in store.exposures()] == ["r-new"]


def test_a_deleted_user_leaves_counts_alone(store, event):
    store.add_exposures([exposure("r-1"), exposure("r-2"), exposure("r-3", "bob")])
    receipt = store.delete_user("ann")
    assert (receipt.exposures, receipt.participants, receipt.users) == (2, 1, 1)
    assert [one.user_id for one in store.exposures()] == ["bob"]
    assert store.close_windows(1_000 * SECOND) == 1
    assert summed(store)["control"]["users"] == 2
    assert summed(store)["control"]["closed"] == 1
    assert store.counts().exposures == 1
    store.delete_user("bob")
    assert store.counts().exposure_bytes == 0


def test_everything_is_there_after_a_restart(open_store, item):
    store = open_store()
    store.add_exposures([exposure("r-1")])
    store.close()
    store = open_store()
    assert [one.ranking_id for one in store.exposures()] == ["r-1"]
    assert store.close_windows(1_000 * SECOND) == 1


def test_what_could_have_been_shown_and_was_not_is_kept_and_answered_by_nothing(store, event, item):
    store.put_content([item("barn"), item("tent")])
    shown = msgspec.structs.replace(exposure("r-1"), items=b'[["barn",0.5],["tent"]]')
    store.add_exposures([shown])
    store.add_interactions(
        [event("1", content="barn", time_us=11 * SECOND), event("2", content="tent", time_us=12 * SECOND)]
    )
    assert [one.items for one in store.exposures()] == [shown.items]
    events, _ = store.log()
    assert {one.event_id: one.ranking_id for one in events} == {"1": "r-1", "2": None}


def test_exposures_of_another_database_count_once_with_what_followed_them(store, event):
    """Moved after the events: who had few events goes by those before, and an outcome is what came in the window."""
    early = [event(f"early-{n}", "bob", "barn", "view", time_us=n * SECOND) for n in range(1, 7)]
    later = [event("saved", "ann", "tent", "save", time_us=20 * SECOND, ranking_id="r-1")]
    later += [event(f"later-{n}", "ann", "barn", "view", time_us=(30 + n) * SECOND) for n in range(6)]
    assert set(store.add_interactions([*early, *later])) == {"stored"}
    moved = [exposure("r-1"), exposure("r-2", time_us=12 * SECOND), exposure("r-3", "bob", "treatment")]
    assert store.move_exposures(moved) == ["stored"] * 3
    assert store.move_exposures([*moved, exposure("r-4", "bob", "treatment"), exposure("r-4", "bob", "treatment")]) == [
        "duplicate", "duplicate", "duplicate", "stored", "duplicate",
    ]  # fmt: skip
    assert store.close_windows(1_000 * SECOND) == 2
    assert store.move_exposures(moved) == ["duplicate"] * 3
    assert store.close_windows(1_000 * SECOND) == 0
    strength = 3 + 6  # of a save and six views
    assert summed(store) == {
        "control": {
            "users": 1, "rankings": 2, "closed": 1, "engaged": 1, "total": strength, "squares": strength**2,
            "cold_closed": 1, "cold_engaged": 1,
        },
        "treatment": {"users": 1, "rankings": 2, "closed": 1},
    }  # fmt: skip
    assert [one.ranking_id for one in store.exposures()] == ["r-1", "r-2", "r-3", "r-4"]
    assert store.counts().exposures == 4
    assert store.check() == []


def test_an_event_that_came_before_its_ranking_answers_it_when_it_is_sent_again(store, event):
    saved = event("saved", "ann", "tent", "save", time_us=20 * SECOND, ranking_id="r-1")
    other = event("other", "bob", "tent", "save", time_us=20 * SECOND, ranking_id="r-1")  # a ranking of ann's
    store.add_interactions([saved, other])
    assert [one.ranking_id for one in store.log()[0]] == [None, None]
    store.move_exposures([exposure("r-1"), exposure("r-2", time_us=11 * SECOND)])
    assert store.add_interactions([saved, other]) == ["duplicate", "duplicate"]
    assert [one.ranking_id for one in store.log()[0]] == ["r-1", None]
    assert store.add_interactions([msgspec.structs.replace(saved, ranking_id="r-2")]) == ["duplicate"]
    assert [one.ranking_id for one in store.log()[0]] == ["r-1", None]  # what it answers is settled


def test_exposures_of_a_deleted_user_are_not_moved_back(store):
    moved = [exposure("r-1"), exposure("r-2", "bob")]
    store.move_exposures(moved)
    store.delete_user("ann")
    assert store.move_exposures(moved) == ["deleted", "duplicate"]
    assert [one.user_id for one in store.exposures()] == ["bob"]
    assert store.counts().users == 1
