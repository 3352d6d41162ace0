"""Fixtures of all tests: real servers with the real model, on free ports, with a database of their own."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import hypothesis
import pytest

from bench.faults.shim import build
from bench.postgres import PostgresServer
from bench.suite import NotMeasured
from runtime.models.bundle import Bundle
from runtime.models.installed import BUNDLES, PACKAGED, SEQUENCE, TEXT_ENCODER, install
from runtime.models.text_encoder import TextEncoder, load_encoder
from tests.waiting import WAIT_S, until

# A slow machine is no failure of a property.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
BUNDLE = Path(os.environ.get("VOWS_MODELS_DIR", PACKAGED)) / TEXT_ENCODER

# What a machine that only serves leaves out, with the reason in the report's first lines.
NEED_TORCH = ["export", "training", "runtime/serving/test_sequence.py"]
WITHOUT_TORCH = importlib.util.find_spec("torch") is None
collect_ignore = NEED_TORCH if WITHOUT_TORCH else []


def pytest_report_header() -> list[str]:
    left_out = ", ".join(f"tests/{path}" for path in NEED_TORCH)
    return [f"PyTorch is not installed (`make install` brings it): left out {left_out}"] if WITHOUT_TORCH else []


@dataclass
class Server:
    """A running server: `url`, its process, data folder and log, and a client that stays connected."""

    url: str
    process: subprocess.Popen[bytes]
    data_dir: Path
    log: Path
    client: httpx.Client

    def stop(self) -> int:
        self.client.close()
        self.process.terminate()
        return self.process.wait(timeout=WAIT_S)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """What async tests run on."""
    return "asyncio"


@pytest.fixture(scope="session")
def bundle_path() -> Path:
    if not (BUNDLE / "manifest.json").exists():
        pytest.exit(f"no model bundle at {BUNDLE}: `git checkout` or `make export` brings it back", returncode=3)
    return BUNDLE


@pytest.fixture
def models_with_two_sequences(bundle_path: Path, tmp_path: Path) -> Path:
    """A folder of models of which the sequence bundle "second" is served and "first" was before."""
    models = tmp_path / "models"
    models.mkdir()
    (models / TEXT_ENCODER).symlink_to(bundle_path)
    for name in ("first", "second"):
        copy = models / BUNDLES / name
        shutil.copytree((bundle_path.parent / SEQUENCE).resolve(), copy)
        manifest = json.loads((copy / "manifest.json").read_bytes())
        (copy / "manifest.json").write_text(json.dumps(manifest | {"model_version": name}))
        install(models, copy)
    return models


@pytest.fixture(scope="session")
def encoder(bundle_path: Path) -> TextEncoder:
    """The real model, in the encoding of this CPU."""
    return load_encoder(Bundle.load(bundle_path, kind="text-encoder"))[0]


@pytest.fixture(scope="session")
def shared_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint: a sequence model of four narrow layers, trained for two epochs on a small world."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: make install")

    from tests.small_world import small_world, split
    from training.recipes import tiny
    from training.train import train

    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run")
    train(*split(small_world()), tiny(), out, progress=False)
    return out / "best"


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library to preload: see bench/faults/shim.c."""
    try:
        return build(tmp_path_factory.mktemp("faults"))
    except NotMeasured as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real Postgres for the session: make a database of your own, and stop or start a server of your own."""
    try:
        server = PostgresServer(durable=False)
    except NotMeasured as reason:
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.fixture(scope="module")
def start_server(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start a server with `VOWS_*` settings given in lower case; those still running after the module are stopped.

    `environment` goes to its process as it is."""
    yield from _starter(bundle_path, tmp_path_factory)


@pytest.fixture(scope="session")
def start_lasting_server(
    bundle_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """The same for the few servers that tests of several modules share: each takes memory until the session ends."""
    yield from _starter(bundle_path, tmp_path_factory)


def _starter(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(
        data_dir: Path | None = None, environment: Mapping[str, str] = MappingProxyType({}), **settings: object
    ) -> Server:
        data_dir = data_dir or tmp_path_factory.mktemp("data")
        environ = {name: value for name, value in os.environ.items() if not name.startswith("VOWS_")}
        settings = {"port": 0, "models_dir": bundle_path.parent, "data_dir": data_dir, **settings}
        environ |= {f"VOWS_{name.upper()}": str(value) for name, value in settings.items()}
        environ |= environment
        log = tmp_path_factory.mktemp("log") / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "runtime"], cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            url = _announced(process, log)
        except AssertionError:
            process.kill()
            process.wait()
            raise
        server = Server(url, process, data_dir, log, httpx.Client(base_url=url, timeout=WAIT_S))
        started.append(server)
        _until_ready(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def shared_server(start_lasting_server: Callable[..., Server]) -> Server:
    """A server that many tests share: use ids of your own, and let content that others stored be there."""
    return start_lasting_server()


@pytest.fixture(scope="module")
def shared_server_url(start_server: Callable[..., Server]) -> str:
    """The address of a server with an empty database, for the examples."""
    return start_server().url


def _announced(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address the server prints, once it is bound."""

    def announced() -> re.Match[str] | None:
        return re.search(r'vows-edge on (http://[^\s"]+)', log.read_text())

    until(lambda: announced() or process.poll() is not None, log.read_text, every_s=0.02)
    found = announced()
    if found is None:
        raise AssertionError(f"the server did not start ({process.poll()}): {log.read_text()}")
    return found.group(1)


def _until_ready(server: Server) -> None:
    def ready() -> bool:
        try:
            return server.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    until(ready, server.log.read_text, every_s=0.02)
