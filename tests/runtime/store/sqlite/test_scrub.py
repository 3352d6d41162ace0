"""A deleted user is gone from the bytes of the files."""

import asyncio
import random
import sqlite3

import pytest

from runtime.store import Exposure, StoreError
from runtime.store.sqlite import scrub
from runtime.store.sqlite.connection import open_reader


def _exposure(ranking_id, user):
    return Exposure(
        ranking_id=ranking_id,
        user_id=user,
        experiment="feed",
        period=1,
        arm="control",
        model_version="simple-v1",
        time_us=0,
        items=b'[["shown to %s",1.0]]' % user.encode(),
        closes_us=1,
        bucket_us=1,
    )


def fill(store, item, event, preferences):
    """Events with ids in random order, so that pages split and merge; returns the users."""
    rng = random.Random(5)
    store.put_content([item(f"content-{n}", n) for n in range(40)])
    users = [f"person-{rng.getrandbits(128):032x}" for _ in range(60)]
    for _ in range(30):
        batch = []
        for _ in range(200):
            user = rng.choice(users)
            content = f"content-{rng.randrange(40)}"
            device = f"device of {user}" * rng.randrange(1, 4)
            id = f"{rng.getrandbits(64):016x}-{user}"
            batch.append(event(id, user=user, content=content, device=device, context=b'"%s"' % user.encode()))
        store.add_interactions(batch)
        user = rng.choice(users)
        store.put_preferences(user, preferences(texts=[f"of {user}"]))
        store.add_exposures([_exposure(f"{rng.getrandbits(64):016x}-{one}", one) for one in rng.choices(users, k=20)])
    return users


def copies(data_dir, text):
    return {file.name: n for file in data_dir.iterdir() if (n := file.read_bytes().count(text.encode()))}


def delete_and_look(store, users, data_dir):
    left = {}
    for user in users:
        receipt = store.delete_user(user)
        assert receipt.users == 1
        assert receipt.interactions > 0
        if found := copies(data_dir, user):
            left[user] = found
    return left


def test_a_deleted_user_leaves_no_bytes(store, data_dir, item, event, preferences):
    users = fill(store, item, event, preferences)
    deleted, kept = users[:30], users[30:]
    assert copies(data_dir, deleted[0])
    before = {user: store.get_user(user).sums.encode() for user in kept}
    log = [entry for entry in store.log(limit=10_000)[0] if entry.user_id in kept]
    assert delete_and_look(store, deleted, data_dir) == {}
    # nothing else has changed, and later writes do not bring back what a cache remembered
    assert store.log(limit=10_000)[0] == log
    assert {user: store.get_user(user).sums.encode() for user in kept} == before
    store.add_interactions([event(f"new-{n}", user=kept[n % 30], content="content-1") for n in range(500)])
    assert not [user for user in deleted if copies(data_dir, user)]
    assert open_reader(store.path).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_without_the_scrub_there_would_be_bytes_to_find(store, data_dir, item, event, preferences, monkeypatch):
    erase, changed = scrub.erase_some, []

    def watched(*arguments):
        before = store.path.read_bytes()
        result = erase(*arguments)
        changed.append(store.path.read_bytes() != before)
        return result

    users = fill(store, item, event, preferences)
    monkeypatch.setattr(scrub, "erase_some", watched)
    delete_and_look(store, users[:10], data_dir)
    assert changed[0]  # since the filling
    assert any(changed[1:])  # since the deletion before


def test_a_reader_in_the_way_is_reported_and_repeating_cures_it(store, data_dir, item, event):
    store.put_content([item("barn")])
    store.add_interactions([event("secret-event-id", user="secret-user-id")])
    store.writer._scrub_wait_s = 0.2
    reader = open_reader(store.path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM users").fetchall()
    with pytest.raises(StoreError, match=r"rows are deleted, but copies may be left .* a reader is in the way; repeat"):
        store.delete_user("secret-user-id")
    assert store.get_user("secret-user-id") is None
    assert copies(data_dir, "secret-user-id")
    reader.execute("ROLLBACK")
    assert store.delete_user("secret-user-id").users == 0
    assert not copies(data_dir, "secret-user-id")
    assert not copies(data_dir, "secret-event-id")
    reader.close()


def test_writes_go_on_while_a_deletion_waits_for_a_reader_or_goes_over_the_file(store, data_dir, item, event):
    """A backup holds its moment for as long as it takes: the deletion waits, nobody else does."""
    store.put_content([item("barn")])
    store.add_interactions([event("secret-event-id", user="secret-user-id")])
    reader = open_reader(store.path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM users").fetchall()

    async def run():
        deletion = asyncio.ensure_future(store.store.delete_user("secret-user-id"))
        for n in range(20):
            assert await store.store.add_interactions([event(f"meanwhile-{n}")]) == ["stored"]
        assert not deletion.done()
        reader.execute("ROLLBACK")
        async with asyncio.timeout(30):
            assert (await deletion).users == 1

    asyncio.run(run())
    assert not copies(data_dir, "secret-user-id")
    reader.close()


def test_a_pass_in_many_steps_with_writes_between_leaves_no_bytes(
    store, data_dir, item, event, preferences, monkeypatch
):
    """One chunk a step, and a write after each: rows move between pages that were scrubbed and others."""
    users = fill(store, item, event, preferences)
    erase, steps = scrub.erase_some, []

    def one_chunk(file, page_bytes, start, until):
        steps.append(start)
        return erase(file, page_bytes, start, 0.0)

    monkeypatch.setattr(scrub, "erase_some", one_chunk)

    async def run():
        done = asyncio.Event()

        async def write():
            n = 0
            while not done.is_set():
                n += 1
                batch = [event(f"{n}-{i}-{users[-1]}", user=users[-1 - i], content=f"content-{i}") for i in range(20)]
                await store.store.add_interactions(batch)

        writing = asyncio.ensure_future(write())
        left = {}
        for user in users[:8]:
            assert (await store.store.delete_user(user)).users == 1
            if found := copies(data_dir, user):
                left[user] = found
        done.set()
        await writing
        return left

    assert asyncio.run(run()) == {}
    assert len(steps) > 8 * 2
    assert store.check() == []


def test_a_scrub_owed_since_a_crash_is_done_after_the_next_start(open_store, data_dir, item, event, monkeypatch):
    store = open_store()
    store.put_content([item("barn")])
    store.add_interactions([event("secret-event-id", user="secret-user-id")])
    erase, calls = scrub.erase_some, []

    def crash(*_):
        raise OSError("the machine is on fire")

    monkeypatch.setattr(scrub, "erase_some", crash)
    with pytest.raises(StoreError, match="on fire"):
        store.delete_user("secret-user-id")
    store.close()
    monkeypatch.setattr(scrub, "erase_some", lambda *file: calls.append(1) or erase(*file))
    open_store().close()
    assert calls
    assert not copies(data_dir, "secret-user-id")
    calls.clear()
    open_store().close()
    assert calls == []


def test_a_file_with_pointer_map_pages_is_left_alone(data_dir):
    data_dir.mkdir()
    with sqlite3.connect(data_dir / "vows.db") as connection:
        connection.execute("PRAGMA auto_vacuum = FULL")
        connection.execute("CREATE TABLE scrub_owed (one INTEGER PRIMARY KEY, times INTEGER NOT NULL)")
        connection.execute("INSERT INTO scrub_owed VALUES (1, 1)")
    scrubber = scrub.Scrubber(data_dir / "vows.db")
    with pytest.raises(OSError, match=r"pointer-map pages \(auto_vacuum=1\)"):
        scrubber.begin(connection)
    connection.close()
    scrubber.close()


def test_removing_the_copy_before_a_migration_is_synced(store, data_dir, item, event, monkeypatch):
    """Or a power cut would bring back who was deleted."""
    store.put_content([item("barn")])
    store.add_interactions([event("1")])
    copy = data_dir / "vows.db.before-something"
    copy.write_bytes(b"ann")
    synced = []
    monkeypatch.setattr(scrub, "sync_directory", lambda folder: synced.append((folder, copy.exists())))
    store.delete_user("ann")
    assert synced == [(data_dir, False)]


def test_a_page_that_is_not_what_it_seems_is_left_alone(tmp_path):
    file = tmp_path / "pages"
    page = bytearray(b"\xee" * 4096)
    page[:8] = bytes([13, 0, 0, 0xFF, 0xFF, 0, 9, 0])  # a leaf with 65,535 cells
    file.write_bytes(bytes(4096) + bytes(page))
    with file.open("r+b") as opened, pytest.raises(OSError, match="65535 cells, the first at 9"):
        scrub.erase_unallocated(opened.fileno(), 4096)
    assert file.read_bytes()[4096:] == page
