"""The doctor says what it found, and its exit status whether the server should run here."""

import os
import re
import subprocess
import sys

import pytest


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
    assert found["variant"].startswith(encoder.encoding)
    assert encoder.bundle.digest[:12] in found["model"]
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
