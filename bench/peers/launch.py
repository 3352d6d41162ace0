"""An engine as a running server: started on one core, called over HTTP, stopped while others are measured."""

import importlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.cgroup import MemoryGroup
from bench.http_client import build_request
from bench.machine import ROOT
from bench.peers.engines import Engine, Places
from bench.peers.install import quiet_environment
from bench.server import Server, end, free_port

READY_S = 300.0  # of those that load torch on a busy machine
# As ours sets for itself: one thread, and one malloc heap for all threads.
ONE_THREAD = {
    "MALLOC_ARENA_MAX": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Dialect:
    """How an engine's server is started and called."""

    command: Callable[[Path, Path, int], list[str]]  # interpreter, model folder, port
    environment: Callable[[Path, int, Path], dict[str, str]]  # model folder, port, a fresh folder
    request: Callable[[list[str]], bytes]
    vectors: Callable[[bytes], Vectors]


def behind_front(name: str, dimensions: int = 384) -> Dialect:
    """The dialect of the common front. `name`: an engine's folder, or a module with a `load`."""
    return Dialect(
        command=lambda python, model, port: [str(python), "-m", "bench.peers.front", name, str(model), str(port)],
        environment=lambda model, port, folder: {},
        request=lambda texts: build_request("POST", "/embed", {"texts": texts}),
        vectors=lambda body: np.frombuffer(body, np.float32).reshape(-1, dimensions),
    )


def dialect_of(engine: Engine) -> Dialect:
    """What its folder says, or the common front's."""
    if not engine.own_server:
        return behind_front(engine.name, engine.dimensions)
    module = importlib.import_module(f"bench.peers.{engine.name}.server")
    return Dialect(module.command, module.environment, module.request, module.vectors)


@dataclass(frozen=True)
class Peer:
    """A started engine."""

    name: str
    server: Server
    dialect: Dialect

    def embed(self, texts: list[str]) -> Vectors:
        """Vectors float32 [n, dimensions], over a connection of its own. Raises RuntimeError on any answer but that."""
        with self.server.connect() as connection:
            status, body = connection.send(self.dialect.request(texts))
        if status != 200:
            raise RuntimeError(f"answered {status}: {body[:200]!r}")
        vectors = self.dialect.vectors(body)
        if len(vectors) != len(texts):
            raise RuntimeError(f"answered {len(vectors)} vectors for {len(texts)} texts")
        return vectors

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Runs inside the block alone: outside of it the process is stopped and takes nothing from the others."""
        self.server.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.server.process.send_signal(signal.SIGSTOP)


@contextmanager
def started(
    name: str, dialect: Dialect, python: Path, model: Path, places: Places, core: int, group: MemoryGroup | None = None
) -> Iterator[Peer]:
    """Start a server on `core` without waiting for it; end it by its id afterwards."""

    def enter() -> None:
        os.sched_setaffinity(0, {core})
        if group is not None:
            group.join()

    folder = Path(tempfile.mkdtemp(prefix="vows-peer-"))
    port = free_port()
    environment = quiet_environment(places) | ONE_THREAD | dialect.environment(model, port, folder)
    try:
        with (folder / "log").open("wb") as out:
            begun = time.monotonic()
            process = subprocess.Popen(
                dialect.command(python, model, port),
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=enter,
            )
        try:
            yield Peer(name, Server(process, port, begun, folder / "log"), dialect)
        finally:
            process.send_signal(signal.SIGCONT)  # one that sleeps would not hear the next
            end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started_engine(
    engine: Engine, places: Places, bundle: Path, core: int, group: MemoryGroup | None = None
) -> Iterator[Peer]:
    """As `started`, for an engine that is set up.

    Raises NotMeasured when it is not, and RuntimeError with the reason when its set-up failed.
    """
    places.require(engine)
    python, model = places.python(engine), places.model(engine, bundle)
    with started(engine.name, dialect_of(engine), python, model, places, core, group) as peer:
        yield peer


def folder_mib(path: Path) -> float:
    """What the files under a folder take, in MiB; links are not followed."""
    files = (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(file.stat().st_size for file in files) / (1 << 20)


def install_mib(engine: Engine, places: Places, bundle: Path) -> float:
    """Its packages and its model, without the Python they run on."""
    model = 0.0 if engine.model == "package" else folder_mib(places.model(engine, bundle))
    requirements = engine.requirements
    return model + (0.0 if requirements is None else folder_mib(places.environment(requirements) / "lib"))
