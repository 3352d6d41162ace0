"""Files of what `vows-edge import` copies: one JSON object a line."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

MAX_LINE_BYTES = 1 << 20
NOT_READ = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # by a decoder of JSON
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Record = dict[str, Any]


class TransferError(Exception):
    """The import cannot go on. The message says which address or line, what was found and what to do."""


class Export:
    """A file that GET /events/export wrote, or one with events alone. Raises TransferError for a pipe, which cannot be
    read more than once, or OSError."""

    def __init__(self, file: Path) -> None:
        if not stat.S_ISREG(file.stat().st_mode):
            raise TransferError(f"{file} is no regular file, and it is read several times: write it to one first")
        self._file = file

    def events(self) -> Iterator[Record]:
        """Its lines that are events."""
        return (line for line in records_of(self._file) if line.get("kind", "interaction") == "interaction")

    def exposures(self) -> Iterator[Record]:
        """Its lines that are rankings which experiments showed."""
        return (line for line in records_of(self._file) if line.get("kind") == "exposure")

    def changes(self) -> Iterator[Record]:
        """Its lines that say what was done to experiments."""
        return (line for line in records_of(self._file) if line.get("kind") == "change")


def records_of(file: Path) -> Iterator[Record]:
    """The JSON objects of a file with one a line. Raises TransferError or OSError."""
    with file.open("rb") as lines:
        number = 0
        while line := lines.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise TransferError(f"{file}, line {number} has more than {MAX_LINE_BYTES} bytes, the limit")
            if number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if not line.strip():
                continue
            try:
                yield msgspec.json.decode(line, type=Record)
            except NOT_READ as error:
                raise TransferError(
                    f"{file}, line {number} is not a JSON object: {error}; a file holds one object a line, in UTF-8 "
                    "and not compressed"
                ) from None
