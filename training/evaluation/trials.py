"""Trainings compared on validation, a line of JSON each, as `tune` and `ablate` write and the report reads."""

from pathlib import Path
from typing import Any

import msgspec

TUNING, ABLATIONS = "tuning.jsonl", "ablations.jsonl"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe on one data set. `name`: what is changed; `group`: what it is compared with.

    loss … hit_rate: of the best epoch, see training.train.Validation; ndcg10: over the whole catalogue, on the moments
    that baselines are tuned on. seconds: of training.
    """

    data: str
    group: str
    name: str
    recipe: dict[str, Any]
    text: bool = True
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
    def question(self) -> tuple[str, bool, dict[str, Any]]:
        """Two trials with the same have the same answer."""
        return self.data, self.text, self.recipe


def as_stored(parameters: dict[str, Any]) -> dict[str, Any]:
    """A recipe's parameters as they are read back: JSON has lists for tuples."""
    stored: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(parameters))
    return stored


def read(path: Path, data: str | None = None) -> list[Trial]:
    """Those of a data set, or all, in the order they were made; none where there is no file."""
    if not path.exists():
        return []
    found = [msgspec.json.decode(line, type=Trial) for line in path.read_bytes().splitlines() if line]
    return [trial for trial in found if data in (None, trial.data)]


def add(path: Path, trial: Trial) -> None:
    """Append a line, whole or, when the program is killed meanwhile, at worst cut short at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(trial) + b"\n")
