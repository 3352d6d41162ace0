"""The commands of the README and of the API guide, pasted into a shell in the order in which they stand."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STATUS = "\n%{http_code}\n"  # what curl prints after the body


def commands(page: Path) -> list[str]:
    """The lines of the `sh` blocks that set the address, call the server, or write a file for the next call."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("url=", "curl ", "printf "))]


def run(page: Path, url: str, folder: Path) -> list[tuple[str, int, str]]:
    """Each curl command, the status of its response and the body. A new shell runs them all, as when pasted."""
    pasted = [re.sub(r"^url=\S+", f"url={url}", line) for line in commands(page)]
    called = [line for line in pasted if line.startswith("curl ")]
    quiet = [re.sub(r"^curl ", f"printf '\\\\036'; curl -sS -w '{STATUS}' ", line) for line in pasted]
    done = subprocess.run(["bash"], input="\n".join(quiet), cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    responses = [response.rstrip("\n").rpartition("\n") for response in done.stdout.split("\x1e")[1:]]
    assert len(responses) == len(called)
    return [(line, int(status), body) for line, (body, _, status) in zip(called, responses, strict=True)]


@pytest.fixture
def readme(start_server, tmp_path):
    server = start_server()
    yield run(ROOT / "README.md", server.url, tmp_path)
    server.stop()


def test_the_readme_gives_sensible_responses_in_the_order_of_its_five_commands(readme):
    assert [status for _, status, _ in readme] == [200] * 5
    embedded, stored, found, recorded, ranked = (json.loads(body) for _, _, body in readme)
    assert len(embedded["embedding"]) == 384
    assert (stored["stored"], stored["rejected"]) == (3, 0)
    assert [one["id"] for one in found["results"]] == ["ballroom"]
    assert recorded["stored"] == 1
    assert [one["id"] for one in ranked["ranked"]] == ["cabin", "ballroom"]


def test_every_command_of_the_api_guide_succeeds(start_server, tmp_path):
    server = start_server()
    responses = run(ROOT / "docs" / "api.md", server.url, tmp_path)
    assert len(responses) > 30
    without_bundle = json.loads(server.client.get("/info").text).get("sequence") is None
    for line, status, body in responses:
        if without_bundle and ("sequence" in line or "next-action" in line):
            assert status == 409, (line, body)
        else:
            assert 200 <= status < 300, (line, body)
    server.stop()


def test_a_command_that_fails_is_noticed(start_server, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\nurl=http://x\ncurl $url/content/nothing\ncurl $url/healthz\n```\n")
    server = start_server()
    assert [status for _, status, _ in run(page, server.url, tmp_path)] == [404, 200]
    server.stop()
