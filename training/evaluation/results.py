"""What an evaluation found, as it is stored: the report and the model card only read this."""

from pathlib import Path
from typing import Any

import msgspec

from training.evaluation.bootstrap import Interval

FORMAT = 1


class Figure(msgspec.Struct, frozen=True):
    """A mean and its 95 % interval by resampling users."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval) -> "Figure":
        return cls(*(round(float(number), 5) for number in interval))


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """One contender's rankings. `slices`: slice → metric → figure; a slice without targets is left out."""

    contender: str
    slices: dict[str, dict[str, Figure]]
    shuffled_ndcg10: Figure
    cold_start_ndcg10: dict[str, float]  # events of history → NDCG@10 on the same targets; "all" is the warm one
    engaged_auc: float | None  # engaged against skipped items, mean over users; None where nothing is skipped
    engaged_gap: float | None = None  # their mean scores' distance in standard deviations, mean over users
    seeds_ndcg10: list[float] = []  # a figure a seed or world
    order_ndcg10: Figure | None = None  # NDCG@10 less that from shuffled histories, on the same targets
    choice: dict[str, Any]
    settings_tried: int
    fit_seconds: float


class Bins(msgspec.Struct, frozen=True):
    stated: list[float]
    observed: list[float]
    count: list[float]


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    """One contender's action probabilities."""

    contender: str
    accuracy: Figure
    log_loss: Figure
    macro_f1: float
    calibration_error: float
    bins: Bins
    shuffled_accuracy: float
    choice: dict[str, Any]
    fit_seconds: float


class Margin(msgspec.Struct, frozen=True, kw_only=True):
    """contender − baseline on the same events, resampling the same users for both."""

    contender: str
    baseline: str
    metric: str
    difference: Figure


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """The exact filter on the events of some users, and everybody else on the same events."""

    users: int
    events: int
    accuracy: Figure
    log_loss: float
    macro_f1: float
    ndcg10: float | None
    contender_accuracy: dict[str, float]
    contender_ndcg10: dict[str, float]
    way_from_baseline: dict[str, float]  # share of the way from the best baseline's accuracy to the bound


class SetResult(msgspec.Struct, frozen=True, kw_only=True):
    """One data set under one protocol. `key` names the row: the same key measured again takes its place."""

    key: str
    name: str
    protocol: str
    omega: float | None = None
    seeds: list[int] = []
    licence: str = ""
    mapping: str = ""
    limits: list[str] = []
    items: int = 0
    users_asked: int = 0
    targets: int = 0
    action_events: int = 0
    repeats: bool = True
    text_share: float | None = None
    rankings: list[Ranking] = []
    actions: list[Actions] = []
    margins: list[Margin] = []
    bound: Bound | None = None
    probe_cosine: dict[str, float] = {}
    baselines: list[str] = []
    twins: dict[str, str] = {}  # contender with the model in it → the same without
    failed: dict[str, str] = {}  # contender → why it has no figures


class Results(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    sets: list[SetResult] = []

    def with_set(self, found: SetResult) -> "Results":
        return Results(sets=sorted([*(s for s in self.sets if s.key != found.key), found], key=lambda s: s.key))


def read(path: Path) -> Results:
    """Raises ValueError for a file of another format."""
    results = msgspec.json.decode(path.read_bytes(), type=Results)
    if results.format != FORMAT:
        raise ValueError(f"{path} has format {results.format}, this version reads {FORMAT}; evaluate again")
    return results


def write(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
