"""The folder of a catalogue that outlives the process: a cache of the database, which can always be made again.

Rows are changed in place, after the database has committed what they say. A row carries the number of the change that
it is of, and checksums. Now and then all files are synced, and then `header.json` says up to which change of the
database everything is in them. So after a kill or a power cut every row that may be half written is one of a change
beyond the header's, which the database lists; what else does not match its checksum is damage.
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import msgspec

LAYOUT = 3  # of the files; another one is not read
FOLDER = "catalogue"
_HEADER = "header.json"
_CLUSTERS = "clusters"
_LOCK = "catalogue.lock"  # beside the folder


class FilesDamaged(Exception):
    """The files cannot be used, for the reason in the message: they are made again from the database."""


class RowDamaged(Exception):
    """A row's id cannot be read. The row is taken out of the catalogue, and the next start makes the files again."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`change`: of the database, up to which all is in the files, and `position`, if the store says more of it. rows,
    labels: how many were ever used of each. identity: of which database, or for which files it lists changes. secret:
    key of the hashes. rotation: what tells the codes from those made by another one."""

    layout: int
    identity: str
    bundle: str
    dimensions: int
    secret: str
    rotation: int
    change: int
    rows: int
    labels: int
    position: str = ""


class SavedClusters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The clusters that codes are relative to, of vectors rotated in one way: see `Clusters.planned`. Written before
    codes are; the checksum of a row's codes covers its centre, so what does not belong together is noticed."""

    rotation: int
    first: int
    centres: bytes


@dataclass(frozen=True)
class Files:
    """Where a catalogue is saved. secret: key of its hashes. change: returns the number of the database's last change,
    which is that of what is about to be put, or a later one."""

    folder: Path
    secret: bytes
    change: Callable[[], int]

    def forget_header(self) -> None:
        """Before what the header says no longer holds: a start then makes the files again. Raises OSError."""
        (self.folder / _HEADER).unlink(missing_ok=True)
        _sync_folder(self.folder)


def read_header(folder: Path) -> Header | None:
    """None where there is none that is whole."""
    text = _read_whole(folder / _HEADER)
    try:
        return None if text is None else msgspec.json.decode(text, type=Header)
    except msgspec.DecodeError:
        return None


def write_header(folder: Path, header: Header) -> None:
    """All or nothing, and durable. Raises OSError."""
    _write_whole(folder / _HEADER, msgspec.json.encode(header))


def read_clusters(folder: Path) -> SavedClusters | None:
    """As `read_header`."""
    data = _read_whole(folder / _CLUSTERS)
    try:
        return None if data is None else msgspec.msgpack.decode(data, type=SavedClusters)
    except msgspec.DecodeError:
        return None


def write_clusters(folder: Path, clusters: SavedClusters) -> None:
    """As `write_header`."""
    _write_whole(folder / _CLUSTERS, msgspec.msgpack.encode(clusters))


def new_folder(data_dir: Path) -> Path:
    """An empty folder for the files; what was there goes. Raises OSError."""
    remove_folder(data_dir)
    folder = data_dir / FOLDER
    folder.mkdir(parents=True, mode=0o700)
    return folder


def taken(data_dir: Path) -> int | None:
    """Keep other processes from the folder of the files until the descriptor returned is closed, or this process ends;
    None where another one has it. Raises OSError."""
    lock = os.open(data_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def remove_folder(data_dir: Path) -> None:
    """Raises OSError."""
    if (data_dir / FOLDER).exists():
        Files(data_dir / FOLDER, b"", int).forget_header()
        shutil.rmtree(data_dir / FOLDER)


def _read_whole(path: Path) -> bytes | None:
    try:
        checksum, _, data = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    return data if checksum == b"%08x" % crc32(data) else None


def _write_whole(path: Path, data: bytes) -> None:
    new = path.with_name(path.name + ".new")
    with open(new, "wb") as file:
        file.write(b"%08x\n" % crc32(data))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
