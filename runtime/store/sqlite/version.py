"""Bugs of SQLite that can corrupt a database, by version: https://sqlite.org/howtocorrupt.html and wal.html."""

from typing import NamedTuple

Version = tuple[int, int, int]


class Bug(NamedTuple):
    """In every version from `first` on, up to `fixed` and save the patched releases of older branches. `exposed`: why
    this program can meet it, or None where it cannot, and `why_not` says so."""

    name: str
    first: Version
    fixed: Version
    patched: tuple[Version, ...]
    exposed: bool
    why_not: str = ""


BUGS = (
    Bug(
        "WAL-reset",
        (3, 7, 0),
        (3, 51, 3),
        ((3, 44, 6), (3, 50, 7)),
        False,
        "it needs two connections that write or checkpoint at once, and one thread does both here",
    ),
)


def bugs_of(version: Version) -> list[Bug]:
    """The known ones of a version of SQLite."""
    return [
        bug
        for bug in BUGS
        if bug.first <= version < bug.fixed
        and not any(version[:2] == patch[:2] and version >= patch for patch in bug.patched)
    ]
