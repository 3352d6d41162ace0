"""A full disk, a volume that refuses, damage, a clock that jumps: what the server answers, says, and has afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from errno import EIO, ENOSPC, EROFS
from pathlib import Path

import httpx
import pytest

from tests.waiting import WAIT_S

ROOT = Path(__file__).parents[2]


def command(*arguments, bundle_path=None, environment=None, **settings):
    """`python -m runtime` with these arguments, until it ends."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("VOWS_")}
    given |= {f"VOWS_{name.upper()}": str(value) for name, value in ({"port": 0} | settings).items()}
    given |= {"VOWS_MODELS_DIR": str(bundle_path.parent)} if bundle_path else {}
    return subprocess.run(
        [sys.executable, "-m", "runtime", *map(str, arguments)],
        cwd=ROOT, env=given | (environment or {}), capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def event(id, **more):
    return {"user_id": "ada", "content_id": "barn", "type": "save", "event_id": id, **more}


def store(server, id, **more):
    return server.client.post("/interactions", json=event(id, **more))


def statuses(server, ids):
    """The outcomes of sending these events once more."""
    answer = server.client.post("/interactions", json=[event(id) for id in ids])
    return {result["status"] for result in answer.json()["results"]}


@pytest.fixture
def told(tmp_path):
    """Tells the server under the preloaded library what goes wrong from now on; nothing at first."""
    folder = tmp_path / "faults"
    folder.mkdir()

    def tell(name, number):
        if number:
            (folder / "new").write_text(str(number))
            (folder / "new").rename(folder / name)
        else:
            (folder / name).unlink()

    tell.folder = folder
    return tell


@pytest.fixture
def fragile(start_server, faults, told):
    server = start_server(environment={"LD_PRELOAD": str(faults), "FAULTS_DIR": str(told.folder)})
    assert server.client.put("/content/barn", json={"text": "a barn"}).status_code == 200
    return server


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (ENOSPC, "free some disk space, then repeat"),
        (EROFS, "check that the volume is mounted, writable and healthy"),
        (EIO, "check that the volume is mounted, writable and healthy"),
    ],
    ids=["disk full", "read-only", "I/O errors"],
)
def test_writes_are_refused_with_advice_reads_go_on_and_nothing_acknowledged_is_lost(
    fragile, told, start_server, number, advice
):
    acknowledged = [f"before-{n}" for n in range(20)]
    assert all(store(fragile, id).json()["stored"] == 1 for id in acknowledged)
    liked = {"user_id": "bob", "content_id": "yacht", "type": "save", "event_id": "bob"}
    for text in ("a yacht", "a blue yacht"):
        assert fragile.client.put("/content/yacht", json={"text": text}).status_code == 200
        assert fragile.client.post("/interactions", json=liked).status_code == 200
    told("errno", number)
    for path, body in (("/interactions", event("refused")), ("/content/batch", [{"id": "hall", "text": "a hall"}])):
        answer = fragile.client.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable"), answer.text
        assert advice in answer.json()["error"]["message"]
        assert answer.headers["retry-after"]
    assert fragile.client.get("/content/barn").status_code == 200
    assert fragile.client.get("/user/ada/embedding").json()["interaction_count"] == 20
    assert fragile.client.get("/content/hall").status_code == 404
    assert fragile.client.get("/user/bob/embedding").json()["source"] == "history"  # stale, and computed
    ranked = fragile.client.post("/rank", json={"user_id": "ada", "candidates": ["barn", "hall"]}).json()
    assert ranked["unknown"] == ["hall"]
    told("errno", 0)
    assert store(fragile, "refused").json()["results"][0]["status"] in ("stored", "duplicate")
    acknowledged.append("refused")
    fragile.process.send_signal(signal.SIGKILL)
    fragile.process.wait(timeout=WAIT_S)
    again = start_server(fragile.data_dir)
    assert statuses(again, acknowledged) == {"duplicate"}
    assert again.client.get("/user/ada/embedding").json()["interaction_count"] == 21


@pytest.mark.parametrize(
    ("number", "advice"), [(ENOSPC, "free some disk space"), (EROFS, "check that the volume is mounted, writable")]
)
def test_a_start_without_room_or_rights_says_what_to_do(faults, told, bundle_path, tmp_path, number, advice):
    told("errno", number)
    result = command(
        bundle_path=bundle_path, data_dir=tmp_path / "data",
        environment={"LD_PRELOAD": str(faults), "FAULTS_DIR": str(told.folder)},
    )  # fmt: skip
    assert result.returncode == 1
    assert "vows-edge cannot start" in result.stderr
    assert advice in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_that_cannot_be_made_says_what_to_do(bundle_path):
    result = command(bundle_path=bundle_path, data_dir="/proc/vows")
    assert result.returncode == 1
    assert "make it writable or choose another" in result.stderr


def test_a_backup_of_the_running_server_cures_a_corrupted_database(start_server, bundle_path, tmp_path):
    server = start_server()
    assert server.client.put("/content/barn", json={"text": "a barn"}).status_code == 200
    backed_up = [f"early-{n}" for n in range(30)]
    assert all(store(server, id).json()["stored"] == 1 for id in backed_up)
    done, meanwhile = threading.Event(), []

    def go_on():
        with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
            while not done.is_set():
                id = f"meanwhile-{len(meanwhile)}"
                assert client.post("/interactions", json=event(id)).json()["stored"] == 1
                meanwhile.append(id)

    writer = threading.Thread(target=go_on)
    writer.start()
    result = command("backup", tmp_path / "copy", data_dir=server.data_dir)
    done.set()
    writer.join()
    assert result.returncode == 0, result.stderr
    assert "1 items of content, 1 users, " in result.stdout
    assert meanwhile
    assert store(server, "late").json()["stored"] == 1
    locked = command("restore", tmp_path / "copy", "--replace", data_dir=server.data_dir)
    assert (locked.returncode, "in use by another process" in locked.stderr) == (1, True)
    assert server.stop() == 0
    database = server.data_dir / "vows.db"
    damaged = bytearray(database.read_bytes())
    damaged[4096:] = b"\xff" * (len(damaged) - 4096)
    database.write_bytes(damaged)
    result = command(bundle_path=bundle_path, data_dir=server.data_dir)
    assert result.returncode == 1
    assert "vows-edge restore FILE --replace" in result.stderr
    assert "Traceback" not in result.stderr
    kept = command("restore", tmp_path / "copy", data_dir=server.data_dir)
    assert (kept.returncode, "add --replace" in kept.stderr) == (1, True)
    assert command("restore", tmp_path / "copy", "--replace", data_dir=server.data_dir).returncode == 0
    again = start_server(server.data_dir)
    assert statuses(again, backed_up) == {"duplicate"}
    assert statuses(again, ["late"]) == {"stored"}


def test_a_corrupted_bundle_stops_the_start_and_says_what_to_do(bundle_path, tmp_path):
    bundle = tmp_path / "models" / "minilm"
    shutil.copytree(bundle_path, bundle, ignore=shutil.ignore_patterns("*.onnx"))
    (bundle / "tokenizer.json").write_bytes((bundle / "tokenizer.json").read_bytes().replace(b"the", b"teh", 1))
    result = command(models_dir=tmp_path / "models", data_dir=tmp_path / "data")
    assert result.returncode == 1
    assert "SHA-256 of tokenizer.json is" in result.stderr
    assert "export the bundle again" in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_clock_that_jumps_back_changes_no_order_and_later_stamps_are_rejected(fragile, told):
    def seen():
        return fragile.client.get("/user/ada/embedding").json(), fragile.client.get("/content/barn").json()

    assert store(fragile, "before").json()["stored"] == 1
    (user, content), right = seen(), datetime.now(UTC).isoformat()
    told("clock", -timedelta(hours=2) // timedelta(seconds=1))
    assert store(fragile, "in the past").json()["stored"] == 1
    refused = store(fragile, "right", timestamp=right)
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "$.timestamp")
    assert "set the clock of whichever is wrong" in refused.json()["error"]["message"]
    assert fragile.client.put("/content/barn", json={"text": "a red barn"}).status_code == 200
    now_user, now_content = seen()
    assert now_user["interaction_count"] == 2
    assert now_user["last_updated"] == user["last_updated"]
    assert now_content["updated_at"] >= now_content["created_at"] == content["created_at"]
    told("clock", 0)
    time.sleep(0.001)
    assert store(fragile, "right", timestamp=right).json()["stored"] == 1
    assert seen()[0]["last_updated"] > user["last_updated"]
    assert statuses(fragile, ["before", "in the past", "right"]) == {"duplicate"}
