"""The doctor says what it found, and its exit status whether the server should run here."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from bench.blocking_store import BlockingStore
from runtime.cli.main import main
from runtime.store import Preferences
from runtime.store.sqlite.store import SqliteStore
from runtime.store.sqlite.version import bugs_of


@pytest.fixture(scope="module")
def doctor(bundle_path, tmp_path_factory):
    def run(**settings):
        given = {"models_dir": bundle_path.parent, "data_dir": tmp_path_factory.mktemp("data"), **settings}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VOWS_")}
        environment |= {f"VOWS_{name.upper()}": str(value) for name, value in given.items()}
        command = [sys.executable, "-m", "runtime", "doctor"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        found = dict(re.findall(r"^.{8}(\w[\w ]{16,17})  (.*)$", result.stdout, re.MULTILINE))
        return result, {name.strip(): what for name, what in found.items()}

    return run


@pytest.fixture(scope="module")
def healthy(doctor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("volume") / "not" / "made" / "yet"
    result, found = doctor(data_dir=folder)
    assert not folder.exists()  # it looks and leaves
    return result, found


def test_a_safe_machine(healthy, encoder):
    result, found = healthy
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("This machine is safe.\n")
    assert "unsafe" not in result.stdout
    assert found["encoding"].startswith(encoder.encoding)
    assert encoder.bundle.digest[:12] in found["model"]
    assert found["ranker"] == "hybrid-prior-1: no trained one is installed"
    assert {"processor", "features", "memory limit", "predicted peak", "worker threads", "open files"} <= found.keys()


def test_sizes_that_are_open_are_chosen_and_explained(healthy, doctor):
    _, found = healthy
    assert re.match(
        r"chosen for the memory found: VOWS_CATALOG_BYTES=\d+, .*; what may still be taken:", found["sizes"]
    )
    result, found = doctor(catalog_bytes=2 << 20)
    assert "VOWS_CATALOG_BYTES=" not in found["sizes"]
    assert re.search(r"^ +2\.\d MiB  catalogue", result.stdout, re.MULTILINE)


def test_the_prediction_holds_for_a_server_that_has_worked(healthy, shared_server):
    """The server that other tests share, whatever they did to it; and it is a prediction, not the machine's memory."""
    predicted = float(re.match(r"([\d.]+) MiB of", healthy[1]["predicted peak"])[1])
    for words in (10, 300):
        shared_server.client.post("/embed/batch", json={"items": [{"text": f"{n} word " * words} for n in range(64)]})
    peak = shared_server.client.get("/info").json()["memory"]["peak_rss_bytes"] / (1 << 20)
    assert peak <= predicted <= 3 * peak


@pytest.mark.parametrize(
    ("settings", "finding", "says"),
    [
        ({"catalog_bytes": 1 << 45}, "predicted peak", "Lower VOWS_CATALOG_BYTES"),
        ({"models_dir": "/nothing"}, "model", "vows-edge export minilm"),
        ({"data_dir": "/proc/data"}, "data", "/proc"),
        ({"host": "0.0.0.0"}, "reach", "without API keys"),
        ({"port": "many"}, "settings", "VOWS_PORT='many'"),
    ],
)
def test_what_is_not_safe_is_named_and_fails(doctor, settings, finding, says):
    result, _ = doctor(**settings)
    assert result.returncode == 1
    assert re.search(rf"^unsafe  {finding} .*{re.escape(says)}", result.stdout, re.MULTILINE)
    assert f"This machine is not safe: {finding}" in result.stdout


def test_known_bugs_of_sqlite_by_version():
    names = {version: [bug.name for bug in bugs_of(version)] for version in (
        (3, 6, 23), (3, 7, 0), (3, 40, 1), (3, 44, 5), (3, 44, 6), (3, 45, 0), (3, 50, 6), (3, 50, 7), (3, 51, 2),
        (3, 51, 3), (3, 53, 0),
    )}  # fmt: skip
    assert [version for version, bugs in names.items() if bugs == ["WAL-reset"]] == [
        (3, 7, 0), (3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 2),
    ]  # fmt: skip


def test_check_database_lists_what_is_damaged(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VOWS_DATA_DIR", str(tmp_path))
    assert main(["doctor", "--check-database"]) == 1
    assert "there is none at" in capsys.readouterr().out
    store = BlockingStore(SqliteStore(tmp_path))
    store.put_preferences(
        "ann", Preferences(preferences=["x"], embedding=np.ones(384, np.float32), model_version="v", bundle_digest="d")
    )
    assert main(["doctor", "--check-database"]) == 0  # also while it is used
    assert "whole" in capsys.readouterr().out
    statement = "UPDATE preferences SET preferences = '[\"y\"]'"
    store.writer.submit(lambda connection: connection.execute(statement), bytes=1).result()
    store.close()
    assert main(["doctor", "--check-database"]) == 1
    out = capsys.readouterr().out
    assert "preferences of 'ann'" in out
    assert "vows-edge restore FILE --replace" in out
