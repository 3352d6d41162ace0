"""The implementations that the tests in this folder run on. The tests use the protocol alone."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from bench.blocking_store import BlockingStore
from bench.pgbouncer import PgBouncer
from bench.postgres import PostgresServer
from runtime.store.postgres.store import open_store as open_postgres
from runtime.store.sqlite.store import SqliteStore


@dataclass(frozen=True)
class Implementation:
    """open: the store kept at a folder (or named after it), with the options of `open_store`; it has a `check` that
    lists what is wrong with the data as it is stored. examples: of a property, by what opening costs."""

    name: str
    open: Callable[..., BlockingStore]
    examples: int


def _open_sqlite(folder: Path, **options: object) -> BlockingStore:
    return BlockingStore(SqliteStore(folder, **options))


def _postgres(server: PostgresServer) -> Callable[..., BlockingStore]:
    """A schema for each folder: making one takes a tenth of the time of a database."""
    runner = asyncio.Runner()
    server.execute("CREATE EXTENSION IF NOT EXISTS vector")

    def open(folder: Path, **options: object) -> BlockingStore:
        name = "s" + sha256(str(folder).encode()).hexdigest()[:16]
        server.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
        store = runner.run(open_postgres(f"{server.url()}&search_path={name},public", **options))
        return BlockingStore(store, runner)

    return open


def _pooled(server: PostgresServer, pooler: PgBouncer) -> Callable[..., BlockingStore]:
    """A database for each folder: a pooler passes no search path on."""
    runner, made = asyncio.Runner(), set[str]()

    def open(folder: Path, **options: object) -> BlockingStore:
        name = "p" + sha256(str(folder).encode()).hexdigest()[:16]
        if name not in made:
            server.create_database(name)
            made.add(name)
        return BlockingStore(runner.run(open_postgres(pooler.url(name), pooler="transaction", **options)), runner)

    return open


@pytest.fixture(scope="session", params=["sqlite", "postgres", pytest.param("pgbouncer", marks=pytest.mark.slow)])
def implementation(request):
    if request.param == "sqlite":
        return Implementation("sqlite", _open_sqlite, examples=150)
    server = request.getfixturevalue("postgres_server")
    if request.param == "postgres":
        return Implementation("postgres", _postgres(server), examples=30)
    return Implementation("pgbouncer", _pooled(server, request.getfixturevalue("pooler")), examples=5)


@pytest.fixture(scope="session")
def open_at(implementation):
    """Opens the store at a folder; options as of `SqliteStore`, with `dimensions` 4 where it is not given."""

    def open(folder: Path, **options: object) -> BlockingStore:
        return implementation.open(folder, **{"dimensions": 4, **options})

    return open


@pytest.fixture
def open_store(open_at, data_dir):
    """Opens the store of this test; what is still open at the end is closed."""
    opened = []

    def open(**options):
        opened.append(open_at(data_dir, **options))
        return opened[-1]

    yield open
    for store in opened:
        store.close()
