"""PyTorch's CPU index is chosen where it answers, and costs an install nothing where it does not."""

import http.server
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from export.torch_index import INDEX, TIMEOUT_S, reachable
from tests.conftest import ROOT
from tests.waiting import WAIT_S


@pytest.fixture
def answering() -> Iterator[str]:
    """An index that answers."""

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/cpu/torch/" else 404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_index_that_answers_is_chosen_and_one_without_torch_is_not(answering: str) -> None:
    assert reachable(f"{answering}/cpu")
    assert not reachable(f"{answering}/other")


def test_one_that_is_not_there_or_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert not reachable(address, timeout_s=0.2)
    assert not reachable(address)
    assert not reachable("not an address")


def test_it_runs_before_anything_is_installed() -> None:
    command = [sys.executable, "-I", "-S", "export/torch_index.py"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S)
    assert result.returncode == 0
    assert result.stdout in ("", f"--extra-index-url {INDEX}\n")
    assert TIMEOUT_S <= 5


def test_installs_with_torch_ask_for_it_and_no_other_does() -> None:
    rules = re.findall(r"^(\.venv/\S.*):.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asking = " ".join(targets for targets, recipe in rules if "$(TORCH_INDEX)" in recipe)
    assert re.findall(r"\.venv/\.([a-z]+)", asking) == ["export", "train", "test"]
    steps = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    for step in steps:
        if step.startswith("RUN") and "install" in step:
            assert ("torch_index.py" in step) == ("[export]" in step), step
