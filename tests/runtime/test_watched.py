"""A whole life of a server, watched from below: it calls nobody, and writes to its data folder alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.api.endpoints import ENDPOINTS
from tests.waiting import WAIT_S

HERE = Path(__file__).parent
OUTBOUND = ("connect", "sendto", "sendmsg", "resolve")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler and Linux, to stand between the server and the system")
    built = tmp_path_factory.mktemp("watch") / "watch.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", built, HERE / "watch.c", "-ldl"], check=True, timeout=WAIT_S
    )
    return built


def watched(library, log):
    return {"LD_PRELOAD": str(library), "WATCH": str(log)}


def lines(log):
    return [line.split(" ", 1) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture(scope="module")
def life(library, start_server, tmp_path_factory):
    """What a server did from its start to its end, with every endpoint used, and its data folder."""
    log = tmp_path_factory.mktemp("watched") / "log"
    server = start_server(environment=watched(library, log))
    fields = {"text": "a barn", "images": ["https://images.example/a.jpg", "http://127.0.0.1:1/b.jpg"]}
    server.client.put("/content/example", json=fields)
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("/page/{id}", "/page/page.js").replace("{id:path}", "example")
        server.client.request(endpoint.method, path, json=endpoint.example)
    server.client.post("/embed", json={"text": "long " * 5_000})
    assert server.stop() == 0
    return lines(log), server.data_dir


def test_no_outbound_connection_and_no_look_up(life):
    assert [line for line in life[0] if line[0] in OUTBOUND] == []


def test_nothing_is_written_outside_the_data_folder(life):
    """So the image's file system can be read-only but for the volume."""
    written = {path for what, path in life[0] if what == "write"}
    outside = {path for path in written if not Path(path).is_relative_to(life[1])}
    assert outside <= {"/dev/null"}
    assert life[1] / "vows.db" in map(Path, written)


PROBE = """
import os, socket, urllib.request
for act in (
    lambda: urllib.request.urlopen("http://127.0.0.1:9/", timeout=1),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    lambda: socket.getaddrinfo("host.invalid", 80),
    lambda: open(os.environ["TARGET"], "w"),
):
    try:
        act()
    except OSError:
        pass
"""


def test_the_watch_sees_what_it_is_for(library, tmp_path):
    log, target = tmp_path / "log", tmp_path / "written"
    environment = {**os.environ, **watched(library, log), "TARGET": str(target)}
    subprocess.run([sys.executable, "-c", PROBE], env=environment, check=True, timeout=WAIT_S)
    found = lines(log)
    for expected in (["connect", "127.0.0.1"], ["sendto", "127.0.0.1"], ["resolve", "host.invalid"]):
        assert expected in found
    assert ["write", str(target)] in found
