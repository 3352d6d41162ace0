"""One machine migrates at a time, old and new ones serve side by side, and what does not fit is refused."""

import asyncio

import asyncpg
import pytest
from msgspec import structs

from runtime.store import Exposure, SchemaTooNew, StoreError
from runtime.store.postgres import migrations
from runtime.store.postgres.migrations import Migration
from runtime.store.postgres.store import open_store
from runtime.store.postgres.vector_column import VectorColumn


async def another_table(connection, dimensions):
    await connection.execute("CREATE TABLE another (key bigint)")


async def refused(connection, dimensions):
    await connection.execute("CREATE TABLE half (key bigint)")
    raise RuntimeError("in the middle")


async def test_machines_that_start_at_once_migrate_once(database):
    stores = await asyncio.gather(*(open_store(database, dimensions=4) for _ in range(5)))
    names = await stores[0].schema()
    for store in stores:
        await store.close()
    assert names == [step.name for step in migrations.MIGRATIONS]


def test_an_old_machine_starts_beside_new_ones_unless_a_migration_forbids_it(database, monkeypatch):
    async def start_and_stop():
        await (await open_store(database, dimensions=4)).close()

    known = migrations.MIGRATIONS
    asyncio.run(start_and_stop())
    with monkeypatch.context() as newer:
        newer.setattr(migrations.migrate, "__defaults__", ((*known, Migration(another_table, serves_older=True)),))
        asyncio.run(start_and_stop())
    asyncio.run(start_and_stop())
    with monkeypatch.context() as newer:
        newer.setattr(migrations.migrate, "__defaults__", ((*known, Migration(refused, serves_older=False)),))
        with pytest.raises(RuntimeError, match="in the middle"):
            asyncio.run(start_and_stop())
    asyncio.run(start_and_stop())  # nothing of it is left

    async def breaking():
        connection = await asyncpg.connect(database)
        left = await connection.fetchval("SELECT to_regclass('half')")
        await connection.execute("UPDATE migrations SET serves_older = false WHERE name = 'another_table'")
        await connection.close()
        return left

    assert asyncio.run(breaking()) is None
    with pytest.raises(SchemaTooNew, match="another_table"):
        asyncio.run(start_and_stop())


async def test_sequences_rise_after_a_restore_into_another_server(database, item, event):
    store = await open_store(database, dimensions=4)
    await store.put_content([item("barn")])
    await store.add_interactions([event("1")])
    connection = await asyncpg.connect(database)
    # as if it had been made by a server whose transactions had far higher numbers
    await connection.execute("UPDATE interactions SET sequence = sequence + (1::bigint << 40)")
    (highest,) = await connection.fetchrow("SELECT max(sequence) FROM interactions")
    await connection.close()
    await store.close()
    store = await open_store(database, dimensions=4)
    await store.add_interactions([event("2")])
    found, _ = await store.log()
    await store.close()
    assert [entry.event_id for entry in found] == ["1", "2"]
    assert found[1].sequence > highest


async def test_sequences_of_exposures_rise_after_a_restore_into_another_server(database):
    shown = Exposure(
        ranking_id="r-1", user_id="ann", experiment="feed", period=1, arm="control", model_version="v1", time_us=1,
        items=b"[]", closes_us=2, bucket_us=1,
    )  # fmt: skip
    store = await open_store(database, dimensions=4)
    await store.add_exposures([shown])
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE exposures SET sequence = sequence + (1::bigint << 40)")
    await connection.close()
    await store.close()
    store = await open_store(database, dimensions=4)
    await store.add_exposures([structs.replace(shown, ranking_id="r-2")])
    found = await store.exposures()
    await store.close()
    assert [one.ranking_id for one in found] == ["r-1", "r-2"]


async def test_without_pgvector_vectors_are_bytes(database, monkeypatch, item):
    monkeypatch.setattr(migrations, "OLDEST_PGVECTOR", (99,))
    store = await open_store(database, dimensions=4)
    await store.put_content([item("barn", 3)])
    found = await store.get_content("barn")
    await store.close()
    assert (store.context.column.kind, found.embedding.tolist()) == ("bytea", item("", 3).embedding.tolist())


async def test_with_pgvector_sql_searches_the_vectors(database, item):
    store = await open_store(database, dimensions=4)
    await store.put_content([item(f"item-{n}", n) for n in range(9)])
    connection = await asyncpg.connect(database)
    best = await connection.fetch(
        "SELECT i.id FROM content JOIN content_ids i USING (key) ORDER BY embedding <=> $1::real[]::vector LIMIT 1",
        item("", 4).embedding.tolist(),
    )
    await connection.close()
    await store.close()
    assert best[0]["id"] == "item-4"


@pytest.mark.parametrize("kind", ["vector", "bytea"])
def test_vectors_survive_bit_for_bit(kind, embedding):
    column = VectorColumn(kind)
    assert column.decode(column.encode(embedding(7))).tobytes() == embedding(7).tobytes()


def test_a_database_in_another_encoding_is_refused(postgres_server):
    postgres_server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match="encoded in LATIN1"):
        asyncio.run(open_store(postgres_server.url("latin"), dimensions=4))


def test_a_wrong_address_is_said_without_the_password():
    with pytest.raises(StoreError) as found:
        asyncio.run(open_store("postgresql://ann:secret@127.0.0.1:1/vows", timeout_s=2))
    assert "127.0.0.1" in str(found.value)
    assert "secret" not in str(found.value)
