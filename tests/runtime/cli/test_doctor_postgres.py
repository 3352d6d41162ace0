"""The doctor's look at a real Postgres: what is safe there, and each thing that is not."""

import asyncio
import re
import time
import uuid
from urllib.parse import urlsplit

import pytest

pytest.importorskip("asyncpg", reason="asyncpg is not installed: pip install 'vows-edge[postgres]'")

import asyncpg
import numpy as np

from bench.postgres import PostgresServer
from runtime.cli import doctor_postgres
from runtime.cli.doctor_postgres import examine_postgres
from runtime.cli.main import main
from runtime.environment import read_settings
from runtime.personalization import popularity
from runtime.store import ContentItem, Interaction, Preferences
from runtime.store.postgres import migrations
from runtime.store.postgres.store import open_store


@pytest.fixture(scope="module")
def server():
    """Of its own: a durable one."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def url(server):
    return server.create_database(f"test-{uuid.uuid4().hex[:12]}")


def found(url: str, **settings: object) -> dict[str, tuple[str, str]]:
    """Verdict and text by name."""
    given = {"VOWS_DATABASE_URL": url} | {f"VOWS_{name.upper()}": str(value) for name, value in settings.items()}
    return {one.name: (one.verdict, one.found) for one in examine_postgres(read_settings(given))}


def name_of(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


def run(server: PostgresServer, url: str, statement: str) -> None:
    server.execute(statement, name_of(url))


async def _make(url: str) -> None:
    store = await open_store(url)
    await store.close()


def test_a_server_that_is_safe(url):
    before = found(url)
    assert before["schema"] == ("ok", "an empty database: the first start makes the tables")
    asyncio.run(_make(url))
    after = found(url)
    assert {name for name, (verdict, _) in after.items() if verdict == "unsafe"} == set()
    assert after["Postgres"][1].startswith("18.")
    assert "pgvector 0.8" in after["extensions"][1]
    assert "synchronous_commit=on, fsync=on" in after["durability"][1]
    assert "room for" in after["connections"][1]
    assert f"the last is {migrations.MIGRATIONS[-1].name}" in after["schema"][1]
    assert "s from Postgres" in after["clock"][1]
    assert after["feed"][0] == "ok"


def test_a_server_that_loses_acknowledged_events(postgres_server):
    url = postgres_server.create_database(f"test-{uuid.uuid4().hex[:12]}")  # of the tests: without syncs
    verdict, text = found(url)["durability"]
    assert verdict == "unsafe"
    assert "fsync and full_page_writes off" in text


def test_synchronous_commit_that_is_off_is_set_per_transaction(server, url):
    server.execute(f'ALTER DATABASE "{name_of(url)}" SET synchronous_commit = off')
    verdict, text = found(url)["durability"]
    assert (verdict, "each transaction here sets synchronous_commit=on" in text) == ("ok", True)


def test_more_connections_than_the_server_has(server, url):
    server.execute(f'ALTER DATABASE "{name_of(url)}" CONNECTION LIMIT 3')
    verdict, text = found(url)["connections"]
    assert verdict == "unsafe"
    assert "this machine opens up to 5: lower VOWS_DATABASE_CONNECTIONS" in text
    assert found(url, database_connections=2)["connections"][0] == "ok"


def test_clocks_that_differ(url, monkeypatch):
    now = time.time
    monkeypatch.setattr("runtime.store.postgres.survey.time.time", lambda: now() + 7)
    verdict, text = found(url)["clock"]
    assert (verdict, text.startswith("this machine is +7.0")) == ("unsafe", True)


def test_a_database_of_a_newer_version(server, url):
    asyncio.run(_make(url))
    run(server, url, "INSERT INTO migrations (name, serves_older, applied_us) VALUES ('from_the_future', false, 0)")
    assert found(url)["schema"] == ("unsafe", "a newer version migrated it (from_the_future): run that version")
    run(server, url, "DELETE FROM migrations WHERE name IN ('from_the_future', 'tombstones')")
    assert found(url)["schema"][1].startswith("tombstones will be run at the next start")


def test_a_transaction_that_holds_back_the_log(server, url, monkeypatch):
    monkeypatch.setattr(doctor_postgres, "LONGEST_WRITE_S", 0.05)

    async def hold() -> tuple[str, str]:
        connection = await asyncpg.connect(url)
        await connection.execute("BEGIN")
        await connection.execute("CREATE TABLE held (one integer)")
        await asyncio.sleep(0.2)
        try:
            return (await asyncio.to_thread(found, url))["feed"]
        finally:
            await connection.close()

    verdict, text = asyncio.run(hold())
    assert (verdict, "end it (pg_stat_activity" in text) == ("unsafe", True)


def test_a_server_that_cannot_be_reached(tmp_path):
    (verdict, text) = found(f"postgresql://nobody@/none?host={tmp_path}")["Postgres"]
    assert verdict == "unsafe"
    assert "cannot be reached" in text


async def test_a_clock_that_was_ahead_is_repaired_while_machines_serve(url, monkeypatch, capsys):
    years_us, skew_us, now_us = 20 * 365 * 86_400_000_000, 300_000_000, time.time_ns() // 1000
    clock = [now_us - 10_000_000]
    monkeypatch.setenv("VOWS_DATABASE_URL", url)
    vector = np.eye(1, 384, dtype=np.float32)[0]
    about = {"embedding": vector, "model_version": "v1", "bundle_digest": "b"}

    def event(id, time_us, user="ann"):
        return Interaction(event_id=id, user_id=user, content_id="barn", type="save", time_us=time_us)

    store = await open_store(url, clock_us=lambda: clock[0])
    await store.put_content([ContentItem(id="barn", fields=b"{}", tokens=1, truncated=False, **about)])
    await store.add_interactions([event("right", now_us - 20_000_000), event("sent ahead", now_us + years_us)])
    clock[0] += years_us
    await store.add_interactions([event("ahead", clock[0]), event("old", 1_000, user="bob")])
    await store.put_preferences("ann", Preferences(preferences=["a"], **about))
    clock[0] -= years_us
    assert await asyncio.to_thread(main, ["doctor", "--repair-clock", "--dry-run"]) == 0
    assert await asyncio.to_thread(main, ["doctor", "--repair-clock"]) == 0
    assert await asyncio.to_thread(main, ["doctor", "--repair-clock", "--dry-run"]) == 0
    logged = {one.event_id: one for one in (await store.log())[0]}
    await store.rebuild_user("ann")
    ann, preferences, problems = await store.get_user("ann"), await store.get_preferences("ann"), await store.check()
    counts = (await store.item_counts(["barn"]))["barn"]
    await store.close()
    out = capsys.readouterr().out
    assert "event 'ahead'" in out
    assert "event 'right'" not in out
    assert re.findall(r"(\d+) events are ahead", out) == ["3", "0"]
    later_us = time.time_ns() // 1000
    assert logged["right"].time_us == now_us - 20_000_000
    assert logged["sent ahead"].time_us == now_us - 10_000_000  # when it came
    assert now_us <= logged["ahead"].time_us <= later_us
    assert (logged["old"].time_us, logged["old"].received_us <= later_us) == (1_000, True)
    assert ann.sums.reference_us <= later_us
    assert ann.last_updated_us <= later_us + skew_us
    assert preferences.updated_us <= later_us
    np.testing.assert_allclose(counts, popularity.from_log(np.array(sorted(one.time_us for one in logged.values()))))
    assert problems == []
