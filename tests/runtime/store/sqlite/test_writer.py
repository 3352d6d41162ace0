"""Group commit: which writes share a transaction, which are rejected, and which of them a failure affects."""

import sqlite3
import threading

import pytest

from runtime.store import StoreBusy, StoreClosed, StoreFull
from runtime.store.sqlite.connection import open_reader, open_writer
from runtime.store.sqlite.migrations import migrate
from runtime.store.sqlite.scrub import Scrubber
from runtime.store.sqlite.writer import Writer


class Database:
    """A writer on a table of numbers; `hold()` keeps it inside its first transaction until `release()`."""

    def __init__(self, path, **limits):
        connection = open_writer(path)
        connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
        migrate(connection)
        self.scrubber = Scrubber(path)
        self.writer = Writer(connection, self.scrubber, **limits)
        self.reader = open_reader(path)
        self._gate = threading.Event()

    def hold(self):
        entered = threading.Event()

        def wait(connection):
            entered.set()
            assert self._gate.wait(10)

        future = self.writer.submit(wait, bytes=1)
        assert entered.wait(10)
        return future

    def release(self):
        self._gate.set()

    def insert(self, n, bytes=1):
        return self.writer.submit(lambda c: c.execute("INSERT INTO numbers VALUES (?)", (n,)).rowcount, bytes=bytes)

    def numbers(self):
        return [n for (n,) in self.reader.execute("SELECT n FROM numbers ORDER BY n").fetchall()]

    def close(self):
        self.release()
        self.writer.close()
        self.reader.close()
        self.scrubber.close()


@pytest.fixture
def make(tmp_path):
    made = []

    def build(**limits):
        made.append(Database(tmp_path / "test.db", **limits))
        return made[-1]

    yield build
    for database in made:
        database.close()


def test_a_write_can_be_read_as_soon_as_its_future_is_done(make):
    database = make()
    for n in range(20):
        assert database.insert(n).result() == 1
        assert database.numbers()[-1] == n


def test_one_failing_write_does_not_undo_the_others_of_its_transaction(make):
    database = make()
    database.hold()
    good, repeated, later = database.insert(1), database.insert(1), database.insert(2)

    def half_done(connection):
        connection.execute("INSERT INTO numbers VALUES (3)")
        raise KeyError("no such thing")

    broken = database.writer.submit(half_done, bytes=1)
    database.release()
    assert (good.result(), later.result()) == (1, 1)
    with pytest.raises(KeyError, match="no such thing"):
        broken.result()
    with pytest.raises(Exception, match="UNIQUE constraint failed"):
        repeated.result()
    assert database.numbers() == [1, 2]


def test_a_write_that_has_a_transaction_of_its_own_is_undone_alone(make):
    database = make()
    database.hold()

    def half_done(connection):
        connection.execute("INSERT INTO numbers VALUES (3)")
        raise KeyError("no such thing")

    before = database.insert(1)
    broken = database.writer.submit(half_done, bytes=1, alone=True)
    repeated = database.writer.submit(
        lambda connection: connection.execute("INSERT INTO numbers VALUES (1)"), bytes=1, alone=True
    )
    after = database.insert(2)
    database.release()
    assert (before.result(), after.result()) == (1, 1)
    with pytest.raises(KeyError, match="no such thing"):
        broken.result()
    with pytest.raises(Exception, match="UNIQUE constraint failed"):
        repeated.result()
    assert database.numbers() == [1, 2]


def test_a_failing_commit_is_an_error_for_everyone_in_it_and_the_thread_lives_on(make):
    database = make()
    database.hold()
    before = database.insert(1)
    lost = database.writer.submit(lambda connection: connection.execute("ROLLBACK"), bytes=1)
    after = database.insert(2)
    database.release()
    for future in (before, lost, after):
        with pytest.raises(Exception, match="failed"):
            future.result()
    assert database.numbers() == []
    assert database.insert(4).result() == 1


def test_a_full_queue_refuses_by_count(make):
    database = make(max_writes=3)
    database.hold()
    accepted = [database.insert(n) for n in range(2)]
    with pytest.raises(StoreBusy, match=r"3 writes of 3 bytes are waiting for the disk \(limits 3 and"):
        database.insert(9)
    database.release()
    assert [future.result() for future in accepted] == [1, 1]
    assert database.insert(9).result() == 1


def test_a_full_queue_refuses_by_bytes_but_lets_one_large_write_in_alone(make):
    database = make(max_bytes=100)
    assert database.insert(0, bytes=1000).result() == 1
    database.hold()
    database.insert(1, bytes=99)
    with pytest.raises(StoreBusy, match="100 bytes"):
        database.insert(2, bytes=1)


def test_a_transaction_takes_a_bounded_share_of_the_queue(make):
    database = make(commit_writes=10, commit_bytes=50)
    commits = []
    database.hold()
    futures = [database.insert(n) for n in range(25)] + [database.insert(n, bytes=30) for n in range(25, 28)]
    for future in futures:
        future.add_done_callback(lambda _: commits.append(len(open_numbers(database))))
    database.release()
    database.writer.close()
    assert sorted(set(commits)) == [10, 20, 26, 27, 28]


def open_numbers(database):
    """What a fresh connection sees: what is committed."""
    connection = sqlite3.connect(database.reader.execute("PRAGMA database_list").fetchone()[2])
    try:
        return connection.execute("SELECT n FROM numbers").fetchall()
    finally:
        connection.close()


def test_a_cancelled_future_is_not_written(make):
    database = make()
    database.hold()
    kept, dropped = database.insert(1), database.insert(2)
    assert dropped.cancel()
    database.release()
    kept.result()
    database.insert(3).result()
    assert database.numbers() == [1, 3]
    assert database.writer.waiting == 0


def test_close_writes_what_waits_and_accepts_nothing_more(make, tmp_path):
    database = make()
    database.hold()
    futures = [database.insert(n) for n in range(50)]
    database.reader.close()
    threading.Timer(0.05, database.release).start()
    database.writer.close()
    assert all(future.result() == 1 for future in futures)
    with pytest.raises(StoreClosed):
        database.insert(99)
    assert not (tmp_path / "test.db-wal").exists()
    assert sqlite3.connect(tmp_path / "test.db").execute("SELECT count(*) FROM numbers").fetchone() == (50,)


def test_a_full_disk_is_named_and_cured_by_room(store, item):
    store.put_content([item("before")])

    def limit(pages):
        return store.writer.submit(
            lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()[0], bytes=1
        ).result()

    limit(limit(1) + 3)
    big = b"x" * 100_000
    with pytest.raises(StoreFull, match="free some disk space"):
        store.put_content([item("too big", fields=big)])
    assert store.get_content("too big") is None
    assert store.get_content("before") is not None
    limit(1_000_000)
    assert store.put_content([item("too big", fields=big)]) == ["created"]
    assert store.check() == []
