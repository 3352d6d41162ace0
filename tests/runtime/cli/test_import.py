"""`vows-edge import`: from files and from another server, twice with the same result."""

import fcntl
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from runtime import transfer
from runtime.cli.main import main
from runtime.transfer import Remote
from runtime.transfer_files import TransferError, records_of
from tests.conftest import Server
from tests.waiting import WAIT_S, until

ITEMS = [
    {"id": "barn", "title": "Oak Barn", "tags": ["rustic"]},
    {"id": "grand/1", "text": "a ballroom with chandeliers", "category": "venue"},
    {"id": "tent", "text": "a white tent", "hidden": True},
]
EVENTS = [
    {"event_id": f"e{n}", "user_id": "ada", "content_id": "barn", "type": type, "timestamp": f"2026-01-0{n}T10:00:00Z",
     "context": {"page": n}}
    for n, type in enumerate(("view", "save", "share"), 1)
]  # fmt: skip


def _write(file: Path, records: list[dict]) -> str:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(file)


@pytest.fixture(scope="module")
def filled(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of its own, filled from files."""
    server, folder = start_server(), tmp_path_factory.mktemp("files")
    files = {"catalogue": ITEMS, "events": EVENTS, "preferences": [{"user_id": "bo", "preferences": ["rustic"]}]}
    options = [part for name, records in files.items() for part in (f"--{name}", _write(folder / name, records))]
    assert main(["import", "--to", server.url, *options]) == 0
    return server


def _log(server: Server) -> list[dict]:
    lines = server.client.get("/events/export").text.splitlines()
    return [{name: event[name] for name in EVENTS[0]} for event in map(json.loads, lines)]


def test_files_are_stored(filled: Server) -> None:
    listed = filled.client.get("/content").json()["items"]
    assert [item["id"] for item in listed] == ["barn", "grand/1"]
    assert filled.client.get("/content/tent").json()["hidden"] is True
    assert _log(filled) == EVENTS
    assert filled.client.get("/user/bo/embedding").json()["source"] == "preferences"


def test_another_server_becomes_the_same_and_again_nothing_changes(
    filled: Server, start_server: Callable[..., Server], capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr(transfer, "PAGE_ITEMS", 2)
    monkeypatch.setattr(transfer, "PAGE_EVENTS", 2)
    monkeypatch.setattr(transfer, "BATCH_RECORDS", 2)
    other = start_server()
    command = ["import", "--from", filled.url, "--to", other.url]
    assert main(command) == 0
    assert capsys.readouterr().out == "catalogue: 2 created\nevents: 3 stored\n"
    assert _items(other) == _items(filled)
    vectors = [server.client.get("/user/ada/embedding").json()["embedding"] for server in (other, filled)]
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-6)
    assert _log(other) == EVENTS
    assert main(command) == 0
    assert capsys.readouterr().out == "catalogue: 2 unchanged\nevents: 3 duplicate\n"


def _items(server: Server) -> list[dict]:
    listed = server.client.get("/content").json()["items"]
    return [{name: value for name, value in item.items() if not name.endswith("_at")} for item in listed]


def test_what_is_rejected_is_reported_and_the_rest_is_stored(
    filled: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [EVENTS[0] | {"event_id": "good"}, EVENTS[0] | {"event_id": "bad", "type": "stare"}]
    assert main(["import", "--to", filled.url, "--events", _write(tmp_path / "events", events)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "events: 1 rejected, 1 stored\n"
    assert printed.err.startswith("  rejected bad: ")
    filled.client.delete("/interactions/good")


def test_what_cannot_be_done_is_one_line(filled: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken"
    broken.write_text('{"id": "a"}\n[1]\n')
    for arguments, status, says in (
        ([], 2, "say what"),
        (["--to", "ftp://x", "--from", filled.url], 1, "is not an address"),
        (["--to", "http://127.0.0.1:1", "--from", filled.url], 1, "no answer from http://127.0.0.1:1"),
        (["--to", filled.url, "--catalogue", str(tmp_path / "none")], 1, "No such file"),
        (["--to", filled.url, "--catalogue", str(broken)], 1, "broken, line 2 is not a JSON object"),
        (["--to", f"{filled.url}/else", "--from", filled.url], 1, "answered 404"),
        (["--to", "http://127.0.0.1:port", "--from", filled.url], 1, "is not an address"),
    ):
        assert main(["import", *arguments]) == status
        error = capsys.readouterr().err
        assert says in error
        assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "café"}'.encode("latin-1"),
        '{"id": "a"}'.encode("utf-16"),
        gzip.compress(b'{"id": "a"}'),
        b"id,text",
        b'[{"id": "a"}]',
        b'{"a":' * 10_000,
    ],
    ids=["latin-1", "utf-16", "compressed", "csv", "array", "nested"],
)
def test_files_of_other_kinds_are_refused_in_one_line(filled, tmp_path, capsys, line) -> None:
    file = tmp_path / "file"
    file.write_bytes(line + b"\n")
    for option in ("--catalogue", "--events", "--preferences"):
        assert main(["import", "--to", filled.url, option, str(file)]) == 1
        error = capsys.readouterr().err
        assert f"{file}, line 1 is not a JSON object" in error
        assert "one object a line, in UTF-8 and not compressed" in error
        assert len(error.splitlines()) == 1


def test_another_kind_of_server_is_said_to_be_one(tmp_path: Path, monkeypatch, filled: Server, capsys) -> None:
    """One that answers everything with a page, as many do."""
    for status in (200, 404):
        monkeypatch.setattr(_Pages, "status", status)
        with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as pages:
            threading.Thread(target=pages.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{pages.server_port}"
            file = _write(tmp_path / "items", ITEMS[:1])
            for arguments in (["--from", url, "--to", filled.url], ["--to", url, "--catalogue", file]):
                assert main(["import", *arguments]) == 1
                error = capsys.readouterr().err
                assert ("as vows-edge does" if status == 200 else "answered 404: <html>") in error
                assert len(error.splitlines()) == 1
            pages.shutdown()


class _Pages(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.status)
        self.send_header("content-length", "13")
        self.end_headers()
        self.wfile.write(b"<html></html>")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def test_a_mark_at_the_start_and_blank_lines_are_no_records(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'\xef\xbb\xbf{"id": "a"}\r\n\r\n\n{"id": "b"}')
    assert [record["id"] for record in records_of(tmp_path / "file")] == ["a", "b"]


def test_a_log_in_a_pipe_is_refused_as_it_is_read_several_times(filled, tmp_path, capsys) -> None:
    """It was read once, and what came after was taken for an empty log."""
    os.mkfifo(tmp_path / "pipe")
    assert main(["import", "--to", filled.url, "--events", str(tmp_path / "pipe")]) == 1
    assert "write it to one first" in capsys.readouterr().err


def test_preferences_that_are_refused_do_not_keep_others_out(filled, tmp_path, capsys) -> None:
    users = [{"user_id": "eve", "preferences": [" "]}, {"user_id": "fay", "preferences": ["classic"]}]
    assert main(["import", "--to", filled.url, "--preferences", _write(tmp_path / "users", users)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "preferences: 1 rejected, 1 stored\n"
    assert printed.err.startswith("  rejected eve: ")
    filled.client.delete("/user/fay")


def test_a_server_that_closed_an_idle_connection_is_called_again(start_server: Callable[..., Server]) -> None:
    """As the one that is copied from does while the other one embeds."""
    remote = Remote(start_server(keep_alive_s=1).url)
    remote.call("GET", "/content")
    connection = remote._connection.sock
    connection.settimeout(WAIT_S)
    connection.recv(1, socket.MSG_PEEK)  # returns as it is closed
    remote.call("GET", "/content")


def _unread(pipe: int) -> int:
    """Bytes that were written and not read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


# What is started in the background of a shell ignores interrupts, as these tests may be.
INTERRUPTIBLE = """import signal, sys
from runtime.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))"""


def test_an_interrupted_command_ends_in_one_line(filled: Server, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "catalogue")
    pipe = os.open(tmp_path / "catalogue", os.O_RDWR)  # held open, so that the command waits for the rest of the line
    os.write(pipe, b"{")
    command = [sys.executable, "-c", INTERRUPTIBLE, "import", "--to", filled.url, "--catalogue", tmp_path / "catalogue"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as importing:
        try:
            until(lambda: importing.poll() is not None or not _unread(pipe))
            importing.send_signal(signal.SIGINT)
            _, said = importing.communicate(timeout=WAIT_S)
        finally:
            importing.kill()
            os.close(pipe)
    assert (importing.returncode, said) == (130, "vows-edge: interrupted\n")


def test_a_date_says_nothing_of_how_long_to_wait() -> None:
    given = (None, "7", "86400", "Wed, 21 Oct 2026 07:28:00 GMT", "nan", "-1", "")
    assert [transfer.waiting_s(one) for one in given] == [1, 7, transfer.MAX_WAIT_S, 1, 1, 1, 1]


def test_a_line_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b'{"id": "' + b"x" * (1 << 20) + b'"}\n')
    with pytest.raises(TransferError, match="line 1 has more than"):
        list(records_of(tmp_path / "long"))


def test_requests_to_a_busy_server_are_repeated_for_a_bounded_time(start_server: Callable[..., Server]) -> None:
    """A rate of one request in a thousand seconds: the second is refused each time."""
    waited: list[float] = []
    server = start_server(rate_per_s=0.001, rate_burst=1)
    remote = Remote(server.url, sleep=waited.append)
    remote.call("GET", "/content")
    with pytest.raises(TransferError, match="answered 429"):
        remote.call("GET", "/content")
    assert len(waited) == transfer.MAX_TRIES - 1
    assert all(0 < seconds <= transfer.MAX_WAIT_S for seconds in waited)


ARMS = [{"name": "control", "model": "simple"}, {"name": "treatment", "model": "hybrid"}]
QUIET = {"p95_ms": None, "error_rate": None, "cold_start_ratio": None}


def with_an_experiment(server: Server, users: int = 40) -> None:
    """Rank for users; every other one saves what comes first."""
    client = server.client
    client.post("/content/batch", json=[{"id": f"item-{n}", "text": f"a venue with {n} rooms"} for n in range(6)])
    body = {"arms": ARMS, "window_s": 5, "guardrails": QUIET, "promote": "manual"}
    assert client.put("/experiments/feed", json=body | {"alpha": 0.1}).status_code == 200
    assert client.put("/experiments/feed", json=body).json()["period"] == 2
    for n in range(users):
        shown = client.post("/rank", json={"user_id": f"u-{n}", "candidates": [f"item-{n}" for n in range(6)]}).json()
        if n % 2:
            event = {"user_id": f"u-{n}", "content_id": shown["ranked"][0]["id"], "type": "save"}
            client.post("/interactions", json=event | {"ranking_id": shown["ranking_id"]})


def found(server: Server) -> dict:
    """Of the experiment: its period, state and arms, without latencies, which are not moved."""
    report = server.client.get("/experiments/feed").json()
    counted = ("name", "users", "closed", "engaged", "mean", "rankings", "cold_closed", "cold_engaged")
    arms = [{name: arm[name] for name in counted} for arm in report["arms"]]
    return {"period": report["period"], "state": report["state"], "definition": report["definition"], "arms": arms}


def shown_and_answered(server: Server) -> list[dict]:
    """The log without numbers that are each server's own."""
    lines = server.client.get("/events/export?exposures_after=0&changes_after=0").text.splitlines()
    own = ("sequence", "received_at")
    return sorted(
        ({name: value for name, value in json.loads(line).items() if name not in own} for line in lines), key=str
    )


def move_and_compare(alone: Server, shared: Server, back: Server) -> None:
    """An experiment goes to another server, from there to a third, and to where it came from."""
    with_an_experiment(alone)
    until(lambda: sum(arm["closed"] for arm in found(alone)["arms"]) == 40)
    assert sum(arm["engaged"] for arm in found(alone)["arms"]) == 20
    for source, target in ((alone, shared), (shared, back), (shared, alone), (alone, shared)):
        assert main(["import", "--from", source.url, "--to", target.url]) == 0
        until(lambda target=target: sum(arm["closed"] for arm in found(target)["arms"]) == 40)
        assert found(target) == found(alone)
        assert shown_and_answered(target) == shown_and_answered(alone)
    assert shared.client.post("/experiments/feed/promote").status_code == 200
    assert main(["import", "--from", shared.url, "--to", back.url]) == 0
    assert back.client.get("/experiments").json()["model"] == "hybrid"


def test_experiments_move_with_what_they_showed_and_count_once(
    start_server: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    servers = [start_server() for _ in range(3)]
    move_and_compare(*servers)
    printed = capsys.readouterr().out
    assert "experiments: 2 stored\nexposures: 40 stored\n" in printed
    assert "experiments: 2 duplicate\nexposures: 40 duplicate\n" in printed
    export = tmp_path / "export.ndjson"
    export.write_text(servers[0].client.get("/events/export?exposures_after=0&changes_after=0").text)
    _write(tmp_path / "items", servers[0].client.get("/content").json()["items"])
    other = start_server()
    command = ["import", "--to", other.url, "--catalogue", str(tmp_path / "items"), "--events", str(export)]
    assert main(command) == 0
    until(lambda: sum(arm["closed"] for arm in found(other)["arms"]) == 40)
    assert found(other) == found(servers[0])


def test_experiments_are_not_mixed_with_others(
    start_server: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = start_server(), start_server()
    with_an_experiment(source, users=2)
    body = {"arms": ARMS, "guardrails": QUIET}
    assert target.client.put("/experiments/own", json=body).status_code == 200
    assert main(["import", "--from", source.url, "--to", target.url]) == 1
    assert "'own' was defined here after that" in capsys.readouterr().err
    line = {"kind": "exposure", "ranking_id": "r", "user_id": "u", "experiment": "none", "period": 1, "arm": "a",
            "model_version": "m", "timestamp": "2026-01-01T00:00:00Z", "items": []}  # fmt: skip
    change = {"kind": "change", "experiment": "x", "change": "defined", "period": 1, "details": {"arms": []},
              "timestamp": "2026-01-01T00:00:00Z"}  # fmt: skip
    results = target.client.post("/events/import", json=[line, change]).json()["results"]
    assert [(one["status"], one["error"]["code"]) for one in results] == [
        ("rejected", "unknown_experiment"), ("rejected", "invalid_request"),
    ]  # fmt: skip
    exported = source.client.get(f"/events/export?after={2**63 - 1}&exposures_after=0").text
    shown = json.loads(exported.splitlines()[0]) | {"timestamp": "2020-01-01T00:00:00Z"}
    (result,) = source.client.post("/events/import", json=[shown | {"ranking_id": "of-long-ago"}]).json()["results"]
    assert result["status"] == "too_old"
    shown = json.loads(exported.splitlines()[0]) | {"ranking_id": "of-another-batch", "batch": 3}
    (result,) = source.client.post("/events/import", json=[shown]).json()["results"]
    assert result["error"]["code"] == "unknown_experiment"
    assert "batch 3: send its changes first" in result["error"]["message"]
