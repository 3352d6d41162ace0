"""Many callers on one event loop."""

import asyncio

import pytest

from runtime.store import StoreClosed


def test_writes_take_effect_in_the_order_in_which_they_were_begun(store, item):
    async def many():
        outcomes = await asyncio.gather(*(store.store.put_content([item("barn", seed)]) for seed in range(50)))
        return outcomes, await store.store.get_content("barn")

    outcomes, last = store.run(many())
    assert outcomes == [["created"], *[["replaced"]] * 49]
    assert last.embedding.tolist() == item("barn", 49).embedding.tolist()


def test_a_write_is_read_as_soon_as_it_returned(store, item):
    async def write_and_read(n):
        await store.store.put_content([item(f"item-{n}")])
        return await store.store.get_content(f"item-{n}") is not None

    async def many():
        return await asyncio.gather(*(write_and_read(n) for n in range(40)))

    assert all(store.run(many()))


def test_a_cancelled_write_happened_whole_or_not_at_all(store, item, event):
    async def cancel_some():
        await store.store.put_content([item("barn")])
        writes = [asyncio.ensure_future(store.store.add_interactions([event(str(n))])) for n in range(60)]
        await asyncio.sleep(0)
        for write in writes[::2]:
            write.cancel()
        return await asyncio.gather(*writes, return_exceptions=True)

    results = store.run(cancel_some())
    logged = {entry.event_id for entry in store.log()[0]}
    assert {str(n) for n, result in enumerate(results) if result == ["stored"]} <= logged
    assert {str(n) for n in range(1, 60, 2)} <= logged
    assert store.get_user("ann").interaction_count == len(logged)
    assert store.counts().interactions == len(logged)


def test_looking_up_many_ids_lets_other_tasks_run(store, item):
    ids = [f"item-{n}" for n in range(300)]
    store.put_content([item(id) for id in ids])

    async def turns_of_another_task(read):
        turns = 0

        async def count():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        other = asyncio.ensure_future(count())
        await asyncio.sleep(0)
        assert len(await read) == len(ids)
        other.cancel()
        return turns

    asked = [(id, b'{"text":"barn"}') for id in ids]
    for read in (store.store.unchanged(asked, "bundle-1"), store.store.embeddings(ids)):
        assert store.run(turns_of_another_task(read)) >= 3


def test_a_closed_store_refuses(open_store, item):
    store = open_store()
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.get_user("ann")
    with pytest.raises(StoreClosed):
        store.put_content([item("barn")])
    with pytest.raises(StoreClosed):
        store.vectors("bundle-1")
    assert open_store().counts().content == 0
