"""Opening: what must hold before anything is written, and what is refused."""

import os
import sqlite3
import subprocess
import sys

import pytest

from runtime.store import SchemaTooNew, StoreBusy, StoreClosed, StoreCorrupt, StoreError, StoreIOError, StoreLocked
from runtime.store.sqlite import connection, integrity
from runtime.store.sqlite.connection import DATABASE, open_reader, open_writer
from tests.waiting import WAIT_S


def test_every_setting_is_read_back_from_the_connection(tmp_path):
    writer = open_writer(tmp_path / DATABASE)
    expected = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "cache_size": -1024, "temp_store": 2}
    for name, value in expected.items():
        assert writer.execute(f"PRAGMA {name}").fetchone() == (value,)
    reader = open_reader(tmp_path / DATABASE)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("CREATE TABLE t (x)")
    reader.close()
    writer.close()


def test_a_setting_that_does_not_take_stops_the_start(tmp_path, monkeypatch):
    monkeypatch.setitem(connection._WRITER_PRAGMAS, "synchronous", ("NORMAL", 2))
    with pytest.raises(StoreError, match="gave synchronous = 1 where 2 was requested"):
        open_writer(tmp_path / DATABASE)


def test_a_second_process_is_refused(store, data_dir):
    program = f"""
from pathlib import Path
from runtime.store.sqlite.store import SqliteStore
SqliteStore(Path({str(data_dir)!r}), dimensions=4)
"""
    second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT_S)
    assert second.returncode != 0
    assert f"StoreLocked: {data_dir} is in use by another process (pid {os.getpid()}); stop it or" in second.stderr


def test_the_lock_is_let_go_on_close_and_after_a_failed_start(open_store, data_dir):
    store = open_store()
    with pytest.raises(StoreLocked):
        open_store()
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.get_user("ann")
    with pytest.raises(StoreClosed):
        store.delete_user("ann")
    open_store().close()
    assert sorted(os.listdir(data_dir)) == ["lock", DATABASE]


def test_a_database_of_another_program_is_left_as_it_is(open_store, data_dir):
    data_dir.mkdir()
    other = sqlite3.connect(data_dir / DATABASE)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = (data_dir / DATABASE).read_bytes()
    with pytest.raises(StoreCorrupt, match=r"database of another program .* choose another data directory"):
        open_store()
    assert (data_dir / DATABASE).read_bytes() == before


def test_a_file_that_is_no_database(open_store, data_dir):
    data_dir.mkdir()
    (data_dir / DATABASE).write_bytes(b"PK\x03\x04 not a database" * 100)
    with pytest.raises(StoreCorrupt, match="restore the database from a backup"):
        open_store()


@pytest.fixture
def half_damaged(open_store, item, data_dir):
    store = open_store()
    store.put_content([item(f"item-{n}", n, fields=b"x" * 3000) for n in range(50)])
    store.close()
    damaged = bytearray((data_dir / DATABASE).read_bytes())
    damaged[len(damaged) // 2 :] = b"\xff" * (len(damaged) - len(damaged) // 2)
    (data_dir / DATABASE).write_bytes(damaged)


def test_a_start_names_damaged_pages_of_a_small_database(open_store, half_damaged):
    with pytest.raises(StoreCorrupt, match="restore"):
        open_store()


def test_a_damaged_page_that_the_start_did_not_reach_is_named_when_it_is_met(
    open_store, item, half_damaged, monkeypatch
):
    for look in ("check_at_start", "report_damaged_rows"):
        monkeypatch.setattr(f"runtime.store.sqlite.store.{look}", lambda connection: None)
    store = open_store()
    assert store.check() != []
    with pytest.raises(StoreCorrupt, match="restore the database from a backup"):
        list(store.vectors("bundle-1"))
    with pytest.raises(StoreCorrupt):
        store.put_content([item(f"item-{n}", n + 1) for n in range(50)])
    assert store.counts().content == 50  # what is whole can still be read


def test_a_directory_that_cannot_be_made(tmp_path, open_store, data_dir):
    data_dir.write_text("a file, not a folder")
    with pytest.raises(StoreIOError, match="make it writable or choose another"):
        open_store()


def test_a_database_of_a_newer_version(open_store, data_dir):
    open_store().close()
    newer = sqlite3.connect(data_dir / DATABASE)
    newer.execute("INSERT INTO migrations (name, applied_us) VALUES ('from_the_future', 0)")
    newer.commit()
    newer.close()
    with pytest.raises(SchemaTooNew, match="has had migrations from_the_future, this version knows first_tables"):
        open_store()


def test_another_program_that_holds_the_database_is_named_and_waited_for(open_store, item, data_dir, monkeypatch):
    monkeypatch.setattr(connection, "_PRAGMAS", connection._PRAGMAS | {"busy_timeout": ("50", 50)})
    store = open_store()
    other = sqlite3.connect(data_dir / DATABASE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match="another program holds the database, stop it or try again"):
        store.put_content([item("barn")])
    other.execute("ROLLBACK")
    assert store.put_content([item("barn")]) == ["created"]
    other.close()


def test_of_a_large_database_a_start_looks_at_the_small_tables_alone(open_store, data_dir, monkeypatch):
    open_store().close()
    monkeypatch.setattr(integrity, "_WHOLE_BYTES", 0)
    connection, said = open_writer(data_dir / DATABASE), []
    connection.set_trace_callback(said.append)
    integrity.check_at_start(connection)
    connection.close()
    looked_at = {line.partition("integrity_check")[2] for line in said if "integrity_check" in line}
    assert "(totals)" in looked_at
    assert not looked_at & {"(100)", "(content)", "(interactions)", "(users)"}
