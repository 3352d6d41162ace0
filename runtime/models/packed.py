"""Weights packed for this CPU's kernels, in a file to be mapped.

A session copies every weight of a product into the order in which its kernel reads it: 10 MiB of anonymous memory,
beside the file that they come from. onnxruntime can write what it packed, and map it the next time: the same bits, in
memory that can be given back, and opened faster. What is packed fits one kind of CPU and one version of onnxruntime, so
it is made where it is used, at the first start, and named after both.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from runtime.models.session import onnxruntime_version
from runtime.system.host import cpu_flags, cpu_model

MODEL, WEIGHTS = "model.onnx", "weights.bin"
_DIGESTS = "digests.json"  # SHA-256 of the two: what a machine that failed left half written is made again
_PARTIAL, _LOCK = ".packing", ".packing.lock"

# In a process of its own, so that nothing of it stays in the heap, and a lack of memory ends it and not the server.
_PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from runtime.models.session import save_packed
save_packed(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
"""
_TIMEOUT_S = 60  # usually less than one


class CannotPack(Exception):
    """onnxruntime could not make the file. The message says why."""


def packed_model(model: Path, sha256: str, folder: Path) -> Path:
    """The model with packed weights, made in `folder` when it is not there yet or not whole.

    sha256: of `model`, whose graph is optimised. Several processes may ask at once: one makes it, the others wait.

    Raises OSError where it cannot be written, and CannotPack.
    """
    place = folder / f"{model.stem}-packed-{_key(sha256)}"
    if not _is_whole(place):
        folder.mkdir(parents=True, exist_ok=True)
        with open(os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_whole(place):
                _make(model, place)
    return place / MODEL


def packed_bytes(packed: Path, model: Path) -> int:
    """Bytes that were added to a model's own weights."""
    return max(0, packed.with_name(WEIGHTS).stat().st_size - model.stat().st_size)


def _key(sha256: str) -> str:
    """Changes with whatever decides how weights are packed."""
    made_for = [sha256, onnxruntime_version(), platform.machine(), cpu_model(), *sorted(cpu_flags())]
    return hashlib.sha256("\n".join(made_for).encode()).hexdigest()[:16]


def _make(model: Path, place: Path) -> None:
    """Under another name, then renamed: it appears whole or not at all. It is not synced: its digests tell whether all
    of it reached the disk."""
    partial = place.with_name(_PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed: the lock was free
    partial.mkdir()
    try:
        _save(model, partial / MODEL)
        (partial / _DIGESTS).write_bytes(msgspec.json.encode(_digests(partial)))
        for file in partial.iterdir():
            file.chmod(0o444)
        shutil.rmtree(place, ignore_errors=True)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for other in place.parent.glob(f"{model.stem}-packed-*"):  # for another CPU; a process that has it open keeps it
        if other != place:
            shutil.rmtree(other, ignore_errors=True)


def _save(model: Path, to: Path) -> None:
    root = Path(__file__).parents[2]
    program: list[str | Path] = [sys.executable, "-c", _PROGRAM, root, model.absolute(), to.absolute(), WEIGHTS]
    try:
        done = subprocess.run(program, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise CannotPack(f"it took longer than {_TIMEOUT_S} s; the next start tries again") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()[-300:]
        raise CannotPack(f"ended with {done.returncode}: {reason}; the next start tries again")


def _is_whole(place: Path) -> bool:
    try:
        expected = msgspec.json.decode((place / _DIGESTS).read_bytes(), type=dict[str, str])
        return expected == _digests(place)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError, UnicodeDecodeError):
        return False


def _digests(place: Path) -> Mapping[str, str]:
    digests = {}
    for name in (MODEL, WEIGHTS):
        with (place / name).open("rb") as content:
            digests[name] = hashlib.file_digest(content, "sha256").hexdigest()
    return digests
