"""Results of incremental training: one line of JSON each, written by `incremental`, read by the report."""

from pathlib import Path
from typing import Any

import msgspec

INCREMENTAL = "incremental.jsonl"


class PeriodMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures on the test events of one period, see training.train.Validation."""

    events: int
    loss: float
    accuracy: float
    hit_rate: float


class IncrementalResult(msgspec.Struct, frozen=True, kw_only=True):
    """One way to train on a log that has grown.

    events: trained on per epoch, without replayed ones; seconds: of this training; old, new: the two periods.
    """

    data: str
    name: str
    recipe: dict[str, Any]
    events: int
    epochs: int
    seconds: float
    old: PeriodMetrics
    new: PeriodMetrics


def read(path: Path, data: str | None = None) -> list[IncrementalResult]:
    """The rows of one data set, or all, in the order they were made. Empty where there is no file."""
    if not path.exists():
        return []
    found = [msgspec.json.decode(line, type=IncrementalResult) for line in path.read_bytes().splitlines() if line]
    return [row for row in found if data in (None, row.data)]


def add(path: Path, row: IncrementalResult) -> None:
    """Append one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(row) + b"\n")
