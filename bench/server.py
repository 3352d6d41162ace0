"""The server under test: a fresh process with a fresh data folder on a free port, pinned to one core."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cgroup import MemoryGroup
from bench.http_client import HOST, Connection, build_request
from bench.machine import ROOT
from bench.process_memory import ProcessMemory, read_process_memory
from bench.suite import Conditions

# What the image sets for its server, so that the same thing is measured.
IMAGE_ENVIRONMENT = {"PYTHONOPTIMIZE": "2", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
# Of the training log of the sequence bundle in the package, which ranks a catalogue that it knows an item of.
TRAINED_ITEM = {"id": "136/item-0", "text": "a barn"}
READY_S = 60.0
STOP_S = 10.0
_POLL_S = 0.002
_LOG_TAIL = 600


class ServerError(Exception):
    """The server did not start, or ended; the message ends with its last output."""


@dataclass(frozen=True)
class Server:
    """A running server. `started` is the monotonic time, in seconds, just before its process was made."""

    process: subprocess.Popen[bytes]
    port: int
    started: float
    log: Path

    def connect(self, timeout_s: float = 60.0, *, awake: bool = False) -> Connection:
        """A new keep-alive connection; `awake` as Connection has it."""
        return Connection(self.port, timeout_s, awake=awake)

    def memory(self) -> ProcessMemory:
        """Memory of its process now. Raises ServerError when it has ended."""
        try:
            return read_process_memory(self.process.pid)
        except OSError as error:
            raise ServerError(self.exit_report()) from error

    def cpu_ms(self) -> float:
        """Milliseconds that its threads have run so far: other work on the machine hardly changes what a request adds.

        Raises ServerError when it has ended.
        """
        try:
            tasks = list(Path(f"/proc/{self.process.pid}/task").iterdir())
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6
        except OSError as error:
            raise ServerError(self.exit_report()) from error

    def exit_report(self) -> str:
        """How it ended, with the end of its log."""
        code = self.process.poll()
        how = "still runs" if code is None else f"ended with {code if code >= 0 else signal.Signals(-code).name}"
        return f"the server {how}: {self.log.read_text(errors='replace')[-_LOG_TAIL:].strip()}"

    def first_answer(self, request: bytes, limit_s: float = READY_S) -> float:
        """Seconds from the start of the process to the first 200 for `request`, repeated every 2 ms until then.

        Raises ServerError when it ends or does not answer in time.
        """
        while time.monotonic() - self.started < limit_s:
            if self.process.poll() is not None:
                raise ServerError(self.exit_report())
            try:
                with self.connect() as connection:
                    status, _ = connection.send(request)
            except OSError:  # not listening yet
                time.sleep(_POLL_S)
                continue
            if status == 200:
                return time.monotonic() - self.started
            time.sleep(_POLL_S)
        raise ServerError(f"no answer within {limit_s:g} s; {self.exit_report()}")


def free_port() -> int:
    """A TCP port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def server_environment(models: Path, data: Path, port: int, settings: Mapping[str, str]) -> dict[str, str]:
    """This environment without the server's own variables, then the image's, then `settings`."""
    foreign = ("VOWS_", "MALLOC_", "PYTHON", "OPENBLAS_", "OMP_", "PORT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own = {"VOWS_HOST": HOST, "VOWS_PORT": str(port), "VOWS_DATA_DIR": str(data), "VOWS_MODELS_DIR": str(models)}
    return {**kept, **IMAGE_ENVIRONMENT, **own, **settings}


@contextmanager
def started(
    command: Sequence[str],
    environment: Mapping[str, str],
    port: int,
    log: Path,
    core: int,
    *,
    group: MemoryGroup | None = None,
    folder: Path = ROOT,
) -> Iterator[Server]:
    """Start a process on `core` that is to listen on `port`, without waiting for it; end it by its id afterwards."""

    def enter() -> None:
        os.sched_setaffinity(0, {core})
        if group is not None:
            group.join()

    with log.open("wb") as out:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, preexec_fn=enter
        )
    try:
        yield Server(process, port, begun, log)
    finally:
        end(process)


@contextmanager
def launched(
    conditions: Conditions,
    group: MemoryGroup | None = None,
    settings: Mapping[str, str] | None = None,
    module: str = "runtime",
) -> Iterator[Server]:
    """Start the server without waiting for it. `module` may be one that starts it."""
    with tempfile.TemporaryDirectory(prefix="vows-bench-") as name:
        folder, port = Path(name), free_port()
        environment = server_environment(conditions.models, folder / "data", port, settings or {})
        command = [sys.executable, "-m", module]
        with started(command, environment, port, folder / "log", conditions.server_core, group=group) as server:
            yield server


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and end it where it does not."""
    process.send_signal(signal.SIGCONT)  # one that is stopped would not hear the next
    process.terminate()
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def text_encoder_alone(conditions: Conditions) -> Iterator[Conditions]:
    """The conditions with a folder of models that has no other than the text encoder."""
    with tempfile.TemporaryDirectory(prefix="vows-bench-") as folder:
        (Path(folder) / "minilm").symlink_to(conditions.models / "minilm")
        yield replace(conditions, models=Path(folder))


@contextmanager
def serving(
    conditions: Conditions,
    group: MemoryGroup | None = None,
    settings: Mapping[str, str] | None = None,
    ready_s: float = READY_S,
) -> Iterator[Server]:
    """A server that has said it is ready. Raises ServerError when it does not within `ready_s`."""
    with launched(conditions, group, settings) as server:
        server.first_answer(build_request("GET", "/readyz"), ready_s)
        yield server
