"""Several servers on one Postgres: each serves the same data, and Postgres may go away and come back."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from bench.postgres import PostgresServer
from runtime.cli.main import main
from tests.conftest import Server
from tests.runtime.cli.test_import import move_and_compare
from tests.waiting import WAIT_S, until

pytest.importorskip("asyncpg", reason="asyncpg is not installed: pip install 'vows-edge[postgres]'")


@pytest.fixture(scope="module")
def machines(postgres_server: PostgresServer, start_server: Callable[..., Server]) -> list[Server]:
    url = postgres_server.create_database(f"machines-{uuid.uuid4().hex[:8]}")
    return [start_server(database_url=url, threads=1) for _ in range(2)]


def ranks(machine: Server, id: str, text: str) -> bool:
    found = machine.client.post("/search", json={"text": text, "top_k": 3}).json()["results"]
    return id in [one["id"] for one in found]


def test_what_one_machine_stores_hides_and_deletes_ranks_on_the_others(machines: list[Server]) -> None:
    here, there = machines
    delays = []
    for n in range(12):
        text = f"a lighthouse with {n} lamps"
        assert here.client.put(f"/content/light-{n}", json={"text": text}).status_code in (200, 201)
        delays.append(until(lambda n=n, text=text: ranks(there, f"light-{n}", text)))
    print(f"a change ranks on the other machine after {np.percentile(delays, [50, 95, 100]).round(3)} s")
    assert there.client.patch("/content/light-3", json={"hidden": True}).status_code == 200
    until(lambda: not ranks(here, "light-3", "a lighthouse with 3 lamps"))
    assert there.client.delete("/content/light-4").status_code in (200, 204)
    until(lambda: not ranks(here, "light-4", "a lighthouse with 4 lamps"))


def test_an_item_whose_fields_cannot_be_read_does_not_keep_others_out(
    postgres_server: PostgresServer, start_server: Callable[..., Server]
) -> None:
    database = f"broken-{uuid.uuid4().hex[:8]}"
    url = postgres_server.create_database(database)
    here, there = (start_server(database_url=url, threads=1) for _ in range(2))
    here.client.put("/content/broken", json={"text": "a broken lamp"})
    until(lambda: ranks(there, "broken", "a broken lamp"))
    statement = "UPDATE content SET fields = '{' WHERE key = (SELECT key FROM content_ids WHERE id = 'broken')"
    postgres_server.execute(statement, database)
    assert here.client.patch("/content/broken", json={"hidden": True}).status_code == 200
    assert here.client.patch("/content/broken", json={"hidden": False}).status_code == 200
    here.client.put("/content/whole", json={"text": "a whole lamp"})
    until(lambda: ranks(there, "whole", "a whole lamp"))


def test_a_user_is_the_same_on_every_machine_and_an_event_counts_once(machines: list[Server]) -> None:
    here, there = machines
    here.client.put("/content/barn", json={"text": "a rustic barn"})
    event = {"user_id": "ann", "content_id": "barn", "type": "save", "event_id": "e-1"}
    answers = [machine.client.post("/interactions", json=event).json() for machine in (here, there, here)]
    assert [answer.get("status") or answer["results"][0]["status"] for answer in answers] == [
        "stored", "duplicate", "duplicate",
    ]  # fmt: skip
    vectors = [machine.client.get("/user/ann/embedding").json() for machine in machines]
    assert vectors[0]["embedding"] == vectors[1]["embedding"]
    assert vectors[0]["interaction_count"] == vectors[1]["interaction_count"] == 1
    assert there.client.delete("/user/ann").status_code == 200
    assert here.client.get("/user/ann/embedding").json()["interaction_count"] == 0


@pytest.fixture
def own_postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    with PostgresServer(durable=False) as server:
        yield server


@pytest.mark.slow
def test_without_postgres_texts_are_served_users_are_refused_and_it_comes_back(
    own_postgres: PostgresServer, start_server: Callable[..., Server]
) -> None:
    machine = start_server(database_url=own_postgres.url(), threads=1)
    client = machine.client
    client.put("/content/barn", json={"text": "a rustic barn"})
    until(lambda: ranks(machine, "barn", "a rustic barn"))
    event = {"user_id": "ann", "content_id": "barn", "type": "save", "event_id": "e-1"}
    assert client.post("/interactions", json=event).status_code == 200
    own_postgres.stop()
    until(lambda: client.get("/readyz").status_code == 503)
    assert client.get("/healthz").status_code == 200
    assert client.post("/embed", json={"text": "anything"}).status_code == 200
    assert ranks(machine, "barn", "a rustic barn")
    assert "vows_store_available 0" in client.get("/metrics").text
    refused: list[httpx.Response] = [
        client.get("/user/ann/embedding"),
        client.post("/interactions", json=event),
        client.put("/user/ann/preferences", json={"preferences": ["rustic"]}),
        client.delete("/user/ann"),
        client.put("/content/tent", json={"text": "a tent"}),
    ]
    for answer in refused:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    own_postgres.start()
    until(lambda: client.get("/readyz").status_code == 200)
    assert client.get("/user/ann/embedding").json()["interaction_count"] == 1
    assert client.post("/interactions", json=event).status_code == 200
    assert client.put("/content/tent", json={"text": "a tent"}).status_code in (200, 201)


@pytest.mark.slow
def test_import_moves_to_postgres_and_back_while_both_serve(
    machines: list[Server], postgres_server: PostgresServer, start_server: Callable[..., Server]
) -> None:
    alone, back = start_server(), start_server()
    shared = start_server(database_url=postgres_server.create_database(f"moved-{uuid.uuid4().hex[:8]}"), threads=1)
    alone.client.post(
        "/content/batch", json=[{"id": f"item-{n}", "text": f"a hall with {n} windows"} for n in range(30)]
    )
    events = [
        {"event_id": f"m-{n}", "user_id": f"user-{n % 4}", "content_id": f"item-{n % 30}", "type": "save",
         "timestamp": f"2026-01-{1 + n % 28:02}T00:00:00Z"}
        for n in range(90)
    ]  # fmt: skip
    alone.client.post("/interactions", json=events[:60])
    with clients_of(alone, events[60:75]) as answers:
        assert main(["import", "--from", alone.url, "--to", shared.url]) == 0
    assert set(answers) == {200}
    alone.client.post("/interactions", json=events[75:80])  # by clients that were not switched yet
    assert main(["import", "--from", alone.url, "--to", shared.url]) == 0
    with clients_of(shared, events[80:]) as answers:  # the others were
        assert main(["import", "--from", shared.url, "--to", back.url]) == 0
    assert set(answers) == {200}
    assert main(["import", "--from", shared.url, "--to", back.url]) == 0
    assert main(["import", "--from", shared.url, "--to", alone.url]) == 0  # back to where it came from
    exported = [
        [(one["event_id"], one["user_id"], one["content_id"], one["type"]) for one in _log(server)]
        for server in (alone, shared, back)
    ]
    assert sorted(exported[0]) == sorted(exported[1]) == sorted(exported[2])
    assert len(exported[0]) == len(set(exported[0])) == 90
    for user in range(4):
        vectors = [
            server.client.get(f"/user/user-{user}/embedding").json()["embedding"] for server in (alone, shared, back)
        ]
        assert vectors[0] == pytest.approx(vectors[1], abs=1e-6)
        assert vectors[0] == pytest.approx(vectors[2], abs=1e-6)


@pytest.mark.slow
def test_experiments_move_to_postgres_and_back(
    postgres_server: PostgresServer, start_server: Callable[..., Server]
) -> None:
    url = postgres_server.create_database(f"moved-{uuid.uuid4().hex[:8]}")
    move_and_compare(start_server(), start_server(database_url=url, threads=1), start_server())


@contextmanager
def clients_of(server: Server, events: list[dict]) -> Iterator[list[int]]:
    """Send events one by one, and read and rank, while something else happens; the statuses of the answers."""
    statuses: list[int] = []

    def send() -> None:
        with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
            for event in events:
                user = event["user_id"]
                statuses.append(client.post("/interactions", json=event).status_code)
                statuses.append(client.get(f"/user/{user}/embedding").status_code)
                body = {"user_id": user, "candidates": ["item-1", "item-2"]}
                statuses.append(client.post("/rank", json=body).status_code)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield statuses
    finally:
        sending.join()


def _log(server: Server) -> list[dict]:
    return [json.loads(line) for line in server.client.get("/events/export").text.splitlines()]
