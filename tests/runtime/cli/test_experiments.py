"""`vows-edge experiments` against a real server."""

import json
import subprocess
import sys

import pytest

from runtime.http.api_keys import entry, make_key
from tests.waiting import WAIT_S

ADMIN, WRITER = make_key(), make_key()
ARMS = [{"name": "control", "model": "simple"}, {"name": "treatment", "model": "hybrid"}]


@pytest.fixture(scope="module")
def server(start_server):
    return start_server(api_keys=f"{entry('ops', 'admin', ADMIN)},{entry('feed', 'read+write', WRITER)}")


def run(server, *arguments, key=ADMIN):
    command = [sys.executable, "-m", "runtime", "experiments", "--to", server.url, "--key", key, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)


def test_an_experiment_from_its_definition_to_its_rollback(server, tmp_path):
    file = tmp_path / "feed.json"
    file.write_text(json.dumps({"arms": ARMS}))
    defined = run(server, "define", "feed", file)
    assert defined.returncode == 0, defined.stderr
    assert "feed, period 1: running" in defined.stdout
    assert "treatment (hybrid): 0 users" in defined.stdout
    assert run(server, "promote", "feed").stdout == "feed: promoted (treatment), by request\n"
    assert run(server, "list").stdout.splitlines()[0] == "users in no experiment get hybrid"
    assert "promoted (treatment)" in run(server, "show", "feed").stdout
    assert run(server, "rollback", "feed").stdout == "feed: rolled back (treatment), by request\n"
    refused = run(server, "stop", "feed")
    assert refused.returncode == 1
    assert "rolled_back" in refused.stderr


def test_changes_need_the_scope_admin(server):
    refused = run(server, "stop", "feed", key=WRITER)
    assert refused.returncode == 1
    assert "admin" in refused.stderr
    assert run(server, "list", key=WRITER).returncode == 0


def test_a_definition_that_is_wrong_or_not_there_is_one_line(server, tmp_path):
    for content in (None, "{", '{"arms": []}'):
        file = tmp_path / "wrong.json"
        if content is not None:
            file.write_text(content)
        refused = run(server, "define", "wrong", file)
        assert refused.returncode == 1
        assert len(refused.stderr.splitlines()) == 1
