"""Damage that no reader meets by its checksum is reported by looking through everything."""

import pytest

from bench.blocking_store import BlockingStore
from bench.faults.bit_flips import EVENTS, ITEMS, USERS, fill
from runtime.store.sqlite.connection import DATABASE, open_writer
from runtime.store.sqlite.store import SqliteStore
from tests.waiting import until

STEPS = 3 * (ITEMS + ITEMS // 2 + USERS + EVENTS)  # of one row at least: more than two passes


@pytest.fixture(autouse=True)
def first_reports(monkeypatch):
    """Of a process, only the first hundred reports are logged."""
    monkeypatch.setattr("runtime.store.sqlite.readable._found", 0)


@pytest.fixture
def damaged(tmp_path, monkeypatch):
    """A store whose start looked at nothing, with damage in an event and in the index of histories."""
    store = BlockingStore(SqliteStore(tmp_path, dimensions=4))
    fill(store)
    store.close()
    connection = open_writer(tmp_path / DATABASE)
    connection.execute("UPDATE interactions SET type = 1 WHERE sequence = 5")
    connection.execute("UPDATE content SET fields = CAST('{}' AS BLOB) WHERE key = 7")
    connection.execute("UPDATE content SET embedding = zeroblob(16) WHERE key = 8")
    connection.close()
    monkeypatch.setattr("runtime.store.sqlite.store.report_damaged_rows", lambda connection: None)
    return BlockingStore(SqliteStore(tmp_path, dimensions=4))


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_a_pass_reports_every_damaged_row_and_no_other(damaged, caplog, rows):
    for _ in range(STEPS):
        damaged.check_some(rows)
    reported = {message.split(" is left out")[0] for message in caplog.messages}
    assert reported == {
        "interactions of 'e-4' (checksum)",
        "content of 'item-6' (checksum)",
        "content of 'item-7' (checksum)",
        "content of 'item-7' (vector_checksum)",
    }
    damaged.close()


def test_an_index_that_differs_from_its_row_is_reported(tmp_path, caplog, monkeypatch):
    store = BlockingStore(SqliteStore(tmp_path, dimensions=4))
    fill(store)
    store.close()
    connection = open_writer(tmp_path / DATABASE)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'content, type', 'content, received_us') "
                       "WHERE name = 'interactions_recent'")  # fmt: skip
    connection.close()
    connection = open_writer(tmp_path / DATABASE)
    connection.execute("REINDEX interactions_recent")  # with other values in the place of the types
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'content, received_us', 'content, type') "
                       "WHERE name = 'interactions_recent'")  # fmt: skip
    connection.close()
    monkeypatch.setattr("runtime.store.sqlite.store.check_at_start", lambda connection: None)
    store = BlockingStore(SqliteStore(tmp_path, dimensions=4))
    for _ in range(STEPS):
        store.check_some(1000)
    assert "event 'e-0' in the index of histories is left out: it is damaged on the disk" in caplog.text
    store.close()


def test_a_running_server_looks_through_its_rows(start_server):
    server = start_server(check_rows_per_s=10_000)
    server.client.put("/content/barn", json={"text": "a barn"})
    server.client.put("/content/hall", json={"text": "a hall"})
    connection = open_writer(server.data_dir / DATABASE)
    connection.execute("UPDATE content SET tokens = 99 WHERE key = 1")
    connection.close()
    until(lambda: "damaged on the disk" in server.log.read_text(), server.log.read_text)
    assert "content of 'barn' (checksum)" in server.log.read_text()
