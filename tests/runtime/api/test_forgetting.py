"""A user who is deleted leaves nothing: tables, caches, logs, the next export, the bytes of the files."""

import re
import shutil
import sqlite3

USER = "forget-me-9d41c2"
PREFERENCES = ["zebra-striped marquees", "harpsichord music"]
CHANGED = ["tartan and bagpipes"]


def misses(client):
    return int(re.search(r"^vows_cache_misses_total (\d+)", client.get("/metrics").text, re.MULTILINE).group(1))


def in_files(folder, *secrets):
    found = []
    for file in folder.rglob("*"):
        if file.is_file():
            held = file.read_bytes()
            found += [(file.name, secret) for secret in secrets if secret.encode() in held]
    return found


def test_a_deleted_user_leaves_nothing(start_server, tmp_path):
    server = start_server(log_level="debug")
    client = server.client
    for n in range(30):
        client.put(f"/content/item-{n}", json={"text": f"a venue with {n} rooms", "tags": ["venue"]})
    client.put(f"/user/{USER}/preferences", json={"preferences": CHANGED})
    client.put(f"/user/{USER}/preferences", json={"preferences": PREFERENCES})
    secrets = [USER, "secret-device", "secret-context", "secret-event", *PREFERENCES, *CHANGED]
    for start in range(0, 300, 100):
        events = [
            {
                "user_id": USER if n % 3 else f"other-{n % 5}", "content_id": f"item-{n % 30}", "type": "save",
                "event_id": f"secret-event-{n}" if n % 3 else f"other-{n}", "device": "secret-device" if n % 3 else "",
                "context": {"note": "secret-context"} if n % 3 else None,
            }
            for n in range(start, start + 100)
        ]  # fmt: skip
        assert client.post("/interactions", json=events).json()["stored"] == 100
    client.delete("/interactions/secret-event-1")
    for path in ("embedding", "recommendations", "style"):
        assert client.get(f"/user/{USER}/{path}").status_code == 200
    client.post("/rank?explain=true", json={"user_id": USER, "candidates": ["item-1"]})
    client.post("/interactions", json={"user_id": USER, "content_id": USER, "type": "view"})  # refused, with a reason
    assert USER in client.get("/events/export").text
    assert in_files(server.data_dir, USER)

    receipt = client.delete(f"/user/{USER}").json()
    assert receipt == {
        "user_id": USER,
        "deleted": {
            "users": 1,
            "user_sums": 1,
            "interactions": 199,
            "preferences": 1,
            "exposures": 0,
            "participants": 0,
        },
    }
    assert in_files(server.data_dir, *secrets) == []
    for text in (", ".join(PREFERENCES), ", ".join(CHANGED)):
        before = misses(client)
        client.post("/embed", json={"text": text})
        assert misses(client) == before + 1
    exported = client.get("/events/export").text
    assert exported.count("\n") == 100
    assert [secret for secret in secrets if secret in exported + client.get("/metrics").text] == []
    assert client.get(f"/user/{USER}/embedding").json()["interaction_count"] == 0

    server.stop()
    assert in_files(server.data_dir, *secrets) == []
    assert [secret for secret in secrets if secret in server.log.read_text()] == []
    copy = tmp_path / "copy"
    shutil.copytree(server.data_dir, copy)
    database = sqlite3.connect(copy / "vows.db")
    database.execute("VACUUM")
    database.close()
    assert in_files(copy, *secrets) == []
