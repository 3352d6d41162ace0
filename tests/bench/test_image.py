"""The image and its deployment agree with the server's own settings."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from bench.server import IMAGE_ENVIRONMENT
from runtime.environment import read_settings
from runtime.settings import Settings
from runtime.sizing import MAX_REQUESTS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FLY = tomllib.loads((ROOT / "fly.toml").read_text())
FINAL_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]


def image_environment():
    block = re.search(r"^ENV ((?:.*\\\n)*.*)$", FINAL_STAGE, re.MULTILINE).group(1)
    return dict(part.split("=", 1) for part in block.replace("\\\n", " ").split())


def test_the_bench_runs_the_server_in_the_image_s_environment():
    environment = image_environment()
    assert {name: environment[name] for name in IMAGE_ENVIRONMENT} == IMAGE_ENVIRONMENT


def test_the_image_s_settings_are_settings():
    own = {name: value for name, value in image_environment().items() if name.startswith("VOWS_")}
    settings = read_settings(own)
    assert settings.host == "0.0.0.0"
    assert str(settings.data_dir) == FLY["mounts"][0]["destination"] == "/data"
    assert f"EXPOSE {settings.port}\n" in FINAL_STAGE
    assert settings.port == FLY["http_service"]["internal_port"]


def test_the_server_stops_before_it_is_killed():
    assert FLY["kill_signal"] == "SIGTERM"
    assert Settings().shutdown_s < int(FLY["kill_timeout"].removesuffix("s"))


def test_the_proxy_s_hard_limit_is_the_server_s():
    concurrency = FLY["http_service"]["concurrency"]
    assert concurrency["type"] == "requests"
    assert concurrency["soft_limit"] < concurrency["hard_limit"] == MAX_REQUESTS


def test_the_machine_is_the_smallest():
    assert FLY["vm"] == [{"size": "shared-cpu-1x", "memory": "256mb"}]


def test_the_last_stage_installs_nothing_and_runs_unprivileged():
    assert "pip" not in FINAL_STAGE
    assert "apt-get" not in FINAL_STAGE
    assert re.search(r"^USER vows$", FINAL_STAGE, re.MULTILINE)
    assert re.search(r'^CMD \["python", "-m", "runtime"\]$', FINAL_STAGE, re.MULTILINE)


@pytest.mark.parametrize(
    "file", ["Dockerfile", "fly.toml", "requirements.lock", "requirements-postgres.lock", "requirements-dev.lock"]
)
def test_no_package_host_is_named(file):
    assert not re.search(r"https?://(?!127\.0\.0\.1)", (ROOT / file).read_text())


def test_the_bundles_are_those_of_the_repository_unless_the_build_says_otherwise():
    assert re.search(r"^ARG BUNDLES=committed$", DOCKERFILE, re.MULTILINE)
    assert FLY["build"]["args"]["BUNDLES"] == "committed"
    for run in re.findall(r"^RUN (?:.*\\\n)*.*$", DOCKERFILE, re.MULTILINE):
        if "[export]" in run or "-m export" in run:
            assert "exported)" in run or '"${BUNDLES}" = exported' in run


def test_the_server_uses_nothing_that_the_image_removes():
    """Also where it is used late, which no import shows."""
    removed = set(re.findall(r"\bnumpy/(\w+)(?=\s)", DOCKERFILE))
    assert {"random", "fft"} <= removed
    used = {
        (str(file.relative_to(ROOT)), node.attr)
        for file in sorted((ROOT / "runtime").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy")
    }
    assert len(used) > 100
    assert not [one for one in used if one[1] in removed]
