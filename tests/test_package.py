"""The package as `pip install .` lays it down: complete, and its one command serves from any folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from runtime import VERSION
from tests.conftest import ROOT
from tests.waiting import WAIT_S, until

METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what is tracked, so that nothing else gets in and nothing is written beside it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    (source / "runtime/bundles/minilm/model.u8.ort").write_bytes(b"made here on a first start")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out]
    subprocess.run([*command, source], check=True, capture_output=True, timeout=300)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a folder of its own; its dependencies are those of this environment."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return site


def _environment(site: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VOWS_")}
    return {**kept, "PYTHONPATH": str(site), **settings}


@contextmanager
def _serving(site: Path, folder: Path, **settings: str) -> Iterator[str]:
    """The address of `vows-edge serve`, run in `folder` with the log beside it."""
    log = folder / "server.log"
    with log.open("wb") as out:
        environment = _environment(site, VOWS_PORT="0", VOWS_LOG_FORMAT="json", **settings)
        process = subprocess.Popen(
            [site / "bin" / "vows-edge", "serve"], cwd=folder, env=environment, stdout=out, stderr=out
        )
    try:
        address = re.compile(r"vows-edge on (http://[^\s\"]+)")
        until(lambda: address.search(log.read_text()) or process.poll() is not None, log.read_text)
        found = address.search(log.read_text())
        assert found, log.read_text()
        yield found.group(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=WAIT_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_the_wheel_holds_what_is_needed_and_nothing_made_here(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", "runtime"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(tracked.stdout.split()) - names == set()
    assert {"export/texts/held_out.txt", "runtime/page/wedding-catalogue.json"} <= names
    assert "runtime/bundles/minilm/model.u8.ort" not in names
    assert not any(name.startswith(("bench/", "tests/")) for name in names)


@pytest.mark.slow
def test_the_command_serves_from_any_folder(installed: Path, tmp_path: Path) -> None:
    with _serving(installed, tmp_path) as url:
        answer = httpx.post(f"{url}/embed", json={"text": "a rustic barn"}, timeout=WAIT_S)
        assert answer.status_code == 200
        assert len(answer.json()["embedding"]) == 384
        info = httpx.get(f"{url}/info", timeout=WAIT_S).json()
        assert info["sequence"] is not None
        assert httpx.get(f"{url}/", timeout=WAIT_S).status_code == 200
        assert httpx.get(f"{url}/openapi.json", timeout=WAIT_S).status_code == 200
    assert (tmp_path / "data").is_dir()


@pytest.mark.slow
def test_the_other_encoding_is_made_at_the_first_start(installed: Path, tmp_path: Path) -> None:
    with _serving(installed, tmp_path, VOWS_ENCODING="u8") as url:
        assert httpx.post(f"{url}/embed", json={"text": "a rustic barn"}, timeout=WAIT_S).status_code == 200
    assert (installed / "runtime/bundles/minilm/model.u8.ort").exists()


@pytest.mark.slow
def test_without_a_bundle_the_message_says_where_it_looked(installed: Path, tmp_path: Path) -> None:
    site = Path(shutil.copytree(installed, tmp_path / "site", ignore=shutil.ignore_patterns("bundles")))
    result = subprocess.run(
        [site / "bin" / "vows-edge", "serve"], cwd=tmp_path, env=_environment(site, VOWS_PORT="0"),
        capture_output=True, text=True, timeout=WAIT_S,
    )  # fmt: skip
    assert result.returncode == 1
    assert f"{tmp_path}/models/minilm or {site}/runtime/bundles/minilm" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_the_demo_is_part_of_it(installed: Path, tmp_path: Path) -> None:
    with _serving(installed, tmp_path) as url:
        port = url.rpartition(":")[2]
        result = subprocess.run(
            [installed / "bin" / "vows-edge", "demo"], cwd=tmp_path, env=_environment(installed, VOWS_PORT=port),
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert url in result.stdout


def test_versions_are_ranges_in_the_metadata_and_exact_in_the_locks() -> None:
    project = METADATA["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *(name for extra in extras.values() for name in extra)]:
        assert "==" not in requirement, requirement
    assert project["scripts"] == {"vows-edge": "runtime.cli.main:main"}
    assert {"Typing :: Typed", "Operating System :: POSIX :: Linux"} <= set(project["classifiers"])
    server, everything = ((ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock"))
    pins = [re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", lock, re.MULTILINE) for lock in (server, everything)]
    assert set(pins[0]) <= set(pins[1])  # one version of a package, whatever is installed
    named = {re.split(r"[\[<>=!; ]", name, maxsplit=1)[0] for extra in extras.values() for name in extra}
    assert named - {"vows-edge"} <= {name for name, _ in pins[1]}
    exported = (ROOT / "requirements-export.lock").read_text()
    assert set(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", exported, re.MULTILINE)) <= set(pins[1])
    for requirement in re.findall(r"^[a-z0-9-]+==.*\n.*", exported, re.MULTILINE):
        assert "--hash=sha256:" in requirement
    for lock in (server, everything, exported):
        assert "http" not in re.sub(r"httpx?[a-z0-9-]*|httpcore2?|httptools", "", lock)


def test_the_version_has_one_source() -> None:
    assert METADATA["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "runtime.VERSION"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
