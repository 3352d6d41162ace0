"""What is durable and what is in the catalogue stay the same, in whatever order requests overtake each other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from runtime.app import build_state, load_text_model
from runtime.catalog.item_fields import Content
from runtime.models.disconnection import never_disconnected
from runtime.serving.content import delete_item, hide_item, new_item, replace_vectors, store_item, store_items
from runtime.serving.interactions import record, take_back
from runtime.serving.users import delete_user_data
from runtime.settings import Settings
from runtime.state import State
from runtime.store import ContentItem, Interaction
from runtime.store.sqlite.store import SqliteStore

ITEMS = 150  # more than the store looks up before other tasks get their turn


@pytest.fixture
async def state(bundle_path: Path, tmp_path: Path) -> AsyncIterator[State]:
    """The whole of serving, on a database of its own."""
    settings = Settings(models_dir=bundle_path.parent, data_dir=tmp_path / "data", threads=1)
    state = await build_state(settings, load_text_model(settings), SqliteStore(settings.data_dir), alone=True)
    yield state
    state.sequence.close()
    state.embedder.close()
    await state.store.close()


async def in_step(state: State, ids: list[str]) -> bool:
    """Whether the catalogue holds exactly those that are stored and shown."""
    stored = [await state.store.get_content(id) for id in ids]
    shown = {item.id for item in stored if item is not None and not item.hidden}
    return shown == {id for id in ids if id in state.catalog}


@pytest.mark.parametrize("change", [delete_item, lambda state, id: hide_item(state, id, True)], ids=["delete", "hide"])
async def test_what_overtakes_a_batch_is_not_undone_by_it(state, change):
    ids = [f"item-{n}" for n in range(ITEMS)]
    for turns in range(0, 40, 2):
        items = [new_item(id, Content(text="a barn", category=f"round {turns}")) for id in ids]
        storing = asyncio.ensure_future(store_items(state, items, never_disconnected))
        while not state.store.waiting_writes() and not storing.done():
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(storing, *(change(state, id) for id in ids[::50]))
        assert await in_step(state, ids), f"after {turns} turns"
        await asyncio.gather(*(delete_item(state, id) for id in ids[::50]))


async def test_many_changes_of_one_item_leave_what_the_last_one_wrote(state):
    for text in ("a barn", "a ballroom"):
        await store_item(state, new_item("warm", Content(text=text)), never_disconnected)
    for _ in range(20):
        await asyncio.gather(
            store_item(state, new_item("one", Content(text="a barn")), never_disconnected),
            delete_item(state, "one"),
            store_item(state, new_item("one", Content(text="a ballroom")), never_disconnected),
            hide_item(state, "one", True),
            hide_item(state, "one", False),
        )
        assert await in_step(state, ["one"])
        stored = await state.store.get_content("one")
        if stored is not None:
            held = await state.catalog.gather(state.catalog.lookup(["one"]).rows)
            np.testing.assert_array_equal(held[0], stored.embedding)
    assert len(state.item_turns) == 0


async def test_embedding_again_does_not_write_over_a_newer_text(state):
    vector = np.eye(1, 384, dtype=np.float32)[0]
    old = [
        ContentItem(
            id=id, fields=b'{"text":"an old text"}', embedding=vector, model_version="old", bundle_digest="old",
            tokens=1, truncated=False,
        )
        for id in ("changed", "deleted", "same")
    ]  # fmt: skip
    await state.store.put_content(old)
    stale, _ = await state.store.content_of_other_bundles(state.embedder.encoder.bundle.digest)
    embedded = await state.embedder.embed_batch(["an old text"] * 3)
    await store_item(state, new_item("changed", Content(text="a new text")), never_disconnected)
    await delete_item(state, "deleted")
    assert await replace_vectors(state, stale, embedded) == 1
    changed = await state.store.get_content("changed")
    assert changed is not None
    assert b"a new text" in changed.fields
    assert await state.store.get_content("deleted") is None
    assert await in_step(state, ["changed", "deleted", "same"])


async def test_hidden_items_beyond_those_that_wait_are_counted_once(state, monkeypatch):
    """Also those that a batch has twice: else there seems to be more room than there is."""
    monkeypatch.setattr("runtime.catalog.catalog.MOST_WAITING", 2)

    def counted() -> tuple[int, int]:
        return len(state.catalog) + state.catalog.waiting, state.catalog.without_room

    hidden = [new_item(id, Content(text=f"a barn called {id}"), hidden=True) for id in "abcd"]
    await store_items(state, hidden, never_disconnected)
    assert counted() == (2, 2)
    await store_items(state, [new_item("d", Content(text="a tent"))] * 2, never_disconnected)
    assert counted() == (2, 2)  # it stays hidden
    await store_items(state, [new_item("e", Content(text="a tent"))] * 2, never_disconnected)
    assert counted() == (3, 2)
    await hide_item(state, "d", False)
    assert counted() == (4, 1)
    for id in "abcde":
        await delete_item(state, id)
    assert counted() == (0, 0)


async def test_an_item_whose_fields_cannot_be_read_comes_back_without_labels(state):
    await store_item(state, new_item("barn", Content(text="a barn")), never_disconnected)
    stored = await state.store.get_content("barn")
    broken = {name: getattr(stored, name) for name in ContentItem.__struct_fields__} | {"fields": b'{"tags": 3}'}
    await state.store.put_content([ContentItem(**broken)])
    assert await hide_item(state, "barn", True)
    assert await hide_item(state, "barn", False)
    assert "barn" in state.catalog


async def test_taking_back_an_event_reads_the_counts_of_its_item_alone(state):
    """Those of a million items take seconds, in which every other request waits in turn."""
    await store_items(state, [new_item(id, Content(text=f"a barn {id}")) for id in "abc"], never_disconnected)
    events = [
        Interaction(event_id=f"e-{user}-{id}", user_id=user, content_id=id, type="view", time_us=1_000_000)
        for user, id in (("ann", "a"), ("ann", "b"), ("bob", "a"))
    ]
    await record(state, events)
    rows = state.catalog.rows_of(list("abc"))
    state.catalog.set_counts(["c"], {"c": state.catalog.counts.of(rows)[0]})  # as the store does not have it
    before = state.catalog.counts.of(rows)
    assert await take_back(state, "e-bob-a")
    after = state.catalog.counts.of(rows)
    assert (after[0] < before[0]).all()
    assert (after[1:] == before[1:]).all()
    await delete_user_data(state, "ann")
    assert (state.catalog.counts.of(rows)[:2] == -np.inf).all()
    assert (state.catalog.counts.of(rows)[2] == before[2]).all()
