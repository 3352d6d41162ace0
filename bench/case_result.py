"""What one case leaves behind: raw series, and notes on how they were taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Series = Mapping[str, Sequence[float]]
Note = str | int | float | bool


@dataclass(frozen=True)
class CaseResult:
    """Raw series, notes, the seconds the case took, and why it has no figures if it has none.

    failed: it ran and broke; not_measured: this machine cannot run it (no root, no data).
    """

    series: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)
    seconds: float = 0.0
    failed: str | None = None
    not_measured: str | None = None
