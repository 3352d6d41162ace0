"""An engine as a running server: started on one core, called over HTTP, stopped while others are measured."""

import importlib
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.cgroup import MemoryGroup
from bench.http_client import build_request
from bench.peers.engines import Engine, Places
from bench.peers.install import quiet_environment
from bench.server import Server, free_port, started

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


def dialect_of(engine: Engine) -> Dialect:
    """What its folder says, or the common front's."""
    if engine.own_server:
        module = importlib.import_module(f"bench.peers.{engine.name}.server")
        return Dialect(module.command, module.environment, module.request, module.vectors)
    front = ["-m", "bench.peers.front", engine.name]
    return Dialect(
        command=lambda python, model, port: [str(python), *front, str(model), str(port)],
        environment=lambda model, port, folder: {},
        request=lambda texts: build_request("POST", "/embed", {"texts": texts}),
        vectors=lambda body: np.frombuffer(body, np.float32).reshape(-1, engine.dimensions),
    )


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
def started_engine(
    engine: Engine, places: Places, bundle: Path, core: int, group: MemoryGroup | None = None
) -> Iterator[Peer]:
    """Start an engine's server on `core` without waiting for it; end it by its id afterwards.

    Raises NotMeasured when the engine is not set up, and RuntimeError with the reason when its set-up failed.
    """
    places.require(engine)
    dialect, model, port = dialect_of(engine), places.model(engine, bundle), free_port()
    with tempfile.TemporaryDirectory(prefix="vows-peer-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        command = dialect.command(places.python(engine), model, port)
        environment = quiet_environment(places) | ONE_THREAD | dialect.environment(model, port, folder)
        with started(command, environment, port, folder / "log", core, group=group) as server:
            yield Peer(engine.name, server, dialect)


def folder_mib(path: Path) -> float:
    """What the files under a folder take, in MiB; links are not followed."""
    files = (file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(file.stat().st_size for file in files) / (1 << 20)


def install_mib(engine: Engine, places: Places, bundle: Path) -> float:
    """Its packages and its model, without the Python they run on."""
    model = 0.0 if engine.model == "package" else folder_mib(places.model(engine, bundle))
    requirements = engine.requirements
    return model + (0.0 if requirements is None else folder_mib(places.environment(requirements) / "lib"))
