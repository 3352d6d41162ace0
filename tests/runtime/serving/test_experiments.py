"""What experiments come to by what was done to them, with a real store."""

import asyncio
import time

import msgspec
import numpy as np
import pytest

from runtime.serving.experiment_state import Definition, Experiments
from runtime.serving.experiment_watch import ExperimentWatch
from runtime.serving.experiments import ExperimentConflict, ExperimentServing
from runtime.settings import Settings
from runtime.store import ContentItem, ExperimentChange, Exposure, Interaction
from runtime.store.sqlite.store import SqliteStore

HOUR_US = 3_600_000_000
DEFINITION = msgspec.convert(
    {"arms": [{"name": "control", "model": "simple"}, {"name": "treatment", "model": "hybrid"}]}, Definition
)


def change(kind, sequence, *, period=1, time_us=None, **details):
    body = msgspec.json.encode(DEFINITION if kind == "defined" else details)
    return ExperimentChange(
        experiment="feed", kind=kind, period=period, details=body, time_us=sequence if time_us is None else time_us,
        sequence=sequence,
    )  # fmt: skip


def test_changes_that_are_read_twice_apply_once():
    changes = [change("defined", 1), change("promoted", 2, arm="treatment", model="hybrid")]
    found = Experiments({}).after(changes).after(changes)
    assert found.promotions == (("feed", "hybrid"),)
    assert found.by_name["feed"].state == "promoted"
    again = found.after([*changes, change("rolled_back", 3)])
    assert again.promotions == ()
    assert again.by_name["feed"].state == "rolled_back"


def test_changes_apply_in_their_order_though_a_clock_went_back():
    changes = [
        change("defined", 1, time_us=9_000),
        change("promoted", 2, time_us=5_000, arm="treatment", model="hybrid"),
        change("rolled_back", 3, time_us=100),
    ]
    found = Experiments({}).after(changes)
    assert (found.by_name["feed"].state, found.promotions) == ("rolled_back", ())


async def test_two_who_act_at_once_act_one_after_the_other(tmp_path):
    store = SqliteStore(tmp_path / "data", dimensions=4)
    one, other = (ExperimentServing(store) for _ in range(2))
    await one.define("feed", DEFINITION)
    outcomes = await asyncio.gather(
        one.promote("feed", "treatment", "one"),
        other.define("mail", DEFINITION),
        return_exceptions=True,
    )
    await other.refresh()
    again = await asyncio.gather(
        *(each.promote("feed", "treatment", "again") for each in (one, other)), return_exceptions=True
    )
    kinds = [change.kind for change in await store.experiment_changes()]
    await store.close()
    assert kinds.count("promoted") == 1
    assert outcomes[0].state == "promoted"
    assert all(isinstance(one, ExperimentConflict) for one in again)


@pytest.mark.parametrize(("ended", "left"), [(2 * HOUR_US, {}), (HOUR_US // 2, {1: "control"})])
async def test_participants_are_forgotten_an_hour_after_their_period_has_ended(tmp_path, ended, left):
    now_us = time.time_ns() // 1_000
    store = SqliteStore(tmp_path / "data", dimensions=4)
    first = change("defined", 0, time_us=now_us - 3 * HOUR_US)
    await store.change_experiment(first, after=0)
    shown = Exposure(
        ranking_id="r-1", user_id="ann", experiment="feed", period=1, arm="control", model_version="v",
        time_us=now_us - 3 * HOUR_US, items=b"[]", closes_us=now_us - 2 * HOUR_US, bucket_us=1_000,
    )  # fmt: skip
    await store.add_exposures([shown])
    await store.close_windows(now_us)
    serving = ExperimentServing(store)
    watch = ExperimentWatch(serving, store, Settings())
    await serving.refresh()
    await watch.trim()
    assert await store.participant_arm("ann", "feed", 1) == "control"  # it runs
    stopped = change("stopped", 0, time_us=now_us - ended)
    await store.change_experiment(stopped, after=1)
    await serving.refresh()
    await watch.trim()
    found = await store.participant_arm("ann", "feed", 1)
    counted = sum(bucket.closed for bucket in await store.experiment_counts("feed", 1))
    await store.close()
    assert (found, counted) == (left.get(1), 1)


async def test_two_machines_begin_a_batch_once_with_weights_that_follow_the_outcomes(tmp_path):
    adaptive = msgspec.convert(
        {"arms": msgspec.to_builtins(DEFINITION.arms), "promote": "manual",
         "allocation": {"method": "thompson", "batch": 100, "floor": 0.02}},
        Definition,
    )  # fmt: skip
    store = SqliteStore(tmp_path / "data", dimensions=4)
    embedding = np.array([1, 0, 0, 0], np.float32)
    item = ContentItem(
        id="barn", fields=b"{}", embedding=embedding, model_version="v", bundle_digest="b", tokens=1,
        truncated=False,
    )  # fmt: skip
    await store.put_content([item])
    serving = [ExperimentServing(store) for _ in range(2)]
    watches = [ExperimentWatch(one, store, Settings()) for one in serving]
    await serving[0].define("feed", adaptive)
    for n in range(120):
        arm, user = ("control", "treatment")[n % 2], f"user-{n}"
        shown = Exposure(
            ranking_id=f"r-{n}", user_id=user, experiment="feed", period=1, arm=arm, model_version="v",
            time_us=1_000, items=b"[]", closes_us=2_000, bucket_us=1_000,
        )  # fmt: skip
        await store.add_exposures([shown])
        if n % 2 or n % 20 == 0:
            saved = Interaction(event_id=f"e-{n}", user_id=user, content_id="barn", type="save", time_us=1_500)
            await store.add_interactions([saved])
    while await store.close_windows(3_000):
        pass
    await serving[1].refresh()
    await asyncio.gather(*(one.decide() for one in watches))
    await asyncio.gather(*(one.decide() for one in watches))  # too few outcomes since
    changes = await store.experiment_changes()
    assigned = [await serving[0].assign(user) for user in ("user-0", "user-1", "new")]
    weights = serving[0].find("feed").weights_by_batch
    await store.close()
    assert [change.kind for change in changes] == ["defined", "reweighted"]
    assert weights[1] == pytest.approx([0.02, 0.98])
    assert [(one.arm.name, one.batch) for one in assigned[:2]] == [("control", 0), ("treatment", 0)]
    assert assigned[2].batch == 1


async def test_a_user_of_a_batch_that_this_machine_does_not_know_yet_is_found_in_it(tmp_path):
    adaptive = msgspec.convert(
        {"arms": msgspec.to_builtins(DEFINITION.arms), "allocation": {"method": "thompson"}}, Definition
    )
    store = SqliteStore(tmp_path / "data", dimensions=4)
    here, there = (ExperimentServing(store) for _ in range(2))
    await here.define("feed", adaptive)
    await there.refresh()
    await here.begin_batch(here.find("feed"), [0.05, 0.95], 1_000)
    mine = await here.assign("ann")
    await here.expose(mine, "ann", [("barn", 1.0)], [], model_version="v", ms=1.0)
    theirs = await there.assign("ann")
    await there.expose(theirs, "ann", [("barn", 1.0)], [], model_version="v", ms=1.0)
    shown = await store.exposures()
    await store.close()
    assert (mine.batch, theirs.batch) == (1, 1)
    assert mine.arm == theirs.arm
    assert {one.arm_propensity for one in shown} == {{"control": 0.05, "treatment": 0.95}[mine.arm.name]}


def test_weights_that_are_not_one_for_each_arm_change_nothing():
    for weights in ([1.0], [0.0, 0.0], [-1.0, 2.0], []):
        made = [change("defined", 1), change("reweighted", 2, batch=1, weights=weights, counted=10)]
        assert Experiments({}).after(made).by_name["feed"].batches == ()
