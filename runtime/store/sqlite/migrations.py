"""The schema, as the list of named steps that made it. Forward only; a step that has run is never edited."""

import secrets
import sqlite3
import time
from collections.abc import Callable

from runtime.store.errors import SchemaTooNew
from runtime.store.sqlite import catalog_log, checksums
from runtime.store.tombstones import KEY_BYTES

Migration = Callable[[sqlite3.Connection], None]


def first_tables(connection: sqlite3.Connection) -> None:
    """Content, the interaction log, user states and preferences.

    Ids are interned to integers (`key`): an index entry of the log is 5 to 9 bytes instead of twice the ids, which
    for 1,000,000 events with 36-byte ids saves some 150 MB. A content id outlives its content while the log names it.
    Sums and vectors have tables of their own, so that counting or marking a user rewrites 40 bytes and not 3 KB.
    """
    for statement in (
        "CREATE TABLE formula (one INTEGER PRIMARY KEY CHECK (one = 1), json BLOB NOT NULL)",
        "CREATE TABLE scrub_owed (one INTEGER PRIMARY KEY CHECK (one = 1), times INTEGER NOT NULL)",
        "CREATE TABLE totals (name TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO totals VALUES ('content', 0), ('users', 0), ('interactions', 0), ('preferences', 0)",
        """CREATE TABLE bundles (
            key INTEGER PRIMARY KEY,
            digest TEXT NOT NULL,
            model_version TEXT NOT NULL,
            UNIQUE (digest, model_version))""",
        # popularity = Σ strength of the log's events with this content, whether or not the content exists now
        """CREATE TABLE content_ids (
            key INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            popularity INTEGER NOT NULL DEFAULT 0)""",
        "CREATE INDEX content_ids_popularity ON content_ids (popularity DESC, key)",
        """CREATE TABLE content (
            key INTEGER PRIMARY KEY REFERENCES content_ids,
            bundle INTEGER NOT NULL REFERENCES bundles,
            tokens INTEGER NOT NULL,
            truncated INTEGER NOT NULL,
            created_us INTEGER NOT NULL,
            updated_us INTEGER NOT NULL,
            fields BLOB NOT NULL,
            embedding BLOB NOT NULL)""",
        "CREATE INDEX content_bundle ON content (bundle)",
        """CREATE TABLE users (
            key INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            interaction_count INTEGER NOT NULL DEFAULT 0,
            last_updated_us INTEGER,
            stale INTEGER NOT NULL DEFAULT 0)""",
        "CREATE TABLE user_sums (key INTEGER PRIMARY KEY REFERENCES users, sums BLOB NOT NULL)",
        """CREATE TABLE preferences (
            key INTEGER PRIMARY KEY REFERENCES users,
            bundle INTEGER NOT NULL REFERENCES bundles,
            updated_us INTEGER NOT NULL,
            preferences BLOB NOT NULL,
            embedding BLOB NOT NULL)""",
        "CREATE INDEX preferences_bundle ON preferences (bundle)",
        # AUTOINCREMENT: a sequence is not given out again after the last events are deleted, so cursors stay true
        """CREATE TABLE interactions (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            event_id TEXT NOT NULL UNIQUE,
            user INTEGER NOT NULL REFERENCES users,
            content INTEGER NOT NULL REFERENCES content_ids,
            type INTEGER NOT NULL,
            time_us INTEGER NOT NULL,
            received_us INTEGER NOT NULL,
            duration_ms INTEGER,
            device TEXT,
            context BLOB)""",
        "CREATE INDEX interactions_user ON interactions (user)",
        "CREATE INDEX interactions_content ON interactions (content, user)",
    ):
        connection.execute(statement)


def hidden_content(connection: sqlite3.Connection) -> None:
    """Items that are kept and in no answer."""
    connection.execute("ALTER TABLE content ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0")


def histories_in_order(connection: sqlite3.Connection) -> None:
    """The newest events of a user by their own time, in one walk along an index, however late they were sent."""
    connection.execute("CREATE INDEX interactions_user_time ON interactions (user, time_us)")


def decayed_counts(connection: sqlite3.Connection) -> None:
    """What everybody engaged with lately, beside each content id; `formula.reconcile` counts what is in the log.

    The index by time now carries what the ranking reads of an event: 256 events take a quarter of the time.
    """
    connection.execute("ALTER TABLE content_ids ADD COLUMN counts BLOB")  # personalization.popularity; NULL: no event
    connection.execute("CREATE INDEX interactions_recent ON interactions (user, time_us, sequence, content, type)")
    connection.execute("DROP INDEX interactions_user_time")


def experiments(connection: sqlite3.Connection) -> None:
    """Live experiments: what was done to them, who was shown what, and the counts by arm and time."""
    for statement in (
        """CREATE TABLE experiment_changes (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            experiment TEXT NOT NULL,
            kind TEXT NOT NULL,
            period INTEGER NOT NULL,
            details BLOB NOT NULL,
            time_us INTEGER NOT NULL)""",
        """CREATE TABLE experiment_arms (
            key INTEGER PRIMARY KEY,
            experiment TEXT NOT NULL,
            period INTEGER NOT NULL,
            arm TEXT NOT NULL,
            bucket_us INTEGER NOT NULL,
            UNIQUE (experiment, period, arm))""",
        """CREATE TABLE exposures (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            ranking_id TEXT NOT NULL UNIQUE,
            user INTEGER NOT NULL REFERENCES users,
            arm INTEGER NOT NULL REFERENCES experiment_arms,
            model_version TEXT NOT NULL,
            time_us INTEGER NOT NULL,
            items BLOB NOT NULL)""",
        "CREATE INDEX exposures_user ON exposures (user)",
        # One row a user and period, however often they are shown something: what makes an outcome count once
        """CREATE TABLE participants (
            user INTEGER NOT NULL REFERENCES users,
            arm INTEGER NOT NULL REFERENCES experiment_arms,
            first_us INTEGER NOT NULL,
            closes_us INTEGER NOT NULL,
            cold INTEGER NOT NULL,
            closed INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (user, arm)) WITHOUT ROWID""",
        "CREATE INDEX participants_open ON participants (closes_us) WHERE closed = 0",
        """CREATE TABLE experiment_counts (
            arm INTEGER NOT NULL REFERENCES experiment_arms,
            bucket INTEGER NOT NULL,
            users INTEGER NOT NULL DEFAULT 0,
            closed INTEGER NOT NULL DEFAULT 0,
            engaged INTEGER NOT NULL DEFAULT 0,
            total REAL NOT NULL DEFAULT 0,
            squares REAL NOT NULL DEFAULT 0,
            cold_closed INTEGER NOT NULL DEFAULT 0,
            cold_engaged INTEGER NOT NULL DEFAULT 0,
            rankings INTEGER NOT NULL DEFAULT 0,
            slow INTEGER NOT NULL DEFAULT 0,
            failed INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (arm, bucket)) WITHOUT ROWID""",
        # The exposure that an interaction answers, by its sequence; it may have been trimmed since
        "ALTER TABLE interactions ADD COLUMN exposure INTEGER",
        "INSERT INTO totals VALUES ('exposures', 0), ('exposure_bytes', 0)",
    ):
        connection.execute(statement)


def own_types(connection: sqlite3.Connection) -> None:
    """Types of events that a site declares; `type` of an event is then the action that it is for the models.

    What is popular is decayed now and found beside the catalogue, so its index goes.
    """
    connection.execute(
        """CREATE TABLE own_types (
            key INTEGER PRIMARY KEY, name TEXT NOT NULL, strength INTEGER NOT NULL, UNIQUE (name, strength))"""
    )
    connection.execute("ALTER TABLE interactions ADD COLUMN own_type INTEGER REFERENCES own_types")  # NULL: the action
    connection.execute("DROP INDEX content_ids_popularity")


def row_checksums(connection: sqlite3.Connection) -> None:
    """A checksum beside what is read (see checksums.py), of what is there now; and a count of commits."""
    connection.execute("ALTER TABLE content ADD COLUMN vector_checksum INTEGER")
    for table in ("content", "preferences", "user_sums", "interactions"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER")
    for table, column, columns, _ in checksums.TABLES:
        connection.execute(f"UPDATE {table} SET {column} = row_checksum({columns})")
    connection.execute("INSERT INTO totals VALUES ('commits', 0)")


def tombstones(connection: sqlite3.Connection) -> None:
    """Keyed hashes of what was deleted lately, so that a late retry does not bring it back."""
    connection.execute("CREATE TABLE tombstone_key (one INTEGER PRIMARY KEY CHECK (one = 1), key BLOB NOT NULL)")
    connection.execute("INSERT INTO tombstone_key VALUES (1, ?)", (secrets.token_bytes(KEY_BYTES),))
    connection.execute(
        """CREATE TABLE tombstones (
            mark BLOB PRIMARY KEY, time_us INTEGER NOT NULL, deleted_us INTEGER NOT NULL) WITHOUT ROWID"""
    )
    connection.execute("CREATE INDEX tombstones_deleted ON tombstones (deleted_us)")
    connection.execute("INSERT INTO totals VALUES ('tombstones', 0)")


def ended_periods(connection: sqlite3.Connection) -> None:
    """Participants are found by arm once they are counted, to be deleted when their period has ended; exposures say
    how probable their arm was."""
    connection.execute("CREATE INDEX participants_closed ON participants (arm) WHERE closed = 1")
    connection.execute("ALTER TABLE exposures ADD COLUMN arm_propensity REAL")


def catalog_files(connection: sqlite3.Connection) -> None:
    """What changed since the files of the catalogue were in step."""
    catalog_log.create(connection)


def engaged_items(connection: sqlite3.Connection) -> None:
    """A start reads the counts of the items that have some: without an index it reads a million rows for them."""
    connection.execute("CREATE INDEX content_ids_engaged ON content_ids (key) WHERE counts IS NOT NULL")


MIGRATIONS: tuple[Migration, ...] = (
    first_tables,
    hidden_content,
    histories_in_order,
    decayed_counts,
    experiments,
    own_types,
    row_checksums,
    tombstones,
    ended_periods,
    catalog_files,
    engaged_items,
)


def applied(connection: sqlite3.Connection) -> list[str]:
    """Names of the steps this database has seen, oldest first. Writes nothing."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone():
        return []
    return [name for (name,) in connection.execute("SELECT name FROM migrations ORDER BY number").fetchall()]


def pending(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[Migration]:
    """The steps still to run. Writes nothing. Raises SchemaTooNew for a database that has seen steps unknown here."""
    known = [step.__name__ for step in migrations]
    done = applied(connection)
    if done != known[: len(done)]:
        unknown = [name for name in done if name not in known] or done
        raise SchemaTooNew(
            f"the database has had migrations {', '.join(unknown)}, this version knows {', '.join(known)}; "
            "run the version that wrote it, or a newer one"
        )
    return list(migrations[len(done) :])


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[str]:
    """Run what is pending, each step in one transaction with the record that it ran. Returns the names of those run."""
    steps = pending(connection, migrations)
    for step in steps:
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(
                """CREATE TABLE IF NOT EXISTS migrations (
                    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, applied_us INTEGER NOT NULL)"""
            )
            step(connection)
            connection.execute(
                "INSERT INTO migrations (name, applied_us) VALUES (?, ?)", (step.__name__, time.time_ns() // 1000)
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite itself undoes it on some errors
                connection.execute("ROLLBACK")
            raise
    return [step.__name__ for step in steps]
