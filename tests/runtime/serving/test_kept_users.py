"""What is kept of users' histories: true whatever happens between two rankings, bounded, and gone with the user."""

import asyncio
import json
import shutil
import time
import tracemalloc
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest

from runtime.app import build_state, load_text_model, open_store
from runtime.models.bundle import Bundle
from runtime.models.sequence_model import EncodedUser, SequenceModel, golden_history
from runtime.serving.interactions import record, take_back
from runtime.serving.kept_users import LONGEST_IDLE_S, KeptUser, KeptUsers
from runtime.serving.user_vectors import read_sequence_user, sequence_user
from runtime.serving.users import delete_user_data
from runtime.settings import Settings
from runtime.store import ContentItem, Interaction, UserState

ITEMS = 40
HOUR_US = 3_600_000_000
MOST = 200  # events that the model reads


@asynccontextmanager
async def serving(bundle_path, folder, **settings):
    """The parts of a server, without HTTP, and a catalogue of ITEMS."""
    settings = Settings(models_dir=bundle_path.parent, data_dir=folder / "data", **settings)
    store, _ = await open_store(settings)
    state = await build_state(settings, load_text_model(settings), store, alone=True)
    for number in range(ITEMS):
        await put(state, number)
    try:
        yield state
    finally:
        state.sequence.close()
        state.embedder.close()
        await store.close()


async def put(state, number, version=0):
    bundle = state.embedder.encoder.bundle
    vector = np.random.default_rng(1_000 * version + number).standard_normal(384).astype(np.float32)
    vector /= np.linalg.norm(vector)
    item = ContentItem(
        id=f"item-{number}", fields=b'{"text":"made up"}', embedding=vector, model_version="made up",
        bundle_digest=bundle.digest, tokens=3, truncated=False,
    )  # fmt: skip
    await state.store.put_content([item])
    state.catalog.put(item.id, vector)


async def delete(state, number):
    await state.store.delete_content(f"item-{number}")
    state.catalog.delete(f"item-{number}")


async def act(state, user, number, event_id, ago_us=0):
    event = Interaction(
        event_id=event_id, user_id=user, content_id=f"item-{number}", type=("view", "save", "skip")[number % 3],
        time_us=time.time_ns() // 1_000 - ago_us, device="phone",
    )  # fmt: skip
    assert await record(state, [event]) in (["stored"], ["unknown_content"])


async def vector_of(state, user, **more):
    found = await sequence_user(state, user, None, state=await state.store.get_user(user), **more)
    return found.vector, found.events


async def is_kept(state, user):
    return state.sequence.kept(user, await state.store.get_user(user)) is not None


async def read_again(state, user):
    """What the whole history gives, and nothing is kept of it."""
    async with state.sequence.turn():
        found = await read_sequence_user(state, user, None, None)
    return found.vector, found.events


async def expect_as_read_again(state, user):
    found, events = await vector_of(state, user)
    expected, expected_events = await read_again(state, user)
    assert events == expected_events
    np.testing.assert_allclose(found, expected, atol=1e-5)  # the two are asked a moment apart


@pytest.fixture
async def state(bundle_path, tmp_path):
    async with serving(bundle_path, tmp_path) as state:
        yield state


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_between_rankings_the_answer_is_that_of_the_whole_history(state, seed):
    draw = np.random.default_rng(seed)
    events, hits = [], 0
    for step in range(250):
        user = f"user-{draw.integers(3)}"
        what = draw.choice(["act", "rank", "take back", "replace", "delete", "new", "forget"],
                           p=[0.3, 0.5, 0.06, 0.05, 0.04, 0.04, 0.01])  # fmt: skip
        number = int(draw.integers(ITEMS))
        if what == "act":
            await act(state, user, number, f"e-{step}", int(draw.integers(HOUR_US, 100 * HOUR_US)))
            events.append(f"e-{step}")
        elif what == "take back" and events:
            await take_back(state, events.pop(int(draw.integers(len(events)))))
        elif what == "replace" and f"item-{number}" in state.catalog:
            await put(state, number, version=step)
        elif what == "delete":
            await delete(state, number)
        elif what == "new":
            await put(state, number)
        elif what == "forget":
            await delete_user_data(state, user)
        hits += await is_kept(state, user)
        await expect_as_read_again(state, user)
    assert hits > 50


async def test_what_is_kept_is_dropped_by_what_changes_the_history_and_by_nothing_else(state):
    for number in range(6):
        await act(state, "ann", number, f"e-{number}", (10 - number) * HOUR_US)
    await vector_of(state, "ann")
    assert await is_kept(state, "ann")
    await act(state, "bob", 1, "of another user")
    await put(state, ITEMS + 1)
    await put(state, 20, version=1)
    assert await is_kept(state, "ann")

    async def expect_dropped(change):
        await vector_of(state, "ann")
        assert await is_kept(state, "ann")
        before = (await vector_of(state, "ann"))[0]
        await change
        assert not await is_kept(state, "ann")
        await expect_as_read_again(state, "ann")
        assert np.abs((await vector_of(state, "ann"))[0] - before).max() > 1e-4

    await expect_dropped(act(state, "ann", 7, "new", HOUR_US))
    await expect_dropped(take_back(state, "new"))
    await expect_dropped(take_back(state, "e-2"))
    await expect_dropped(put(state, 3, version=2))
    await expect_dropped(delete(state, 4))
    await expect_dropped(put(state, 4))  # its event counts again


async def test_of_a_history_longer_than_is_read_an_item_that_comes_back_is_seen(state):
    for number in range(MOST + 20):
        await act(state, "ann", number % ITEMS, f"e-{number}", (1_000 - number) * HOUR_US)
    await vector_of(state, "ann")
    await put(state, ITEMS + 1)
    assert await is_kept(state, "ann")
    await delete(state, 5)
    assert not await is_kept(state, "ann")
    assert (await vector_of(state, "ann"))[1] == MOST  # older events are read in place of those of the deleted item
    await put(state, 5)
    assert not await is_kept(state, "ann")
    await expect_as_read_again(state, "ann")


def test_the_same_to_the_last_bit_as_from_the_whole_history(bundle_path):
    model = SequenceModel(Bundle.load(bundle_path.parent / "sequence", kind="sequence"))
    for events in (1, 5, 64, MOST):
        history = golden_history(events)
        encoded = model.encoded(history, model.user(history, int(history.time_us[-1]), 0))
        for later_us, device in ((0, 1), (HOUR_US, 2), (400 * 24 * HOUR_US, 0)):
            now_us = int(history.time_us[-1]) + later_us
            preferred = history.content[0] if device else None
            whole = model.user(history, now_us, device, preferred).vector
            assert model.read_out(encoded, now_us, device, preferred).tobytes() == whole.tobytes()


async def test_as_of_another_time_nothing_is_kept_and_nothing_kept_is_used(state):
    for number in range(6):
        await act(state, "ann", number, f"e-{number}", (10 - number) * HOUR_US)
    then_us = time.time_ns() // 1_000 - 7 * HOUR_US
    before = await vector_of(state, "ann", at_us=then_us)
    assert (before[1], len(state.sequence.users)) == (4, 0)
    await vector_of(state, "ann")
    assert await is_kept(state, "ann")
    after = await vector_of(state, "ann", at_us=then_us)
    assert (after[1], after[0].tobytes()) == (4, before[0].tobytes())


async def test_a_deleted_user_is_not_kept_even_while_being_read(state):
    for number in range(6):
        await act(state, "ann", number, f"e-{number}", HOUR_US)
    await vector_of(state, "ann")
    assert "ann" in state.sequence.users
    await delete_user_data(state, "ann")
    assert "ann" not in state.sequence.users
    assert state.sequence.users.used_bytes == 0

    for number in range(6):
        await act(state, "ann", number, f"f-{number}", HOUR_US)
    user = await state.store.get_user("ann")
    reading = asyncio.create_task(sequence_user(state, "ann", None, state=user))
    while not state.sequence._thread._waiting:  # its history is read, the model runs
        await asyncio.sleep(0)
    await delete_user_data(state, "ann")
    assert (await reading).events == 6
    assert "ann" not in state.sequence.users


async def test_another_bundle_reads_histories_anew_and_one_without_the_graph_reads_them_each_time(
    bundle_path, tmp_path
):
    models = tmp_path / "models"
    models.mkdir()
    (models / "minilm").symlink_to(bundle_path.resolve())
    shutil.copytree((bundle_path.parent / "sequence").resolve(), models / "sequence")

    async with serving(models / "minilm", tmp_path) as state:
        for number in range(6):
            await act(state, "ann", number, f"e-{number}", HOUR_US)
        before = await vector_of(state, "ann")
        assert await is_kept(state, "ann")
        manifest = json.loads((models / "sequence" / "manifest.json").read_text())
        del manifest["graphs"]["read_out"], manifest["files"]["read_out.ort"]
        (models / "sequence" / "manifest.json").write_text(json.dumps(manifest))
        await state.sequence.take_over()
        assert len(state.sequence.users) == 0
        after = await vector_of(state, "ann")
        np.testing.assert_allclose(after[0], before[0], atol=1e-5)
        assert not await is_kept(state, "ann")


async def test_no_room_keeps_nothing_and_answers_the_same(bundle_path, tmp_path):
    async with serving(bundle_path, tmp_path, kept_users_bytes=0) as state:
        for number in range(6):
            await act(state, "ann", number, f"e-{number}", HOUR_US)
        await expect_as_read_again(state, "ann")
        assert len(state.sequence.users) == 0


def kept_user(events):
    encoded = EncodedUser(np.zeros((1, 208), np.float32), 1, 0, 0.5)
    user = UserState(interaction_count=events, last_sequence=events, last_updated_us=events, sums=None, stale=False)
    return KeptUser(
        served=None, encoded=encoded, events=events, rows=np.zeros(events, np.int32),
        versions=np.zeros(events, np.uint32), changes=0, complete=True, state=user,
    )  # fmt: skip


def test_those_used_longest_ago_make_room_and_what_is_counted_is_what_is_taken():
    users = KeptUsers(100_000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(500):
        users.put(f"a user with the number {number}", kept_user(5 + number % 196), users.forgotten)
        assert users.used_bytes <= users.max_bytes
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken <= users.used_bytes
    assert users.used_bytes > 0.9 * users.max_bytes
    assert "a user with the number 499" in users
    assert "a user with the number 0" not in users


def test_who_is_not_ranked_for_is_forgotten_in_time():
    users = KeptUsers(100_000)
    users.put("ann", kept_user(5), users.forgotten)
    users.drop_idle(time.monotonic() + LONGEST_IDLE_S - 60)
    assert "ann" in users
    users.drop_idle(time.monotonic() + LONGEST_IDLE_S + 60)
    assert (len(users), users.used_bytes) == (0, 0)


def test_larger_than_all_the_room_is_not_kept():
    users = KeptUsers(1_000)
    users.put("ann", kept_user(200), users.forgotten)
    assert (len(users), users.used_bytes) == (0, 0)
    users = KeptUsers(100_000)
    users.put("ann", kept_user(5), users.forgotten)
    users.put("ann", replace(kept_user(7)), users.forgotten)
    assert len(users) == 1
    users.clear()
    assert (len(users), users.used_bytes) == (0, 0)
