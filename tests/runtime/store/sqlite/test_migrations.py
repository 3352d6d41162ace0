import pytest

from runtime.store.sqlite.connection import open_writer
from runtime.store.sqlite.migrations import MIGRATIONS, applied, migrate, pending

NAMES = [step.__name__ for step in MIGRATIONS]


@pytest.fixture
def connection(tmp_path):
    connection = open_writer(tmp_path / "test.db")
    yield connection
    connection.close()


def schema(connection):
    return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def one_more(connection):
    connection.execute("ALTER TABLE users ADD COLUMN note TEXT")


def one_that_fails(connection):
    connection.execute("CREATE TABLE half_done (x)")
    raise RuntimeError("half way")


def test_runs_what_is_pending_once_and_keeps_what_is_there(connection):
    assert migrate(connection) == NAMES
    assert migrate(connection) == []
    connection.execute("INSERT INTO users (id) VALUES ('ann')")
    assert migrate(connection, (*MIGRATIONS, one_more)) == ["one_more"]
    assert applied(connection) == [*NAMES, "one_more"]
    assert connection.execute("SELECT id, note FROM users").fetchall() == [("ann", None)]


def test_asking_what_is_pending_writes_nothing(connection):
    assert [step.__name__ for step in pending(connection)] == NAMES
    assert schema(connection) == []


def test_a_step_that_fails_leaves_neither_table_nor_record(connection):
    migrate(connection)
    before = schema(connection)
    with pytest.raises(RuntimeError, match="half way"):
        migrate(connection, (*MIGRATIONS, one_that_fails))
    assert schema(connection) == before
    assert applied(connection) == NAMES


def test_a_database_of_the_first_version_keeps_its_content_in_view(connection):
    migrate(connection, MIGRATIONS[:1])
    connection.execute("INSERT INTO content_ids (id) VALUES ('barn')")
    connection.execute("INSERT INTO bundles (digest, model_version) VALUES ('d', 'v')")
    connection.execute("INSERT INTO content VALUES (1, 1, 2, 0, 0, 0, x'', x'')")
    assert migrate(connection) == NAMES[1:]
    assert connection.execute("SELECT hidden FROM content").fetchall() == [(0,)]
