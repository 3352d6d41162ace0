"""A bundle's second encoding, made from its first by flipping bits, so that only one of them has to be shipped.

uint8 weights are the int8 ones plus 128, and so are their zero points. In two's complement that flips the highest bit
of each byte; beside it only the tensors' type codes differ. The export records which bytes change by what. The file is
made once, in pieces of a mebibyte: beside the bundle where its folder can be written, otherwise in a cache folder.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from runtime.models.verified_copy import is_same

_CHUNK_BYTES = 1 << 20


class DerivedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that follows from another. `flips`: runs of (offset, length, mask), ascending, to be XORed; the rest is
    copied. `sha256` and `bytes` are of the result."""

    source: str
    sha256: str
    bytes: int
    flips: list[tuple[int, int, int]]


def derived_file(source: Path, entry: DerivedFile, name: str, cache: Path | None) -> Path:
    """The path of a derived file, which is made when it is not there yet or not what it should be.

    name: its name beside `source`. cache: the folder for it where that of `source` cannot be written.
    Several processes may ask at once: one makes it, the others wait. The caller has verified `source`.

    Raises OSError when there is no place to write it, ValueError when the result is not what `entry` says.
    """
    beside = source.with_name(name)
    if _is_whole(beside, entry):
        return beside
    if os.access(source.parent, os.W_OK):
        _make(source, entry, beside)
        return beside
    if cache is None:
        raise PermissionError(f"{source.parent} cannot be written")
    cached = cache / f"{Path(name).stem}-{entry.sha256[:12]}{Path(name).suffix}"
    if not _is_whole(cached, entry):
        cache.mkdir(parents=True, exist_ok=True)
        _make(source, entry, cached)
        for other in cache.glob(f"{Path(name).stem}-*{Path(name).suffix}"):
            if other != cached:  # of an earlier bundle; a process that still has it open keeps it
                other.unlink(missing_ok=True)
    return cached


def flipped(source: BinaryIO, entry: DerivedFile) -> Iterator[bytes]:
    """The derived file in pieces of at most a mebibyte."""
    position = 0
    for offset, length, mask in [*entry.flips, (entry.bytes, 0, 0)]:
        yield from _pieces(source, offset - position)
        table = bytes(byte ^ mask for byte in range(256))
        for piece in _pieces(source, length):
            yield piece.translate(table)
        position = offset + length


def _pieces(source: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0 and (piece := source.read(min(length, _CHUNK_BYTES))):
        length -= len(piece)
        yield piece


def _is_whole(file: Path, entry: DerivedFile) -> bool:
    try:
        if file.stat().st_size != entry.bytes:
            return False
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == entry.sha256
    except FileNotFoundError:
        return False


def _make(source: Path, entry: DerivedFile, file: Path) -> None:
    """Written under another name, synced and renamed: it appears whole or not at all, also when the machine fails."""
    partial = file.with_name(f".{file.name}.partial")
    while True:
        # One name for all processes, so that what a killed one left is written over and not left for good.
        with open(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            if not is_same(out, partial):
                if _is_whole(file, entry):  # another process made and renamed it while this one waited
                    return
                continue
            try:
                _write(source, entry, out)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            os.replace(partial, file)
            return


def _write(source: Path, entry: DerivedFile, out: BinaryIO) -> None:
    out.truncate(0)
    digest = hashlib.sha256()
    with source.open("rb") as content:
        for piece in flipped(content, entry):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != entry.sha256:
        raise ValueError(f"SHA-256 of what follows from {source.name} is {digest.hexdigest()}, expected {entry.sha256}")
    out.flush()
    os.fsync(out.fileno())
