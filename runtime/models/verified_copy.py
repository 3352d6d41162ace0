"""Copies of model files that nobody else writes: what was verified is what is opened, and stays so.

A model is memory-mapped. Where another program then writes over the file in place (`cp new.ort models/…`), the process
computes with half of each, or dies of SIGBUS where the file got shorter. So a server opens a copy in its own folder,
made while it was verified; it is named after the bundle's digest and used again at the next start.
"""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 1 << 20


def can_be_overwritten(folder: Path) -> bool:
    """Whether this user could write the files of a bundle, so that a copy is worth its room. Those of the package are
    replaced by installers, under new names first."""
    package = Path(__file__).parents[1]
    resolved = folder.resolve()
    return not resolved.is_relative_to(package) and os.access(resolved, os.W_OK)


def verified_copy(source: Path, sha256: str, to: Path) -> bool:
    """Make `to` a copy of `source` if it is not there yet; False, and no copy, where its digest is another one.

    Raises OSError where there is no place for it.
    """
    while not (to.exists() and _digest(to) == sha256):
        to.parent.mkdir(parents=True, exist_ok=True)
        # One name for all processes, so that what a killed one left is written over and not left for good.
        partial = to.with_name(f".{to.name}.partial")
        with open(os.open(partial, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            if not is_same(out, partial):  # another process made it while this one waited, or gave up
                continue
            try:
                whole = _copied(source, out) == sha256
            except BaseException:
                partial.unlink()
                raise
            if not whole:
                partial.unlink()
                return False
            partial.replace(to)
            os.fchmod(out.fileno(), 0o400)
    return True


def is_same(opened: BinaryIO, path: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(opened.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _copied(source: Path, out: BinaryIO) -> str:
    """The digest of what was copied and synced."""
    out.truncate(0)
    digest = hashlib.sha256()
    with source.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            out.write(chunk)
    out.flush()
    os.fsync(out.fileno())
    return digest.hexdigest()


def remove_others(folder: Path) -> None:
    """Remove the copies of other bundles of the same kind. Those that are still open go on being read."""
    kind = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{kind}-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
