"""Requests that nobody wrote: a short run of each kind, and servers that deserve to be complained about."""

import importlib.util
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings

from bench.faults.ledger import Ledger, compare
from bench.fuzz.bombardment import Bombardment, Wrong, bombard, prepare
from bench.fuzz.coverage import Findings
from bench.fuzz.document import check_document
from bench.fuzz.mutations import WORKING, Request, requests
from runtime.api.endpoints import ENDPOINTS


def port_of(server):
    return int(server.url.rpartition(":")[2])


def test_the_server_behaves_as_its_openapi_document_says(start_server):
    outcome = check_document(port_of(start_server()), examples=3, seed=1)
    assert outcome.failures == 0, outcome.report
    assert outcome.requests > 200


def test_every_endpoint_has_a_request_that_is_mutated():
    patterns = {
        f"{one.method} {one.path}": re.compile(re.sub(r"{[^}]*}", "[^/?]+", one.path) + r"(\?.*)?") for one in ENDPOINTS
    }
    missing = [
        name
        for name, pattern in patterns.items()
        if not any(method == name.split()[0] and pattern.fullmatch(path) for method, path, _ in WORKING)
    ]
    assert missing == []


def test_mutated_requests_bring_no_500_and_lose_nothing(start_server):
    server, ledger = start_server(), Ledger()
    prepare(port_of(server))
    statuses = bombard(port_of(server), ledger, count=400, first_seed=1, progress=lambda sent: None)
    assert statuses.total() >= 400
    assert {200, 400, 404, 405, 422} <= set(statuses)
    assert server.stop() == 0
    found = compare(server.data_dir / "vows.db", ledger, thorough=True)
    assert (found.lost, found.duplicated, found.problems) == (0, 0, ())
    assert found.stored >= len(ledger.acknowledged) > 0


@settings(max_examples=100)
@given(requests())
def test_every_mutated_request_is_one_request(request):
    head, _, body = request.to_bytes().partition(b"\r\n\r\n")
    assert body == (request.body or b"")
    assert len(head.split(b"\r\n")[0].split(b" ")) == 3


class Bad(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/gone":
            self.close_connection = True
            return
        error = {"/internal": (500, {"error": {"code": "internal"}}), "/busy": (503, {"error": {"code": "overloaded"}})}
        status, content = error.get(self.path, (404, {"detail": "Not Found"}))
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def bombardment():
    with ThreadingHTTPServer(("127.0.0.1", 0), Bad) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bombardment = Bombardment(server.server_address[1], Ledger())
        yield bombardment
        bombardment.close()
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("/internal", "500 {'code': 'internal'}"), ("/other", "404 without an error's code"), ("/gone", "no answer")],
)
def test_an_unexpected_status_is_a_finding(bombardment, path, complaint):
    bombardment.send(Request("GET", "/busy"))
    with pytest.raises(Wrong, match=complaint):
        bombardment.send(Request("GET", path))
    assert bombardment.statuses[503] == 1


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: .[fuzz]")
@pytest.mark.parametrize("target", ["parsers", "http"])
def test_inputs_guided_by_coverage_find_nothing(target, tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "bench.fuzz.coverage", target, str(report), "--runs", "1500", "--seconds", "120"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert json.loads(report.read_text()) == {"inputs": 1500, "found": {}}, done.stderr[-500:]


def test_a_finding_is_kept_once_a_place_with_its_input(tmp_path):
    findings = Findings(tmp_path / "report.json")
    for data in (b"first", b"second"):
        try:
            raise ValueError(f"about {data!r}")
        except ValueError as error:
            findings.note(error, data)
    ((place, what),) = json.loads((tmp_path / "report.json").read_text())["found"].items()
    assert place.endswith("ValueError")
    assert "first" in what
