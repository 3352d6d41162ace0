"""Going on from a checkpoint, as measured: a line of JSON each, as `incremental` writes and the report reads."""

from pathlib import Path
from typing import Any

import msgspec

INCREMENTAL = "incremental.jsonl"


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Figures on the test events of one time, see training.train.Validation."""

    events: int
    loss: float
    accuracy: float
    hit_rate: float


class Continued(msgspec.Struct, frozen=True, kw_only=True):
    """One way to a model. events: that an epoch is about, replayed ones not counted; seconds: of this training."""

    data: str
    name: str
    recipe: dict[str, Any]
    events: int
    epochs: int
    seconds: float
    old: Period
    new: Period


def read(path: Path, data: str | None = None) -> list[Continued]:
    """Those of a data set, or all, in the order they were made; none where there is no file."""
    if not path.exists():
        return []
    found = [msgspec.json.decode(line, type=Continued) for line in path.read_bytes().splitlines() if line]
    return [row for row in found if data in (None, row.data)]


def add(path: Path, row: Continued) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(row) + b"\n")
