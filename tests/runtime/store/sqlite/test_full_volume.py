"""A start on a volume without any room: what is stored is read, and writes say what is wrong."""

import contextlib
import os
import shutil
import subprocess
from signal import SIGKILL, SIGTERM

import pytest

from tests.waiting import WAIT_S


@pytest.fixture
def volume(tmp_path):
    """A file system of 24 MiB."""
    folder = tmp_path / "volume"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() or mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert os.statvfs(folder).f_bavail == 0


def test_reads_are_served_after_a_kill_and_after_a_stop(start_server, volume):
    server = start_server(volume)
    server.client.put("/content/barn", json={"text": "an oak barn"})
    event = {"user_id": "ann", "content_id": "barn", "type": "save"}
    assert server.client.post("/interactions", json=event).status_code == 200
    for signal in (SIGKILL, SIGTERM):
        fill(volume)
        server.client.close()
        server.process.send_signal(signal)
        server.process.wait(timeout=WAIT_S)
        server = start_server(volume)
        client = server.client
        assert client.get("/readyz").status_code == 200
        assert client.post("/search", json={"text": "barn"}).json()["results"][0]["id"] == "barn"
        assert client.get("/user/ann/embedding").json()["source"] == "history"
        assert client.get("/events/export").text.count("\n") == 1
        refused = client.post("/interactions", json=event)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_unavailable")
    (volume / "filler").unlink()
    assert client.post("/interactions", json=event).status_code == 200
    assert server.stop() == 0


@pytest.mark.parametrize("content", [b"", b"\x00" * 5000, b'{"id":"a"}\n', b"\x1f\x8b\x08" * 999, os.urandom(4097)])
def test_restoring_something_else_says_what_a_backup_is(tmp_path, content):
    from runtime.store import StoreCorrupt
    from runtime.store.sqlite.backup import restore

    file = tmp_path / "something"
    file.write_bytes(content)
    with pytest.raises(StoreCorrupt, match=r"something is damaged or no backup.*a file that `vows-edge backup` wrote"):
        restore(file, tmp_path / "data", replace=False)
    assert not (tmp_path / "data" / "vows.db").exists()
