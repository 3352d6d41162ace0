"""The schema, as the list of named steps that made it. Forward only, one machine at a time; a step that has run is
never edited."""

import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import asyncpg

from runtime.store.errors import SchemaTooNew, StoreError
from runtime.store.postgres.connections import Connection
from runtime.store.tombstones import KEY_BYTES

LOCK = 0x564F5753  # "VOWS": the advisory lock that migrating and reconciling hold
OLDEST_PGVECTOR = (0, 8, 4)

# Exclusive to the transaction, so that it needs no session behind a pooler and no one to let it go.
TAKE_LOCK = f"SELECT pg_advisory_xact_lock({LOCK})"


class Migration(NamedTuple):
    """`serves_older`: versions that do not know this step can go on with the database, as they do while machines are
    replaced one by one."""

    run: Callable[[Connection, int], Awaitable[None]]
    serves_older: bool

    @property
    def name(self) -> str:
        """As it is recorded in the database."""
        return self.run.__name__


async def first_tables(connection: Connection, dimensions: int) -> None:
    """Content, the interaction log, user states and preferences.

    As SQLite's, with these differences. Ids are text in byte order, NUL escaped (`ids.py`). Popularity and counts have
    a table of their own, so that the hottest rows are locked last and briefly. An event's `sequence` begins with its
    transaction's number, so that the log has an order that no later commit can disturb (`interaction_log.py`). Row
    counts are in shards, so that machines do not wait for each other. Rows of 4 KiB are kept in the table itself.
    """
    vector = await _vector_type(connection, dimensions)
    for statement in (
        "CREATE TABLE formula (one integer PRIMARY KEY CHECK (one = 1), json bytea NOT NULL)",
        "CREATE TABLE sum_formulas (key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, json bytea NOT NULL UNIQUE)",
        "CREATE TABLE log_epoch (one integer PRIMARY KEY CHECK (one = 1), added bigint NOT NULL)",
        "INSERT INTO log_epoch VALUES (1, 0)",
        """CREATE TABLE totals (
            shard integer PRIMARY KEY,
            content bigint NOT NULL DEFAULT 0,
            users bigint NOT NULL DEFAULT 0,
            interactions bigint NOT NULL DEFAULT 0,
            preferences bigint NOT NULL DEFAULT 0) WITH (fillfactor = 10)""",
        "INSERT INTO totals (shard) SELECT generate_series(0, 31)",
        """CREATE TABLE bundles (
            key integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            digest text NOT NULL,
            model_version text NOT NULL,
            UNIQUE (digest, model_version))""",
        """CREATE TABLE content_ids (
            key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            id text COLLATE "C" NOT NULL UNIQUE)""",
        f"""CREATE TABLE content (
            key bigint PRIMARY KEY REFERENCES content_ids,
            bundle integer NOT NULL REFERENCES bundles,
            tokens integer NOT NULL,
            truncated boolean NOT NULL,
            hidden boolean NOT NULL DEFAULT false,
            created_us bigint NOT NULL,
            updated_us bigint NOT NULL,
            fields bytea NOT NULL,
            embedding {vector} NOT NULL) WITH (toast_tuple_target = 4080)""",
        "ALTER TABLE content ALTER embedding SET STORAGE PLAIN",
        "CREATE INDEX content_bundle ON content (bundle, key)",
        # popularity = Σ strength of the log's events; counts as in personalization.popularity, NULL without events
        """CREATE TABLE content_totals (
            key bigint PRIMARY KEY REFERENCES content_ids ON DELETE CASCADE,
            popularity bigint NOT NULL DEFAULT 0,
            counts double precision[]) WITH (fillfactor = 70)""",
        "CREATE INDEX content_totals_popularity ON content_totals (popularity DESC, key)",
        # Who follows reads what changed since a snapshot: see feed.py
        """CREATE TABLE content_changes (
            id text COLLATE "C" PRIMARY KEY,
            changed xid8 NOT NULL,
            at timestamptz NOT NULL) WITH (fillfactor = 70)""",
        "CREATE INDEX content_changes_changed ON content_changes (changed)",
        "CREATE INDEX content_changes_at ON content_changes (at)",
        """CREATE TABLE users (
            key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            id text COLLATE "C" NOT NULL UNIQUE,
            interaction_count bigint NOT NULL DEFAULT 0,
            last_updated_us bigint,
            stale boolean NOT NULL DEFAULT false,
            formula integer NOT NULL REFERENCES sum_formulas) WITH (fillfactor = 80)""",
        """CREATE TABLE user_sums (
            key bigint PRIMARY KEY REFERENCES users,
            sums bytea NOT NULL) WITH (toast_tuple_target = 4080, fillfactor = 50)""",
        "ALTER TABLE user_sums ALTER sums SET STORAGE MAIN",
        f"""CREATE TABLE preferences (
            key bigint PRIMARY KEY REFERENCES users,
            bundle integer NOT NULL REFERENCES bundles,
            updated_us bigint NOT NULL,
            preferences bytea NOT NULL,
            embedding {vector} NOT NULL) WITH (toast_tuple_target = 4080)""",
        "ALTER TABLE preferences ALTER embedding SET STORAGE PLAIN",
        "CREATE INDEX preferences_bundle ON preferences (bundle, key)",
        """CREATE TABLE interactions (
            sequence bigint PRIMARY KEY,
            event_id text COLLATE "C" NOT NULL UNIQUE,
            "user" bigint NOT NULL REFERENCES users,
            content bigint NOT NULL REFERENCES content_ids,
            type smallint NOT NULL,
            time_us bigint NOT NULL,
            received_us bigint NOT NULL,
            duration_ms bigint,
            device text,
            context bytea)""",
        'CREATE INDEX interactions_user ON interactions ("user", sequence)',
        'CREATE INDEX interactions_recent ON interactions ("user", time_us, sequence) INCLUDE (content, type)',
        'CREATE INDEX interactions_content ON interactions (content, "user")',
        """CREATE FUNCTION vows_add_logs(a double precision[], b double precision[]) RETURNS double precision[]
            LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
            SELECT CASE WHEN a IS NULL THEN b ELSE (
                SELECT array_agg(greatest(x, y) + CASE WHEN abs(x - y) < 700 THEN ln(1 + exp(-abs(x - y))) ELSE 0 END
                    ORDER BY n)
                FROM unnest(a, b) WITH ORDINALITY AS pairs (x, y, n)) END $$""",
    ):
        await connection.execute(statement)


async def own_types(connection: Connection, dimensions: int) -> None:
    """Types of events that a site declares; `type` of an event is then the action that it is for the models.

    What is popular is decayed now and found beside the catalogue, so its index goes.
    """
    await connection.execute("ALTER TABLE interactions ADD COLUMN own_type text, ADD COLUMN own_strength bigint")
    await connection.execute("DROP INDEX content_totals_popularity")


async def tombstones(connection: Connection, dimensions: int) -> None:
    """Keyed hashes of what was deleted lately, so that a late retry does not bring it back."""
    await connection.execute("CREATE TABLE tombstone_key (one integer PRIMARY KEY CHECK (one = 1), key bytea NOT NULL)")
    await connection.execute("INSERT INTO tombstone_key VALUES (1, $1)", secrets.token_bytes(KEY_BYTES))
    await connection.execute(
        "CREATE TABLE tombstones (mark bytea PRIMARY KEY, time_us bigint NOT NULL, deleted_us bigint NOT NULL)"
    )
    await connection.execute("CREATE INDEX tombstones_deleted ON tombstones (deleted_us)")


async def experiments(connection: Connection, dimensions: int) -> None:
    """Live experiments: what was done to them, who was shown what, and the counts by arm and time. All machines know
    them, or one that does not would leave a deleted user's exposures."""
    for statement in (
        """CREATE TABLE experiment_changes (
            sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            experiment text NOT NULL,
            kind text NOT NULL,
            period bigint NOT NULL,
            details bytea NOT NULL,
            time_us bigint NOT NULL)""",
        """CREATE TABLE experiment_periods (
            key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            experiment text NOT NULL,
            period bigint NOT NULL,
            bucket_us bigint NOT NULL,
            UNIQUE (experiment, period))""",
        """CREATE TABLE experiment_arms (
            key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            period bigint NOT NULL REFERENCES experiment_periods,
            arm text NOT NULL,
            UNIQUE (period, arm))""",
        """CREATE TABLE exposures (
            sequence bigint PRIMARY KEY,
            ranking_id text COLLATE "C" NOT NULL UNIQUE,
            "user" bigint NOT NULL REFERENCES users,
            arm bigint NOT NULL REFERENCES experiment_arms,
            model_version text NOT NULL,
            arm_propensity float8,
            time_us bigint NOT NULL,
            items bytea NOT NULL)""",
        'CREATE INDEX exposures_user ON exposures ("user", sequence)',
        # One row a user and period, however many machines show them something: what makes an outcome count once
        """CREATE TABLE participants (
            "user" bigint NOT NULL REFERENCES users,
            period bigint NOT NULL REFERENCES experiment_periods,
            arm bigint NOT NULL REFERENCES experiment_arms,
            first_us bigint NOT NULL,
            closes_us bigint NOT NULL,
            cold boolean NOT NULL,
            closed boolean NOT NULL DEFAULT false,
            PRIMARY KEY ("user", period))""",
        "CREATE INDEX participants_open ON participants (closes_us) WHERE NOT closed",
        "CREATE INDEX participants_closed ON participants (period) WHERE closed",
        """CREATE TABLE experiment_counts (
            arm bigint NOT NULL REFERENCES experiment_arms,
            start_us bigint NOT NULL,
            users bigint NOT NULL,
            closed bigint NOT NULL,
            engaged bigint NOT NULL,
            total float8 NOT NULL,
            squares float8 NOT NULL,
            cold_closed bigint NOT NULL,
            cold_engaged bigint NOT NULL,
            rankings bigint NOT NULL,
            slow bigint NOT NULL,
            failed bigint NOT NULL,
            PRIMARY KEY (arm, start_us)) WITH (fillfactor = 50)""",
        # The exposure that an interaction answers, by its sequence; it may have been trimmed since
        "ALTER TABLE interactions ADD COLUMN exposure bigint",
        """ALTER TABLE totals ADD COLUMN exposures bigint NOT NULL DEFAULT 0,
            ADD COLUMN exposure_bytes bigint NOT NULL DEFAULT 0""",
    ):
        await connection.execute(statement)


async def hidden_index(connection: Connection, dimensions: int) -> None:
    """What a catalogue leaves out is found without reading all of the content."""
    await connection.execute("CREATE INDEX content_hidden ON content (key) WHERE hidden")


MIGRATIONS: tuple[Migration, ...] = (
    Migration(first_tables, serves_older=False),
    Migration(own_types, serves_older=False),
    Migration(tombstones, serves_older=True),
    Migration(experiments, serves_older=False),
    Migration(hidden_index, serves_older=True),
)


async def applied(connection: Connection) -> list[str]:
    """Names of the steps this database has seen, oldest first. Writes nothing."""
    if await connection.fetchval("SELECT to_regclass('migrations')") is None:
        return []
    return [row["name"] for row in await connection.fetch("SELECT name FROM migrations ORDER BY number")]


async def migrate(connection: Connection, dimensions: int, migrations: Sequence[Migration] = MIGRATIONS) -> list[str]:
    """Run what is pending, in the caller's transaction, while no other machine does; the names of those run.

    Raises SchemaTooNew for a database that has seen steps which are unknown here and not made for older versions.
    """
    await connection.execute(TAKE_LOCK)
    await connection.execute(
        """CREATE TABLE IF NOT EXISTS migrations (
            number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE,
            serves_older boolean NOT NULL, applied_us bigint NOT NULL)"""
    )
    rows = await connection.fetch("SELECT name, serves_older FROM migrations ORDER BY number")
    known = [step.name for step in migrations]
    unknown = [row["name"] for row in rows if row["name"] not in known and not row["serves_older"]]
    if unknown:
        raise SchemaTooNew(
            f"the database has had migrations {', '.join(unknown)}, this version knows {', '.join(known)}; "
            "run the version that wrote it, or a newer one"
        )
    done = {row["name"] for row in rows}
    steps = [step for step in migrations if step.name not in done]
    for step in steps:
        await step.run(connection, dimensions)
        await connection.execute(
            "INSERT INTO migrations (name, serves_older, applied_us) VALUES ($1, $2, $3)",
            step.name, step.serves_older, time.time_ns() // 1000,
        )  # fmt: skip
    return [step.name for step in steps]


async def _vector_type(connection: Connection, dimensions: int) -> str:
    """pgvector's type where the extension is there or may be made, so that SQL can join and search vectors; else bytes.
    The type is float32, as `halfvec` would change the vectors."""
    await connection.execute("SAVEPOINT extension")
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        found = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        if tuple(int(part) for part in found.split(".")) >= OLDEST_PGVECTOR:
            return f"vector({dimensions})"
    except asyncpg.PostgresError as error:
        if connection.is_closed():
            raise StoreError(f"looking for pgvector failed: {error}") from error
    await connection.execute("ROLLBACK TO extension")
    return "bytea"
