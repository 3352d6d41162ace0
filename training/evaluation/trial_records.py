"""Trainings compared on validation events: one line of JSON each, written by `tune`, read by the report."""

from pathlib import Path
from typing import Any

import msgspec

TUNING = "tuning.jsonl"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe on one data set. name: what is changed.

    loss … hit_rate: of the best epoch, see training.train.Validation. ndcg10: over the whole catalogue, on the
    validation queries that baselines are tuned on. seconds: of training.
    """

    data: str
    name: str
    recipe: dict[str, Any]
    epochs: int
    best_epoch: int
    loss: float
    action_loss: float
    item_loss: float
    accuracy: float
    hit_rate: float
    ndcg10: float
    seconds: float

    @property
    def identity(self) -> tuple[str, dict[str, Any]]:
        """What determines the outcome: a trial with the same identity is not run again."""
        return self.data, self.recipe


def as_stored(parameters: dict[str, Any]) -> dict[str, Any]:
    """A recipe's parameters as they are read back: JSON has lists for tuples."""
    stored: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(parameters))
    return stored


def read(path: Path, data: str | None = None) -> list[Trial]:
    """The trials of one data set, or all, in the order they were made. Empty where there is no file."""
    if not path.exists():
        return []
    found = [msgspec.json.decode(line, type=Trial) for line in path.read_bytes().splitlines() if line]
    return [trial for trial in found if data in (None, trial.data)]


def add(path: Path, trial: Trial) -> None:
    """Append one line. A kill during the write can leave the last line cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(trial) + b"\n")
