"""The comparisons of the hybrid ranker as they are kept in ranker_results.json."""

from pathlib import Path
from typing import Any

import msgspec

from training.evaluation.results import Figure

FORMAT = 1


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One model. Figures are NDCG@10: on every target; on targets that the user had never met, among items that the
    user had never met; on targets other than what the user engaged with last. None where nothing repeats.

    few: k → NDCG@10 from the user's last k events; kept: k → R(k), that as a share of NDCG@10 from the whole history on
    the same targets. ahead: the hybrid ranker minus this model, on the same targets; second_ahead: likewise the hybrid
    ranker with the score of a sequence model. ahead_few, second_ahead_few: k → the same from the user's last k events.
    by_world: NDCG@10.
    """

    name: str
    choice: dict[str, Any]
    fit_seconds: float
    ndcg_10: Figure
    never_seen: Figure | None = None
    not_the_last: Figure | None = None
    few: dict[str, float] = {}
    kept: dict[str, float] = {}
    ahead: Figure | None = None
    ahead_never_seen: Figure | None = None
    ahead_not_the_last: Figure | None = None
    ahead_few: dict[str, Figure] = {}
    second_ahead: Figure | None = None
    second_ahead_never_seen: Figure | None = None
    second_ahead_not_the_last: Figure | None = None
    second_ahead_few: dict[str, Figure] = {}
    by_world: list[float] = []


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Every model on one data set and split. last_share, new_share: of the targets. repeats: whether users engage with
    an item more than once; where they do not, what was seen is no candidate."""

    key: str
    name: str
    protocol: str
    licence: str = ""
    limits: list[str] = []
    order_strength: float | None = None
    seeds: list[int] = []
    events: int
    items: int
    users: int
    targets: int
    repeats: bool
    last_share: float
    new_share: float
    rows: list[Compared]

    def row(self, name: str) -> Compared:
        """Raises KeyError for a model that was not compared."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def has(self, name: str) -> bool:
        """Whether a model was compared."""
        return any(row.name == name for row in self.rows)

    def best_other(self, names: tuple[str, ...]) -> Compared:
        """The model with the best figure on every target that is none of `names`: chosen after the fact, in its
        favour."""
        return max((row for row in self.rows if row.name not in names), key=lambda row: row.ndcg_10.value)


class Comparisons(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared so far, one entry per data set and split."""

    format: int = FORMAT
    sets: list[Comparison] = []

    def with_set(self, found: Comparison) -> "Comparisons":
        """With an entry added, or replaced where its key exists."""
        return Comparisons(sets=sorted([*(s for s in self.sets if s.key != found.key), found], key=lambda s: s.key))


def read(path: Path) -> Comparisons:
    """Empty where there is no file. Raises ValueError for one of another format."""
    if not path.exists():
        return Comparisons()
    found = msgspec.json.decode(path.read_bytes(), type=Comparisons)
    if found.format != FORMAT:
        raise ValueError(f"{path} has format {found.format}, this version reads {FORMAT}; compare again")
    return found


def write(found: Comparisons, path: Path) -> None:
    """Write the file, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
