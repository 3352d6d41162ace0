"""What is accepted can be read back by every reader; a row that cannot be read does not hide the others."""

import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from runtime.store.sqlite.readable import LAST_US

HUGE = "1" + "0" * 400
READERS = (
    "/user/{}/embedding",
    "/user/{}/embedding?model=sequence",
    "/user/{}/style",
    "/user/{}/style?dislikes=true",
    "/user/{}/recommendations",
)


@pytest.fixture(scope="module")
def shared_client(start_server):
    server = start_server()
    assert server.client.put("/content/barn", json={"text": "a barn"}).status_code == 200
    return server.client


def send(client, body):
    return client.post("/interactions", content=body, headers={"content-type": "application/json"})


def event(id, user="ada", **more):
    return {"event_id": id, "user_id": user, "content_id": "barn", "type": "save", **more}


def read_everything(client, user):
    """Every reader of the log answers; returns the exported ids."""
    for path in READERS:
        answer = client.get(path.format(user))
        assert answer.status_code == 200, (path, answer.text)
    ranking = {"user_id": user, "candidates": ["barn"]}
    for path, body in (
        ("/rank?explain=true", ranking),
        ("/rank", {**ranking, "model": "sequence"}),
        (f"/user/{user}/next-action", {"candidates": ["barn"]}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 200, (path, answer.text)
    lines = client.get("/events/export").text.splitlines()
    return [json.loads(line)["event_id"] for line in lines]


@pytest.mark.parametrize(
    "timestamp",
    [
        "0001-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00+23:59",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:59.999999-23:59",
        "2500-01-01T00:00:00Z",
    ],
)
def test_times_that_not_everybody_reads_are_refused(shared_client, timestamp):
    answer = shared_client.post("/interactions", json=event("t", "tim", timestamp=timestamp))
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "$.timestamp")
    batch = shared_client.post("/interactions", json=[event("t", "tim", timestamp=timestamp)]).json()
    assert batch["results"][0]["error"]["field"] == "$[0].timestamp"
    assert "t" not in read_everything(shared_client, "tim")


TIMES = ["1970-01-01T00:00:00Z", "1970-01-01T00:01:00+00:01", "2001-02-03T04:05:06-23:59"]


@pytest.mark.parametrize("timestamp", TIMES)
def test_times_at_the_edge_are_read_back(shared_client, timestamp):
    id, user = f"edge {timestamp}", "edgar"
    assert shared_client.post("/interactions", json=event(id, user, timestamp=timestamp)).json()["stored"] == 1
    assert id in read_everything(shared_client, user)


@pytest.mark.parametrize("number", [HUGE, f"-{HUGE}", "9" * 4000, str(2**64), str(2**53 + 1), str(-(2**53) - 1)])
def test_whole_numbers_that_not_everybody_reads_are_refused(shared_client, number):
    body = json.dumps(event("n", "nan", context={"days_to_wedding": 0})).replace(": 0}", f": {number}}}")
    answer = send(shared_client, body)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] in ('$.context["days_to_wedding"]', "$.context[...]")
    assert "n" not in read_everything(shared_client, "nan")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-1e400"])
def test_numbers_that_json_does_not_have_are_refused(shared_client, value):
    body = json.dumps(event("x", "nan", context={"days_to_wedding": 0})).replace(": 0}", f": {value}}}")
    assert send(shared_client, body).status_code in (400, 422)


@pytest.mark.parametrize(
    "context", [{"days_to_wedding": 2**53}, {"days_to_wedding": -(2**53)}, {"days_to_wedding": 1e308}, {"": 1e-308}, {}]
)
def test_what_a_context_may_hold_is_read_by_everybody(shared_client, context):
    id = f"context {context}"
    for n in range(3):
        assert shared_client.post("/interactions", json=event(f"{id}{n}", "cora", context=context)).status_code == 200
    assert f"{id}0" in read_everything(shared_client, "cora")


BAD = [
    ("time_us", -62_135_596_860_000_000),
    ("time_us", LAST_US + 1_000_000),
    ("time_us", 2**63 - 1),
    ("time_us", -(2**63)),
    ("received_us", 2**62),
    ("type", 4),
    ("type", -1),
    ("type", 300),
    ("context", b'{"days_to_wedding":' + b"9" * 5000 + b"}"),
    ("context", b"[1]"),
    ("context", b"no json"),
    ("context", b"\xff"),
    ("context", b"[" * 20_000),
]


def test_a_row_that_cannot_be_read_is_left_out_and_reported(start_server):
    server = start_server()
    assert server.client.put("/content/barn", json={"text": "a barn"}).status_code == 200
    ids = [f"{kind}-{n}" for n in range(len(BAD)) for kind in ("good", "bad")]
    assert server.client.post("/interactions", json=[event(id) for id in ids]).json()["stored"] == len(ids)
    server.stop()
    with sqlite3.connect(server.data_dir / "vows.db") as connection:
        for n, (column, value) in enumerate(BAD):
            connection.execute(f"UPDATE interactions SET {column} = ? WHERE event_id = 'bad-{n}'", [value])
    connection.close()
    server = start_server(server.data_dir)
    good = [f"good-{n}" for n in range(len(BAD))]
    assert read_everything(server.client, "ada") == good
    log = server.log.read_text()
    assert all(f"event 'bad-{n}' is left out" in log for n in range(len(BAD))), log
    assert "Traceback" not in log
    (met,) = re.findall(r"^vows_unreadable_rows_total (\d+)$", server.client.get("/metrics").text, re.MULTILINE)
    assert int(met) >= len(BAD)  # each as often as a reader met it
    page = server.client.get("/events/export?limit=4").text.splitlines()
    assert [json.loads(line)["event_id"] for line in page] == good[:4]
    assert server.client.put("/content/barn", json={"text": "a red barn"}).status_code == 200  # the vector is rebuilt
    assert read_everything(server.client, "ada") == good
    assert all(server.client.delete(f"/interactions/bad-{n}").status_code == 204 for n in (0, 3, 5, 8))
    assert server.client.delete("/user/ada").json()["deleted"]["interactions"] == len(ids) - 4


def test_a_clock_that_was_ahead_does_not_pin_a_user(start_server, faults, tmp_path):
    """Twenty years ahead for one event: neither the user's vector nor what is popular stays with it."""
    environment = {"LD_PRELOAD": str(faults), "FAULTS_DIR": str(tmp_path)}
    server = start_server(environment=environment)
    for id, text in (("barn", "a rustic barn"), ("yacht", "a yacht at sea")):
        assert server.client.put(f"/content/{id}", json={"text": text}).status_code == 200
    vectors = {id: server.client.get(f"/content/{id}").json()["embedding"] for id in ("barn", "yacht")}

    def similarity(id):
        user = server.client.get("/user/ada/embedding").json()["embedding"]
        return sum(a * b for a, b in zip(user, vectors[id], strict=True))

    (tmp_path / "clock").write_text(str(int(timedelta(days=7300).total_seconds())))
    assert server.client.post("/interactions", json=event("ahead")).json()["stored"] == 1
    (tmp_path / "clock").unlink()
    for n in range(9):
        assert server.client.post("/interactions", json=event(f"now-{n}", content_id="yacht")).json()["stored"] == 1
    assert similarity("yacht") > 0.97 > similarity("barn")
    assert read_everything(server.client, "ada")[0] == "ahead"
    assert server.client.delete("/interactions/ahead").status_code == 204
    assert similarity("yacht") > 0.999
    assert datetime.fromisoformat(server.client.get("/user/ada/embedding").json()["last_updated"]) > datetime.now(UTC)
