"""Behind a real PgBouncer in transaction mode, where each transaction may get another session."""

import asyncio
import uuid

import pytest

from runtime.cli.doctor_postgres import examine_postgres
from runtime.environment import read_settings
from runtime.store import StoreError
from runtime.store.postgres.store import open_store


@pytest.fixture
def url(pooler, postgres_server):
    name = f"pooled-{uuid.uuid4().hex[:12]}"
    postgres_server.create_database(name)
    return pooler.url(name)


async def open_pooled(url, **options):
    return await open_store(url, dimensions=4, pooler="transaction", timeout_s=5.0, **options)


async def test_more_machines_than_sessions_write_and_read_at_once(url, item, event):
    stores = [await open_pooled(url) for _ in range(3)]
    await stores[0].put_content([item("barn"), item("tent", 1)])

    async def client(number):
        store = stores[number % 3]
        for n in range(10):
            outcome = await store.add_interactions([event(f"{number}-{n}", user=f"user-{number % 4}")])
            assert outcome == ["stored"]
            assert (await store.get_user(f"user-{number % 4}")).interaction_count > n

    await asyncio.gather(*(client(number) for number in range(12)))
    repeated = await stores[1].add_interactions([event("0-0", user="user-0")])
    counts, problems = await stores[2].counts(), await stores[0].check()
    for store in stores:
        await store.close()
    assert (repeated, counts.interactions, problems) == (["duplicate"], 120, [])


async def test_what_one_machine_changes_the_other_follows(url, item):
    here, there = await open_pooled(url), await open_pooled(url)
    await there.feed.begin()
    await here.put_content([item("barn")])
    async with asyncio.timeout(60):
        while not (changes := await there.feed.changes()).ids:
            there.feed.done(changes)
            await there.feed.wait(0.05)  # nothing wakes it: a listener needs a session of its own
    there.feed.done(changes)
    await here.close()
    await there.close()
    assert changes.ids == ["barn"]


async def test_a_pooler_that_restarts_is_an_outage_and_no_more(pooler, url, item, event):
    store = await open_pooled(url)
    await store.put_content([item("barn")])
    pooler.stop()
    with pytest.raises(StoreError):
        await store.get_user("ann")
    pooler.start()
    async with asyncio.timeout(60):
        while store.unavailable() is not None:
            await asyncio.sleep(0.02)
    stored = await store.add_interactions([event("1")])
    await store.close()
    assert stored == ["stored"]


def test_a_pooler_that_nothing_says_of_is_named_with_the_setting(url):
    def found(**settings):
        given = read_settings({"VOWS_DATABASE_URL": url, **settings})
        return {one.name: one for one in examine_postgres(given)}

    with pytest.raises(StoreError, match="a pooler answers; set VOWS_DATABASE_POOLER=transaction"):
        asyncio.run(open_store(url, dimensions=4))
    unsafe = found()["Postgres"]
    assert (unsafe.verdict, "set VOWS_DATABASE_POOLER=transaction" in unsafe.found) == ("unsafe", True)
    fine = found(VOWS_DATABASE_POOLER="transaction")["pooler"]
    assert (fine.verdict, fine.found.startswith("a pooler answers;")) == ("ok", True)
