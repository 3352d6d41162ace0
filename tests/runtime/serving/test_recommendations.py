"""The sequence model is switched while the whole catalogue is searched with its score."""

import asyncio
import time

import numpy as np
import pytest

from bench.ranker_bundle import models_with_ranker
from runtime.app import build_state, load_text_model, open_store
from runtime.serving.catalog_search import STEP_ROWS
from runtime.serving.interactions import record
from runtime.serving.recommendations import recommend
from runtime.settings import Settings
from runtime.store import ContentItem, Interaction

ITEMS = 4 * STEP_ROWS + 100
MET = 6


@pytest.mark.parametrize("steps", [1, 3])
def test_a_model_that_is_switched_during_a_search_leaves_it_to_the_first_set(bundle_path, tmp_path, steps):
    asyncio.run(_check(bundle_path, tmp_path, steps))


async def _check(bundle_path, folder, steps):
    (folder / "models").mkdir()
    models = models_with_ranker(bundle_path.parent, folder / "models")
    settings = Settings(models_dir=models, data_dir=folder / "data", catalog_bytes=64 << 20, catalog_vectors="int8")
    store, _ = await open_store(settings)
    state = await build_state(settings, load_text_model(settings), store, alone=True)
    vectors = np.random.default_rng(1).standard_normal((ITEMS, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for number, vector in enumerate(vectors):
        state.catalog.put(f"item-{number}", vector)
    now_us = time.time_ns() // 1_000
    for number in range(MET):
        item = ContentItem(
            id=f"item-{number}", fields=b"{}", embedding=vectors[number], model_version="made up",
            bundle_digest=state.embedder.encoder.bundle.digest, tokens=3, truncated=False,
        )  # fmt: skip
        await store.put_content([item])
        event = Interaction(
            event_id=f"e-{number}", user_id="ann", content_id=item.id, type="save", time_us=now_us - number * 10**9
        )
        assert await record(state, [event]) == ["stored"]
    for ids in state.catalog.pages(256):
        await state.sequence.fill(ids)
    assert (await recommend(state, "ann", 10)).model_version == "bench+sequence-v1"

    served = state.sequence.served
    assert state.sequence.catalogue_lacks is None
    recommending = asyncio.create_task(recommend(state, "ann", 10))
    while not state.search._turn._lock.locked():
        await asyncio.sleep(0)
    for _ in range(steps - 1):
        await asyncio.sleep(0)
    assert not recommending.done()
    served.items.release()  # as the switch to another bundle does
    assert state.sequence.catalogue_lacks == f"vectors of 0 items are kept, the catalogue has {ITEMS:,}"
    found = await recommending
    assert found.model_version == "bench"
    first = await recommend(state, "ann", 10)
    assert [hit.id for hit in found.found.hits] == [hit.id for hit in first.found.hits]
    state.sequence.close()
    state.embedder.close()
    await store.close()
