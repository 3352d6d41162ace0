"""A new user's first minute: from an empty folder to the first answer, by the README's own command."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.http_client import build_request
from bench.machine import ROOT
from bench.server import Server, free_port
from bench.suite import Case, Conditions, Metric, NotMeasured, Samples, Suite, raw

LIMIT_S = 300.0  # a slow index is a figure; beyond this it is a failure


def measure(conditions: Conditions, samples: Samples) -> None:
    """Clone the last commit into an empty folder, `make run` there, and ask until it embeds. pip's cache is not used.

    Raises NotMeasured where make, git or the package index are missing.
    """
    request = build_request("POST", "/embed", {"type": "content", "text": "a rustic barn for a summer wedding"})
    for _ in range(conditions.rounds(full=3, quick=1)):
        with tempfile.TemporaryDirectory() as folder:
            clone, log, port = Path(folder) / "vows-edge", Path(folder) / "log", free_port()
            started = time.monotonic()
            _clone(clone)
            with log.open("wb") as out:
                command = ["make", "--no-print-directory", "run"]
                process = subprocess.Popen(
                    command, cwd=clone, env=_environment(port), stdout=out, stderr=out, start_new_session=True
                )
            try:
                samples.add("seconds", Server(process, port, started, log).first_answer(request, LIMIT_S))
                samples.add("installed_mb", (disk_bytes(clone / ".venv") + disk_bytes(clone / "runtime")) / 1e6)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=30)
            samples.note("torch", bool(list(clone.glob(".venv/lib/*/site-packages/torch"))))


def _clone(folder: Path) -> None:
    try:
        command = ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotMeasured(f"git cannot clone {ROOT}: {getattr(error, 'stderr', None) or error}") from error


def _environment(port: int) -> Mapping[str, str]:
    """That of a new user: no settings, and nothing of a make that this may run under."""
    dropped = ("VOWS_", "MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "VOWS_PORT": str(port), "PIP_NO_CACHE_DIR": "1"}


def disk_bytes(folder: Path) -> int:
    """What a folder takes on the disk, in whole blocks; a file with several names counts once."""
    found = {(file.stat().st_dev, file.stat().st_ino): file.stat().st_blocks * 512 for file in folder.rglob("*")
             if file.is_file() and not file.is_symlink()}  # fmt: skip
    return sum(found.values())


SUITE = Suite(
    name="first_answer",
    purpose="an empty folder to the first /embed answer, without PyTorch",
    reading="`git clone` of the last commit, `make run`, the first 200 of `/embed`. Packages come from the package "
    "index without pip's cache, so the network is part of it.",
    cases=(Case("clone and make run", measure, limit_s=3 * LIMIT_S),),
    metrics=(
        Metric("first_answer.seconds", "clone and make run", "s", "higher", raw("seconds")),
        Metric("first_answer.installed_mb", "clone and make run", "MB", "higher", raw("installed_mb")),
    ),
)
