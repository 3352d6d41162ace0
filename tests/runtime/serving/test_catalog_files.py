"""A catalogue in files outlives the process: what it says is what the database says, or it is made again."""

import asyncio
import os
import random
import signal

import numpy as np
import pytest

from runtime.catalog import binary_matrix, clusters
from runtime.catalog.files import FOLDER, RowDamaged
from runtime.serving.clustering import make_clusters
from runtime.store import StoreFull
from runtime.store.sqlite.backup import back_up, restore
from tests.runtime.serving.changing_catalog import (
    DIGEST,
    IDS,
    MADE,
    USED_AGAIN,
    Changing,
    changed,
    compared,
    item,
    kill_while_changing,
)

KILLS = 50
PAGE = 4096


def test_after_fifty_kills_the_files_say_what_the_database_says(tmp_path):
    draw = random.Random(1)
    for number in range(KILLS):
        assert kill_while_changing(tmp_path, number, draw.uniform(0, 0.1)) == "right"
    assert asyncio.run(compared(tmp_path)) == []


async def test_a_restart_after_changes_uses_the_files_again(tmp_path, said):
    await changed(tmp_path, 1, 30)
    assert len(said()) == 1
    for seed in range(2, 12):
        await changed(tmp_path, seed, 20)
        (line,) = said()
        assert line.startswith(USED_AGAIN), line


@pytest.mark.parametrize("seed", range(8))
async def test_after_a_power_cut_pages_of_any_age_are_repaired_or_made_again(tmp_path, seed, said):
    """Every page of every file is as it was at the last sync, or as it was when the power went."""
    synced = {}

    async with Changing(tmp_path) as changing:
        draw = random.Random(seed)
        for _ in range(40):
            await changing.change(draw)
        await changing.files.sync()
        for path in (tmp_path / FOLDER).iterdir():
            with path.open("rb") as file:
                synced[path] = file.read(64 * PAGE)
        for _ in range(10):
            await changing.change(draw)
    draw = random.Random(seed)
    for path, old in synced.items():
        if path.name == "header.json":
            path.write_bytes(old)
        if path.name in ("header.json", "clusters"):  # written all or nothing, and at once
            continue
        with path.open("r+b") as file:
            for start in range(0, len(old), PAGE):
                if draw.random() < 0.5:
                    file.seek(start)
                    file.write(old[start : start + PAGE])
    said()
    assert await compared(tmp_path) == []
    assert await compared(tmp_path) == []


FILES = [
    "codes", "factors", "offsets", "clusters-of-rows", "finer", "code-sums", "vectors", "hashes", "ids", "id-lengths",
    "changes", "vector-sums", "label-sums", "sums", "labels-upper", "labels-lower", "labels-rows", "header.json",
]  # fmt: skip


@pytest.mark.parametrize("name", [*FILES, "clusters"])
async def test_a_flipped_bit_is_found(tmp_path, name):
    async with Changing(tmp_path) as changing:
        items = [item(id, n) for n, id in enumerate(IDS)]
        await changing.store.put_content(items[::2])
    async with Changing(tmp_path) as changing:  # these are put again
        changing.cluster()
        await changing.files.sync()
        await changing.store.put_content(items[1::2])  # whose codes are relative to centres that others made
    async with Changing(tmp_path):
        pass
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {*FILES, "clusters"}
    whole = contents(tmp_path / FOLDER / name)
    draw = random.Random(name)
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    for _ in range(3):
        at, bit = draw.choice(used.tolist()), 1 << draw.randrange(8)
        with (tmp_path / FOLDER / name).open("r+b") as file:
            file.seek(at)
            file.write(bytes([whole[at] ^ bit]))
        try:
            assert await compared(tmp_path) == []
        except RowDamaged:  # said once, and then the files are made again
            assert name in ("ids", "id-lengths")
        assert await compared(tmp_path) == []
        whole = contents(tmp_path / FOLDER / name)


def contents(path):
    with path.open("rb") as file:
        return file.read(16 * PAGE)


async def test_every_file_that_is_cut_off_or_missing_is_made_again(tmp_path, said):
    await changed(tmp_path, 1, 60)
    await compared(tmp_path)
    for name in FILES:
        for cut in (True, False):
            file = tmp_path / FOLDER / name
            if cut:
                os.truncate(file, 10)
            else:
                file.unlink()
            assert await compared(tmp_path) == [], (name, cut)
    assert any(line.startswith(MADE) for line in said())


async def test_files_of_another_bundle_or_an_older_database_are_made_again(tmp_path, said):
    await changed(tmp_path / "data", 1, 40)
    back_up(tmp_path / "data" / "vows.db", tmp_path / "backup")
    await changed(tmp_path / "data", 2, 40)
    said()
    restore(tmp_path / "backup", tmp_path / "data", replace=True)
    assert await compared(tmp_path / "data") == []
    assert "not of this database" in said()[0]
    async with Changing(tmp_path / "data", digest="another") as changing:
        assert len(changing.catalog) == 0
    assert "another model" in said()[0]


async def test_more_memory_uses_the_files_again_and_too_little_makes_them_anew(tmp_path, said):
    await changed(tmp_path, 1, 40)
    assert await compared(tmp_path, mib=4) == []
    assert await compared(tmp_path, mib=1) == []
    assert [line[: len(USED_AGAIN)] for line in said()[1:]] == [USED_AGAIN, USED_AGAIN]


async def test_what_is_deleted_is_in_no_file(tmp_path):
    async with Changing(tmp_path) as changing:
        secret = item("a secret name", 7)
        await changing.store.put_content([secret, item("kept", 8)])
    async with Changing(tmp_path) as changing:
        assert traces(tmp_path, secret) == {"ids", "vectors"}
        await changing.store.delete_content(secret.id)
        changing.catalog.delete(secret.id)
        await changing.files.sync()
        assert traces(tmp_path, secret) == set()
        assert changing.store.catalog_log.listed(10) == []


def traces(data_dir, secret):
    parts = [secret.id.encode(), secret.embedding.tobytes()[:64]]
    return {path.name for path in (data_dir / FOLDER).iterdir() if any(part in contents(path) for part in parts)}


async def test_another_format_removes_the_files_and_lists_nothing(tmp_path):
    from runtime.serving.catalog_files import open_catalog
    from runtime.settings import Settings
    from runtime.store.sqlite.store import SqliteStore

    await changed(tmp_path, 1, 20)

    store = SqliteStore(tmp_path)
    plain = Settings(data_dir=tmp_path, catalog_vectors="float32", catalog_bytes=1 << 20)
    await open_catalog(store, plain, 384, DIGEST)
    await store.put_content([item("new", 1)])
    assert (await store.catalog_log.mark()).identity == ""
    assert store.catalog_log.listed(10) == []
    await store.close()
    assert not (tmp_path / FOLDER).exists()


async def test_labels_that_change_more_often_than_there_is_room_stay_right_after_a_kill(tmp_path):
    async def packed(seed):
        async with Changing(tmp_path) as changing:
            assert await changing.differences() == []
            changing.catalog._labels.capacity = 120
            draw = random.Random(seed)
            for _ in range(60):
                await changing.change(draw)
                if draw.random() < 0.05:
                    await changing.files.sync()

    for seed in range(5):
        await packed(seed)
    assert await compared(tmp_path) == []


async def test_a_full_disk_keeps_the_files_as_they_were(tmp_path, monkeypatch, said):
    """A limit on the size of files stands for the full disk: writing what is new fails, starting does not."""
    import resource

    await changed(tmp_path, 1, 40)
    said()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    async with Changing(tmp_path) as changing:
        assert await changing.differences() == []
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        try:
            with pytest.raises((StoreFull, Exception)):
                await changing.store.put_content([item("new", 1)])
            await changing.files.sync()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert await changing.differences() == []
    assert await compared(tmp_path) == []


def test_a_server_that_is_stopped_or_killed_uses_its_files_again(start_server, tmp_path):
    options = {"catalog_vectors": "disk", "catalog_bytes": 1 << 20}
    server = start_server(tmp_path / "data", **options)
    for id in "abc":
        assert server.client.put(f"/content/{id}", json={"text": f"a barn {id}", "tags": [id]}).status_code == 200
    assert MADE in server.log.read_text()
    for number in range(3):
        if number % 2:
            server.stop()
        else:
            server.process.kill()
            server.process.wait()
        server = start_server(tmp_path / "data", **options)
        assert USED_AGAIN in server.log.read_text()
        found = server.client.post("/search", json={"text": "a barn", "filters": {"tags": ["b"]}}).json()
        assert [hit["id"] for hit in found["results"]] == ["b"]
        assert server.client.put("/content/d", json={"text": f"an oak {number}"}).status_code == 200
        assert server.client.delete("/content/d").status_code == 204
    server.stop()


async def test_clusters_are_used_again_and_made_again_where_their_file_is_not_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "LEAST_MADE_OF", 20)

    async def filled():
        async with Changing(tmp_path) as changing:
            await changing.store.put_content([item(id, n) for n, id in enumerate(IDS)])
        async with Changing(tmp_path) as changing:  # all of them are put again
            assert changing.catalog.clusters_due
            await make_clusters(changing.catalog)
            await changing.files.sync()

    async def due():
        async with Changing(tmp_path) as changing:
            assert await changing.differences() == []
            return changing.catalog.clusters_due

    await filled()
    assert not await due()
    await changed(tmp_path, 3, 5)  # and not synced
    assert not await due()
    path = tmp_path / FOLDER / "clusters"
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], b""):
        path.write_bytes(damaged)
        assert await due()
    path.unlink()
    assert await due()


async def test_clusters_that_only_some_rows_have_are_given_to_the_others_after_a_kill(tmp_path, monkeypatch, said):
    monkeypatch.setattr(clusters, "LEAST_MADE_OF", 20)
    monkeypatch.setattr(binary_matrix, "_CODED_STEP", 4)

    async def killed():
        async with Changing(tmp_path) as changing:
            await changing.store.put_content([item(id, n) for n, id in enumerate(IDS)])
        async with Changing(tmp_path) as changing:
            changing.cluster(random.Random(1))

    async def opened():
        async with Changing(tmp_path) as changing:
            assert await changing.differences() == []
            was_due = changing.catalog.clusters_due
            await make_clusters(changing.catalog)
            assert not changing.catalog.clusters_due
            return was_due

    await killed()
    assert await opened()
    assert not await opened()
    assert USED_AGAIN in said()[-1]
