"""Several machines, here several stores, write to one database at the same time."""

import asyncio
import random

import asyncpg
import pytest

from runtime.store.postgres.store import open_store


async def opened(url, machines=3):
    return [await open_store(url, dimensions=4, most_connections=3) for _ in range(machines)]


async def closed(stores):
    for store in stores:
        await store.close()


async def test_sums_are_right_and_events_count_once_under_concurrent_writers(database, item, event):
    stores = await opened(database)
    await stores[0].put_content([item(f"item-{n}", n) for n in range(5)])
    events = [
        event(str(n), user=f"user-{n % 7}", content=f"item-{n % 5}", type=("view", "save", "share")[n % 3], time_us=n)
        for n in range(300)
    ]

    async def machine(store, seed):
        mine = random.Random(seed).sample(events, len(events))  # every machine gets every event
        return [await store.add_interactions(mine[n : n + 7]) for n in range(0, len(mine), 7)]

    outcomes = await asyncio.gather(*(machine(store, seed) for seed, store in enumerate(stores)))
    stored = sum(outcome == "stored" for some in outcomes for few in some for outcome in few)
    found = await stores[0].check(), (await stores[1].counts()).interactions, stored
    await closed(stores)
    assert found == ([], 300, 300)


async def test_anything_at_once_leaves_what_the_log_says(database, item, event, preferences):
    stores = await opened(database)

    async def machine(store, seed):
        rng = random.Random(seed)
        for n in range(60):
            user, content = f"user-{rng.randrange(4)}", f"item-{rng.randrange(4)}"
            match rng.randrange(8):
                case 0:
                    await store.put_content([item(f"item-{k}", rng.randrange(9)) for k in rng.sample(range(4), 2)])
                case 1:
                    await store.delete_content(content)
                case 2:
                    await store.delete_user(user)
                case 3:
                    await store.delete_interaction(f"{rng.randrange(3)}-{rng.randrange(60)}")
                case 4:
                    await store.rebuild_user(user)
                case 5:
                    await store.put_preferences(user, preferences(n))
                case _:
                    some = [
                        event(f"{seed}-{n}-{k}", user=f"user-{rng.randrange(4)}", content=f"item-{rng.randrange(4)}")
                        for k in range(3)
                    ]
                    await store.add_interactions(some)

    await stores[0].put_content([item(f"item-{n}", n) for n in range(4)])
    await asyncio.gather(*(machine(store, seed) for seed, store in enumerate(stores)))
    found = await stores[0].check()
    await closed(stores)
    assert found == []


async def test_the_check_finds_what_contradicts_the_log(database, item, event):
    (store,) = await opened(database, 1)
    await store.put_content([item("barn"), item("hall", 1)])
    await store.add_interactions([event("1"), event("2", content="hall")])
    connection = await asyncpg.connect(database)
    await connection.execute("DELETE FROM interactions WHERE event_id = '2'")
    await connection.close()
    found = await store.check()
    await store.close()
    assert found == [
        "2 interactions are counted, 1 are stored",
        "content 'hall' has popularity 1, the log gives 0",
        "user 'ann' has 2 events by their count, 1 in the log",
        "the sums of user 'ann' are not those of the log",
    ]


async def test_a_deleted_user_is_in_no_table(database, postgres_server, item, event, preferences):
    (store,) = await opened(database, 1)
    await store.put_content([item("barn")])
    await store.add_interactions([event("an-event-of-hers", user="anna-karenina", device="her-phone")])
    await store.put_preferences("anna-karenina", preferences(1, texts=["her-own-words"]))
    receipt = await store.delete_user("anna-karenina")
    await store.close()
    connection = await asyncpg.connect(database)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    dumped = [str(row) for (table,) in tables for row in await connection.fetch(f"SELECT t::text FROM {table} t")]
    await connection.close()
    dumped = "\n".join(dumped)
    assert (receipt.users, receipt.interactions, receipt.preferences) == (1, 1, 1)
    for trace in ("anna-karenina", "an-event-of-hers", "her-phone", b"her-own-words".hex()):
        assert trace not in dumped


async def test_every_write_is_committed_with_a_sync_whatever_the_database_says(database, postgres_server, item):
    name = database.split("/")[3].split("?")[0]
    await asyncio.to_thread(postgres_server.execute, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    (store,) = await opened(database, 1)
    asked = "SELECT current_setting('synchronous_commit')"
    outside = await store.connections.read("reading", lambda connection: connection.fetchval(asked))
    inside = await store.connections.transact("writing", lambda connection: connection.fetchval(asked))
    await store.close()
    assert (outside, inside) == ("off", "on")


async def test_the_log_shows_events_in_an_order_that_no_later_commit_disturbs(database, item, event):
    store, other = await opened(database, 2)
    await store.put_content([item("barn")])
    slow = await asyncpg.connect(database)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute("SELECT pg_current_xact_id()")  # began before, ends after
    await other.add_interactions([event("later")])
    during, _ = await store.log()
    counted = (await store.get_user("ann")).interaction_count
    await transaction.rollback()
    after, _ = await store.log()
    await slow.close()
    await closed([store, other])
    assert (during, counted, [entry.event_id for entry in after]) == ([], 1, ["later"])


async def test_a_reader_who_continues_after_the_last_sequence_misses_nothing(database, item, event):
    stores = await opened(database)
    await stores[0].put_content([item("barn")])
    reader, seen, after, writing = stores[2], [], 0, True

    async def write(store, machine):
        for n in range(80):
            await store.add_interactions([event(f"{machine}-{n}", user=f"user-{machine}")])

    async def read():
        nonlocal after
        while True:
            last = not writing
            while page := (await reader.log(after=after, limit=10))[0]:
                seen.extend(entry.event_id for entry in page)
                after = page[-1].sequence
            if last:
                return
            await asyncio.sleep(0)

    reading = asyncio.ensure_future(read())
    await asyncio.gather(*(write(store, n) for n, store in enumerate(stores[:2])))
    writing = False
    await reading
    await closed(stores)
    assert len(seen) == len(set(seen)) == 160


async def test_the_feed_reports_every_change_of_every_machine(database, item):
    stores = await opened(database)
    feed = stores[2].feed
    await feed.begin()
    seen, writing = set(), True

    async def write(store, machine):
        for n in range(60):
            await store.put_content([item(f"{machine}-{n}", n)])

    async def follow():
        while True:
            last = not writing
            changes = await feed.changes()
            seen.update(changes.ids)
            feed.done(changes)
            if last:
                return
            await feed.wait(0.05)

    following = asyncio.ensure_future(follow())
    await asyncio.gather(*(write(store, n) for n, store in enumerate(stores[:2])))
    writing = False
    await following
    nothing_new = (await feed.changes()).ids
    await closed(stores)
    assert seen == {f"{machine}-{n}" for machine in range(2) for n in range(60)}
    assert nothing_new == []


async def test_machines_with_another_decay_serve_side_by_side(database, item, event):
    old = await open_store(database, dimensions=4, decay_per_day=0.01)
    new = await open_store(database, dimensions=4, decay_per_day=0.5)
    await old.put_content([item("barn"), item("hall", 1)])
    for n, store in enumerate([old, new] * 3):
        await store.add_interactions([event(str(n), content=("barn", "hall")[n % 2], time_us=n * 86_400_000_000)])
    states = [await store.rebuild_user("ann") for store in (old, new)]
    problems = await new.check()
    stale_for_the_other = (await old.get_user("ann")).stale
    await closed([old, new])
    assert states[0].sums.weight == pytest.approx(sum(pow(2.718281828, -0.01 * age) for age in range(6)), rel=1e-6)
    assert states[1].sums.weight == pytest.approx(sum(pow(2.718281828, -0.5 * age) for age in range(6)), rel=1e-6)
    assert (problems, stale_for_the_other) == ([], True)
