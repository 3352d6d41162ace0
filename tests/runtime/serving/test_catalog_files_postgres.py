"""A catalogue in files on a machine of several that share a database: as SQLite's, and others change it meanwhile."""

import asyncio
import random
import uuid

import pytest

from runtime.catalog.files import FOLDER, read_header, write_header
from tests.runtime.serving.changing_catalog import (
    IDS,
    MADE,
    USED_AGAIN,
    Changing,
    changed,
    compared,
    item,
    kill_while_changing,
)

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is not installed: pip install 'vows-edge[postgres]'")

KILLS = 12


@pytest.fixture
def url(postgres_server):
    return postgres_server.create_database(f"files-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def folder(tmp_path):
    """Of a machine; `folder / FOLDER` are the files."""
    folder = tmp_path / "machine"
    folder.mkdir()
    return folder


@pytest.fixture
def other(tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    return folder


def test_after_kills_the_files_say_what_the_database_says(folder, url):
    draw = random.Random(1)
    for number in range(KILLS):
        assert kill_while_changing(folder, number, draw.uniform(0, 0.3), url) == "right"
    assert asyncio.run(compared(folder, url=url)) == []


async def test_what_others_changed_while_it_was_away_is_repaired(folder, other, url, said):
    await changed(folder, 1, 30, url=url)
    assert said()[0].startswith(MADE)
    for seed in range(2, 6):
        await changed(other, seed, 15, url=url)
        said()
        assert await compared(folder, url=url) == []
        (line,) = said()
        assert line.startswith(USED_AGAIN), line
        assert not line.startswith(f"{USED_AGAIN}; 0 items"), line
    assert await compared(folder, url=url) == []
    assert said()[0].startswith(f"{USED_AGAIN}; 0 items")


async def test_a_transaction_that_began_before_the_sync_and_ended_after_it_is_repaired(folder, url, said):
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    async with Changing(folder, url=url) as changing:
        await changing.store.put_content([item(IDS[0], 1), item(IDS[1], 2)])
        for n in range(2):
            changing.catalog.put(IDS[n], item(IDS[n], n + 1).embedding)
        await transaction.start()
        await connection.execute("UPDATE content SET hidden = true")
        await connection.execute(
            "INSERT INTO content_changes SELECT $1, pg_current_xact_id(), now() "
            "ON CONFLICT (id) DO UPDATE SET changed = excluded.changed, at = excluded.at",
            IDS[0],
        )
        await connection.execute("UPDATE content SET hidden = false WHERE key <> (SELECT min(key) FROM content)")
        await changing.files.sync()
        await transaction.commit()
    await connection.close()
    said()
    assert await compared(folder, url=url) == []
    assert said()[0].startswith(USED_AGAIN)


async def test_files_of_another_database_another_bundle_or_long_ago_are_made_again(folder, url, said, postgres_server):
    await changed(folder, 1, 20, url=url)
    assert await compared(folder, url=url) == []
    said()
    empty = await asyncio.to_thread(postgres_server.create_database, f"files-{uuid.uuid4().hex[:8]}")
    assert await compared(folder, url=empty) == []
    assert "not of this database" in said()[0]
    assert await compared(folder, url=url) == []
    assert "not of this database" in said()[0]
    async with Changing(folder, url=url, digest="another") as changing:
        assert len(changing.catalog) == 0
    assert "another model" in said()[0]
    assert await compared(folder, url=url) == []
    said()
    header = read_header(folder / FOLDER)
    made_at_s, _, snapshot = header.position.partition(" ")
    old = {name: getattr(header, name) for name in header.__struct_fields__}
    write_header(folder / FOLDER, type(header)(**old | {"position": f"{int(made_at_s) - 13 * 3600} {snapshot}"}))
    assert await compared(folder, url=url) == []
    assert "13 hours old" in said()[0]


async def test_more_changes_than_are_repaired_make_the_files_again(folder, other, url, said, monkeypatch):
    from runtime.serving import catalog_files

    await changed(folder, 1, 20, url=url)
    await changed(other, 2, 20, url=url)
    monkeypatch.setattr(catalog_files, "MOST_REPAIRED", 3)
    said()
    assert await compared(folder, url=url) == []
    assert "more than 3 items have changed" in said()[0]


async def test_a_second_process_with_the_same_folder_leaves_the_files_alone(folder, url, said):
    async with Changing(folder, url=url) as first:
        draw = random.Random(3)
        for _ in range(10):
            await first.change(draw)
        async with Changing(folder, url=url) as second:
            assert second.files is None
            assert await second.differences() == []
        await first.change(draw)
        await first.files.sync()
    said()
    assert await compared(folder, url=url) == []
    assert said()[0].startswith(USED_AGAIN)


def test_a_server_uses_its_files_again_with_what_another_changed(start_server, folder, url):
    options = {"catalog_vectors": "disk", "catalog_bytes": 1 << 20, "database_url": url, "threads": 1}
    server = start_server(folder, **options)
    other = start_server(**options)
    for id in "abc":
        assert server.client.put(f"/content/{id}", json={"text": f"a barn {id}"}).status_code in (200, 201)
    server.stop()
    assert other.client.delete("/content/b").status_code == 204
    assert other.client.put("/content/d", json={"text": "a barn d"}).status_code in (200, 201)
    server = start_server(folder, **options)
    assert USED_AGAIN in server.log.read_text()
    found = server.client.post("/search", json={"text": "a barn", "top_k": 10}).json()
    assert sorted(hit["id"] for hit in found["results"]) == ["a", "c", "d"]
