"""Copies of the database: of one moment, checked, complete or absent, and put back the same way."""

import logging
import os
import random
import sqlite3
import threading

import pytest

from bench.blocking_store import BlockingStore
from runtime.store import ExperimentChange, Exposure, SchemaTooNew, StoreCorrupt, StoreError, StoreIOError, StoreLocked
from runtime.store.sqlite import backup, migrations
from runtime.store.sqlite import store as sqlite
from runtime.store.sqlite.backup import back_up, restore
from runtime.store.sqlite.backup_seal import take_off
from runtime.store.sqlite.connection import DATABASE
from tests.waiting import until


@pytest.fixture
def filled(open_store, item, event, preferences):
    """A store with content, events and preferences, and how many rows it has."""
    store = open_store()
    store.put_content([item("barn"), item("hall", 1)])
    store.add_interactions([event(str(n), user=f"user-{n % 3}") for n in range(30)])
    store.put_preferences("ann", preferences())
    return store


def ids(path):
    connection = sqlite3.connect(path)
    try:
        return [id for (id,) in connection.execute("SELECT event_id FROM interactions ORDER BY sequence").fetchall()]
    finally:
        connection.close()


def test_a_copy_made_under_writes_has_everything_acknowledged_before_and_goes_back(
    filled, open_store, event, data_dir, tmp_path
):
    acknowledged, stop = [str(n) for n in range(30)], threading.Event()

    def write():
        n = 1000
        while not stop.is_set():
            filled.add_interactions([event(str(n))])
            acknowledged.append(str(n))
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: len(acknowledged) >= 40)
    before = list(acknowledged)
    copy = back_up(data_dir / DATABASE, tmp_path / "copy")
    stop.set()
    writer.join()
    copied = ids(tmp_path / "copy")
    assert copied[: len(before)] == before
    assert copied == acknowledged[: len(copied)]
    assert (copy.rows.content, copy.rows.interactions, copy.rows.preferences) == (2, len(copied), 1)
    assert sorted(os.listdir(tmp_path)) == ["copy", "data"]
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    filled.close()
    assert restore(tmp_path / "copy", tmp_path / "elsewhere", replace=False).rows == copy.rows
    back = BlockingStore(sqlite.SqliteStore(tmp_path / "elsewhere", dimensions=4))
    assert [entry.event_id for entry in back.log(limit=100_000)[0]] == copied
    assert back.check() == []
    assert back.add_interactions([event("new"), event("3", user="user-0")]) == ["stored", "duplicate"]
    back.close()


def test_a_copy_has_the_experiments(filled, open_store, data_dir, tmp_path):
    change = ExperimentChange(experiment="feed", kind="defined", period=1, details=b"{}", time_us=1)
    filled.change_experiment(change, after=0)
    filled.add_exposures(
        [
            Exposure(
                ranking_id="r-1",
                user_id="ann",
                experiment="feed",
                period=1,
                arm="control",
                model_version="simple-v1",
                time_us=1,
                items=b'[["barn",1.0]]',
                closes_us=2,
                bucket_us=1,
            )
        ]
    )
    assert back_up(data_dir / DATABASE, tmp_path / "copy").rows.exposures == 1
    filled.close_windows(5)
    filled.close()
    restore(tmp_path / "copy", data_dir, replace=True)
    store = open_store()
    assert [one.ranking_id for one in store.exposures()] == ["r-1"]
    assert [one.kind for one in store.experiment_changes()] == ["defined"]
    assert store.close_windows(5) == 1  # it was open when the copy was made


def test_a_copy_has_no_bytes_of_who_was_deleted_before(filled, event, data_dir, tmp_path):
    filled.add_interactions([event("x", user="zebediah")])
    filled.delete_user("zebediah")
    back_up(data_dir / DATABASE, tmp_path / "copy")
    assert b"zebediah" not in (tmp_path / "copy").read_bytes()


def test_a_copy_never_takes_the_place_of_another_file(filled, data_dir, tmp_path):
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(StoreError, match="exists already; choose another name"):
        back_up(data_dir / DATABASE, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"
    with pytest.raises(StoreIOError, match="check that the volume is mounted"):
        back_up(data_dir / DATABASE, tmp_path / "no" / "folder")
    with pytest.raises(StoreIOError, match="set VOWS_DATA_DIR"):
        back_up(tmp_path / DATABASE, tmp_path / "other")


def test_a_damaged_database_gives_no_copy(filled, item, data_dir, tmp_path):
    filled.put_content([item(f"item-{n}", n, fields=b"x" * 3000) for n in range(50)])
    filled.close()
    damaged = bytearray((data_dir / DATABASE).read_bytes())
    damaged[len(damaged) // 2 :] = b"\xff" * (len(damaged) - len(damaged) // 2)
    (data_dir / DATABASE).write_bytes(damaged)
    with pytest.raises(StoreError):
        back_up(data_dir / DATABASE, tmp_path / "copy")
    assert not list(tmp_path.glob("copy*"))


def test_a_database_that_exists_or_is_in_use_is_not_replaced_by_default(filled, open_store, event, data_dir, tmp_path):
    back_up(data_dir / DATABASE, tmp_path / "copy")
    filled.add_interactions([event("later")])
    with pytest.raises(StoreLocked, match="is in use by another process"):
        restore(tmp_path / "copy", data_dir, replace=True)
    filled.close()
    with pytest.raises(StoreError, match="add --replace to replace it by the backup"):
        restore(tmp_path / "copy", data_dir, replace=False)
    assert "later" in ids(data_dir / DATABASE)
    restore(tmp_path / "copy", data_dir, replace=True)
    assert "later" not in ids(data_dir / DATABASE)
    assert sorted(os.listdir(data_dir)) == ["lock", DATABASE]
    assert open_store().counts().interactions == 30


def test_the_log_of_the_old_database_is_not_applied_to_the_new_one(open_store, item, event, data_dir, tmp_path):
    store = open_store()
    store.put_content([item("barn")])
    back_up(data_dir / DATABASE, tmp_path / "copy")
    store.add_interactions([event("later")])
    log = (data_dir / f"{DATABASE}-wal").read_bytes()  # as a kill would leave it
    store.close()
    (data_dir / f"{DATABASE}-wal").write_bytes(log)
    (data_dir / DATABASE).write_bytes(b"damaged")
    restore(tmp_path / "copy", data_dir, replace=True)
    store = open_store()
    assert store.check() == []
    assert store.counts().interactions == 0


def test_what_is_not_a_whole_backup_of_ours_is_refused_and_the_database_stays(filled, data_dir, tmp_path):
    copy = back_up(data_dir / DATABASE, tmp_path / "copy").path
    with pytest.raises(StoreError, match="a database in use, with a log beside it"):
        restore(data_dir / DATABASE, tmp_path / "other", replace=False)
    filled.close()
    before = (data_dir / DATABASE).read_bytes()
    whole = copy.read_bytes()
    for bad, complaint in (
        (b"PK\x03\x04 not a database" * 100, "does not end with its checksum"),
        (whole[: len(whole) // 2], "damaged|malformed"),
        (whole[:8192] + b"\xff" * 4096 + whole[12288:], "damaged|malformed"),
    ):
        copy.write_bytes(bad)
        with pytest.raises(StoreCorrupt, match=complaint):
            restore(copy, data_dir, replace=True)
    other = sqlite3.connect(tmp_path / "theirs")
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreCorrupt, match="no database of this program"):
        restore(tmp_path / "theirs", data_dir, replace=True)
    with pytest.raises(StoreIOError, match="there is no backup at"):
        restore(tmp_path / "nothing", data_dir, replace=True)
    copy.write_bytes(whole)
    take_off(copy)
    newer = sqlite3.connect(copy)
    newer.execute("INSERT INTO migrations (name, applied_us) VALUES ('from_the_future', 0)")
    newer.commit()
    newer.close()
    with pytest.raises(SchemaTooNew, match="from_the_future"):
        restore(copy, data_dir, replace=True)
    assert (data_dir / DATABASE).read_bytes() == before
    assert sorted(os.listdir(data_dir)) == ["lock", DATABASE]


def add_note(connection):
    connection.execute("ALTER TABLE users ADD COLUMN note TEXT")


def fail(connection):
    connection.execute("CREATE TABLE half_done (x)")
    raise RuntimeError("half way")


def with_steps(monkeypatch, *steps):
    """As a later version of this program would be: the same steps and then these."""
    changed = (*migrations.MIGRATIONS, *steps)
    monkeypatch.setattr("runtime.store.sqlite.migrations.MIGRATIONS", changed)
    for function in (migrations.pending, migrations.migrate):
        monkeypatch.setattr(function, "__defaults__", (changed,))


def test_a_migration_is_preceded_by_a_backup_that_goes_back(filled, open_store, data_dir, monkeypatch):
    filled.close()
    assert not list(data_dir.glob("*.before-*"))  # nothing to lose when the first tables were made
    backup = data_dir / f"{DATABASE}.before-fail"
    with monkeypatch.context() as newer:
        with_steps(newer, fail)
        with pytest.raises(RuntimeError, match="half way"):
            open_store()
    assert len(ids(backup)) == 30
    with monkeypatch.context() as newer:
        with_steps(newer, add_note)
        open_store().close()
    assert [path.name for path in data_dir.glob("*.before-*")] == [f"{DATABASE}.before-add_note"]  # the latest only
    with pytest.raises(SchemaTooNew):
        open_store()
    assert restore(data_dir / f"{DATABASE}.before-add_note", data_dir, replace=True).rows.interactions == 30
    assert open_store().counts().interactions == 30


def test_how_far_the_copy_before_a_migration_is_is_logged(filled, open_store, data_dir, monkeypatch, caplog):
    """Of two gigabytes it takes a minute, in which the server does not answer."""
    filled.close()
    monkeypatch.setattr(backup, "_REPORT_EVERY_S", 0.0)
    monkeypatch.setattr(backup, "_PAGES_AT_ONCE", 1)
    caplog.set_level(logging.INFO, "vows")
    with_steps(monkeypatch, add_note)
    open_store().close()
    lines = [record.getMessage() for record in caplog.records]
    assert f"is copied to {DATABASE}.before-add_note" in lines[0]
    assert "(add_note)" in lines[0]
    shares = [int(line.split(" %")[0]) for line in lines if line.endswith("% of the database is copied")]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert 0 < shares[0] < 50
    assert lines[-1] == "the copy is whole; the database is migrated now"


def test_a_backup_that_cannot_be_made_stops_the_migration(filled, open_store, data_dir, monkeypatch):
    filled.close()
    (data_dir / f"{DATABASE}.before-add_note.partial").mkdir()
    before = (data_dir / DATABASE).read_bytes()
    with_steps(monkeypatch, add_note)
    with pytest.raises(StoreIOError, match="backing up to"):
        open_store()
    assert (data_dir / DATABASE).read_bytes() == before


def test_forgetting_a_user_forgets_the_backup_before_a_migration(filled, open_store, data_dir, monkeypatch):
    filled.close()
    with_steps(monkeypatch, add_note)
    store = open_store()
    assert b"user-1" in (data_dir / f"{DATABASE}.before-add_note").read_bytes()
    store.delete_user("user-1")
    assert not [path for path in data_dir.iterdir() if b"user-1" in path.read_bytes()]


def test_a_backup_with_any_byte_changed_or_missing_is_refused(filled, data_dir, tmp_path):
    copy = back_up(data_dir / DATABASE, tmp_path / "copy").path
    whole = copy.read_bytes()
    rng = random.Random(3)
    places = [*range(-56, 0, 5), 0, 16, 17, 24, *(rng.randrange(len(whole)) for _ in range(40))]
    for place in places:
        bad = bytearray(whole)
        bad[place] ^= 1 << rng.randrange(8)
        copy.write_bytes(bad)
        with pytest.raises(StoreCorrupt, match=r"damaged|no database of this program"):
            restore(copy, tmp_path / "other", replace=True)
    for size in (len(whole) - 1, len(whole) - 30, 4096, 100, 1, 0):
        copy.write_bytes(whole[:size])
        with pytest.raises(StoreCorrupt):
            restore(copy, tmp_path / "other", replace=True)
    assert not (tmp_path / "other" / DATABASE).exists()
    copy.write_bytes(whole)
    assert restore(copy, tmp_path / "other", replace=True).rows == filled.counts()
    assert (tmp_path / "other" / DATABASE).read_bytes() == whole[:-56]
