"""The end of a backup: its size and SHA-256, behind the last page, where SQLite does not look.

A flipped bit in a text or a vector is no damage to SQLite. With this, a restore takes a backup as it was made or not at
all. Backups of earlier versions have no seal, and are whole pages; their structure alone can be checked.
"""

import hashlib
import os
import struct
from pathlib import Path

from runtime.store.errors import StoreCorrupt

_SEAL = struct.Struct("<16sQ32s")
_MAGIC = b"vows-edge backup"
_CHUNK_BYTES = 1 << 20


def put_on(file: Path) -> None:
    """Seal a copy, and sync it."""
    size = file.stat().st_size
    digest = _digest(file, size)
    with file.open("ab") as out:
        out.write(_SEAL.pack(_MAGIC, size, digest))
        out.flush()
        os.fsync(out.fileno())


def take_off(file: Path, *, named: Path | None = None) -> None:
    """Check the seal and cut it off. `named`: what the message calls the file. Raises StoreCorrupt where it is not what
    was sealed."""
    name = file if named is None else named
    size = file.stat().st_size
    with file.open("rb") as content:
        header = content.read(18)
        content.seek(max(0, size - _SEAL.size))
        end = content.read()
    if len(end) == _SEAL.size:
        magic, sealed, digest = _SEAL.unpack(end)
        if magic == _MAGIC and sealed == size - _SEAL.size:
            if _digest(file, sealed) != digest:
                raise StoreCorrupt(f"{name} is damaged: its SHA-256 is not the one at its end; use another backup")
            os.truncate(file, sealed)
            return
    page_bytes = int.from_bytes(header[16:18], "big") if len(header) == 18 else 0
    page_bytes = 65_536 if page_bytes == 1 else page_bytes
    if page_bytes < 512 or size % page_bytes:
        raise StoreCorrupt(
            f"{name} is damaged or no backup: it does not end with its checksum. A backup is a file that "
            "`vows-edge backup` wrote; name one"
        )


def _digest(file: Path, size: int) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while size > 0 and (chunk := content.read(min(_CHUNK_BYTES, size))):
            digest.update(chunk)
            size -= len(chunk)
    return digest.digest()
