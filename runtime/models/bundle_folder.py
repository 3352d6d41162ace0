"""Whether a bundle's folder has changed, for those who watch it while serving."""

import contextlib
import os
from pathlib import Path

from runtime.models.bundle import MANIFEST

_MOST_FILES = 64  # of a folder that are looked at; a bundle has eight

Stamp = tuple[object, ...]


def folder_stamp(folder: Path) -> Stamp | None:
    """A value that differs once a file of the folder, or the folder itself, was replaced or has grown; None while there
    is no bundle. While a bundle is being copied it differs at every look."""
    with contextlib.suppress(OSError):
        if (folder / MANIFEST).exists():
            return tuple((name, *_file_stamp(folder / name)) for name in sorted(os.listdir(folder))[:_MOST_FILES])
    return None


def _file_stamp(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:  # a link to nothing, for now
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
