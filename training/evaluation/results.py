"""The results of an evaluation as stored in results.json. The report and the model card read nothing else."""

from pathlib import Path
from typing import Any

import msgspec

from training.evaluation.bootstrap import Interval

FORMAT = 2


class Figure(msgspec.Struct, frozen=True):
    """A mean and its 95 % interval by resampling users."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, interval: Interval) -> "Figure":
        """Rounded to five decimals."""
        return cls(*(round(float(number), 5) for number in interval))


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """The rankings of one model. slices: slice → metric → figure; a slice without targets is left out."""

    model: str
    slices: dict[str, dict[str, Figure]]
    shuffled_ndcg10: Figure
    cold_start_ndcg10: dict[str, float]  # events of history → NDCG@10 on the same targets; "all" is the whole history
    engaged_auc: float | None  # engaged against skipped items, mean over users; None where nothing is skipped
    engaged_gap: float | None = None  # difference of their mean scores in standard deviations, mean over users
    seeds_ndcg10: list[float] = []  # one figure per seed or world
    order_ndcg10: Figure | None = None  # NDCG@10 minus that from shuffled histories, on the same targets
    choice: dict[str, Any]
    settings_tried: int
    fit_seconds: float


class Bins(msgspec.Struct, frozen=True):
    """A reliability diagram: mean predicted probability, observed share and events of each bin."""

    predicted: list[float]
    observed: list[float]
    count: list[float]


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    """The action probabilities of one model."""

    model: str
    accuracy: Figure
    log_loss: Figure
    macro_f1: float
    calibration_error: float
    bins: Bins
    shuffled_accuracy: float
    choice: dict[str, Any]
    fit_seconds: float


class Margin(msgspec.Struct, frozen=True, kw_only=True):
    """model − baseline on the same events, resampling the same users for both."""

    model: str
    baseline: str
    metric: str
    difference: Figure


class Oracle(msgspec.Struct, frozen=True, kw_only=True):
    """The Bayes-optimal filter on the events of some users, and every model on the same events."""

    users: int
    events: int
    accuracy: Figure
    log_loss: float
    macro_f1: float
    ndcg10: float | None
    model_accuracy: dict[str, float]
    model_ndcg10: dict[str, float]
    gap_closed: dict[str, float]  # share of the gap between the best baseline's accuracy and the oracle's


class SetResult(msgspec.Struct, frozen=True, kw_only=True):
    """One data set under one protocol. `key` names the row: the same key measured again replaces it."""

    key: str
    name: str
    protocol: str
    order_strength: float | None = None  # ω of simulated worlds, None for real data
    seeds: list[int] = []
    licence: str = ""
    mapping: str = ""
    limits: list[str] = []
    items: int = 0
    users: int = 0
    targets: int = 0
    action_events: int = 0
    repeats: bool = True
    text_share: float | None = None
    rankings: list[Ranking] = []
    actions: list[Actions] = []
    margins: list[Margin] = []
    oracle: Oracle | None = None
    probe_cosine: dict[str, float] = {}
    baselines: list[str] = []
    without_model: dict[str, str] = {}  # blend with the sequence model → the same blend without it
    failed: dict[str, str] = {}  # model → why it has no figures

    @property
    def one_class(self) -> bool:
        """Whether all actions of the test events are the same: a constant prediction is then always right, and no
        figure about actions says anything."""
        constant = [acting.accuracy.low == 1 for acting in self.actions if acting.model in self.baselines]
        return bool(constant) and all(constant)

    def printed_margins(self) -> list[Margin]:
        """The margins without those of action figures where only one action occurs."""
        return [m for m in self.margins if not (self.one_class and m.metric in ("accuracy", "-log-loss"))]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured so far, one row per data set and protocol."""

    format: int = FORMAT
    sets: list[SetResult] = []

    def with_set(self, found: SetResult) -> "Results":
        """These results with a row added, or replaced where its key exists."""
        return Results(sets=sorted([*(s for s in self.sets if s.key != found.key), found], key=lambda s: s.key))


def read(path: Path) -> Results:
    """The results in a file. Raises ValueError for a file of another format."""
    content = msgspec.json.decode(path.read_bytes())
    if content["format"] != FORMAT:
        raise ValueError(f"{path} has format {content['format']}, this version reads {FORMAT}; evaluate again")
    return msgspec.convert(content, Results)


def write(results: Results, path: Path) -> None:
    """Write the file, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
