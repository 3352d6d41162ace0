"""The declared targets: read from `targets.toml`, and compared with what was measured."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bench.suite import Metric

Kind = Literal["ratio", "size", "time"]
TARGETS_FILE = Path(__file__).with_name("targets.toml")


@dataclass(frozen=True)
class Target:
    """A limit on one metric. `source` says where the number comes from; only ratios and sizes gate a check."""

    metric: str
    limit: float
    kind: Kind
    source: str

    @property
    def gates(self) -> bool:
        """Whether missing it fails `--check`: absolute times depend on the machine, so they never do."""
        return self.kind != "time"


def parse_target(entry: dict[str, Any]) -> Target:
    """One `[[target]]` table as a Target.

    Raises ValueError when a field is missing, unknown, empty or not one of the allowed words.
    """
    fields = set(Target.__dataclass_fields__)
    if entry.keys() != fields:
        raise ValueError(f"target {entry.get('metric', '?')}: fields {sorted(entry)}, expected {sorted(fields)}")
    if entry["kind"] not in get_args(Kind):
        raise ValueError(f"target {entry['metric']}: kind is {entry['kind']!r}, expected one of {get_args(Kind)}")
    for name in ("metric", "source"):
        if not isinstance(entry[name], str) or not entry[name].strip():
            raise ValueError(f"target {entry['metric']!r}: {name} must be a non-empty text, found {entry[name]!r}")
    if isinstance(entry["limit"], bool) or not isinstance(entry["limit"], int | float):
        raise ValueError(f"target {entry['metric']}: limit must be a number, found {entry['limit']!r}")
    return Target(**{**entry, "limit": float(entry["limit"])})


def load_targets(path: Path = TARGETS_FILE) -> tuple[Target, ...]:
    """All targets of a file, in its order. Raises ValueError on a bad entry, naming it."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    if document.keys() != {"target"}:
        raise ValueError(f"{path}: tables {sorted(document)}, expected only [[target]]")
    targets = tuple(parse_target(entry) for entry in document["target"])
    keys = [(target.metric, target.limit) for target in targets]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{path}: {key[0]} has the limit {key[1]} twice")
    return targets


def for_metric(targets: Iterable[Target], metric: Metric) -> list[Target]:
    """The targets of one metric, the tightest first."""
    found = [target for target in targets if target.metric == metric.name]
    return sorted(found, key=lambda target: target.limit, reverse=metric.worse == "lower")
