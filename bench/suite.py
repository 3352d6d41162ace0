"""What a benchmark declares: its cases (what runs) and its metrics (what is read from the raw samples)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from bench.case_result import CaseResult, Note, Series

Worse = Literal["higher", "lower"]
Statistic = Literal["median", "p95", "p99", "min", "max"]


class NotMeasured(Exception):
    """A case cannot run on this machine; the message says why and what to do about it."""


@dataclass(frozen=True)
class Conditions:
    """What one run is measured under; recorded with its samples.

    server_core: the core the server (or the in-process encoder) is pinned to; client_core: the client's.
    quick: few rounds, for a smoke run. soak_s: how long the server is kept busy in the cases that are about that.
    """

    seed: int
    models: Path
    server_core: int
    client_core: int
    quick: bool = False
    soak_s: float = 1200.0

    def rounds(self, full: int, quick: int) -> int:
        """Number of rounds: `full`, or `quick` in a quick run."""
        return quick if self.quick else full


@dataclass
class Samples:
    """Raw figures of one case as they are taken: named series, and notes on how they were taken."""

    series: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, Note] = field(default_factory=dict)

    def add(self, name: str, *values: float) -> None:
        """Append raw values to a series; five significant digits are kept."""
        self.series.setdefault(name, []).extend(float(f"{value:.5g}") for value in values)

    def count(self, name: str, more: int = 1) -> None:
        """Add to a series that holds one running count."""
        counts = self.series.setdefault(name, [0])
        counts[0] += more

    def note(self, name: str, value: Note) -> None:
        """Record a fact about the case (a setting, a count, a choice the server made)."""
        self.notes[name] = value


@dataclass(frozen=True)
class Case:
    """One engine or condition; `measure` runs in a process of its own and fills the samples."""

    name: str
    measure: Callable[[Conditions, Samples], None]
    limit_s: float = 600.0


@dataclass(frozen=True)
class Metric:
    """A figure read from one case's raw series.

    name: dotted, unique (`embed.ratio_to_roofline.32`); values: the per-round values, [] where they were not taken.
    """

    name: str
    case: str
    unit: str
    worse: Worse
    values: Callable[[Series], Sequence[float]]
    statistic: Statistic = "median"

    @property
    def limited_to(self) -> Literal["at most", "at least"]:
        """What a target's limit is: the most, or the least that the metric may be."""
        return "at most" if self.worse == "higher" else "at least"

    def keeps(self, limit: float, measured: float) -> bool:
        """Whether the measured value keeps the limit; equality does."""
        return measured <= limit if self.worse == "higher" else measured >= limit

    def measured(self, values: Sequence[float]) -> float:
        """The statistic over the values.

        Raises ValueError on an empty sequence.
        """
        if not values:
            raise ValueError(f"{self.name}: no values")
        array = np.asarray(values, dtype=np.float64)
        match self.statistic:
            case "median":
                return float(np.median(array))
            case "p95":
                return float(np.percentile(array, 95))
            case "p99":
                return float(np.percentile(array, 99))
            case "min":
                return float(array.min())
            case "max":
                return float(array.max())


@dataclass(frozen=True)
class Suite:
    """A declaration: what is measured, by which cases, and the metrics to read from their samples.

    purpose: one line; reading: what someone who reads the table has to know about how it was made; table: Markdown of
    the results by case, for a suite whose figures are read side by side. independent: no case needs another one of the
    same run beside it, so each is kept as it ends, and the last of each is shown. per_cpu: shown for every kind of CPU.
    """

    name: str
    purpose: str
    reading: str
    cases: tuple[Case, ...]
    metrics: tuple[Metric, ...]
    table: Callable[[Mapping[str, CaseResult]], str] | None = None
    independent: bool = False
    per_cpu: bool = False

    def case(self, name: str) -> Case:
        """The case of that name; KeyError says which there are."""
        for case in self.cases:
            if case.name == name:
                return case
        raise KeyError(f"suite {self.name!r} has no case {name!r}; it has {[case.name for case in self.cases]}")


def raw(name: str) -> Callable[[Series], Sequence[float]]:
    """Values as they were recorded under `name`."""
    return lambda series: series.get(name, ())


def ratio(numerator: str, denominator: str) -> Callable[[Series], Sequence[float]]:
    """Round by round numerator / denominator, so that a slow moment of the machine weighs on both.

    A round that a failing case left half taken is dropped.
    """
    return lambda series: [
        a / b for a, b in zip(series.get(numerator, ()), series.get(denominator, ()), strict=False) if b
    ]


def difference(minuend: str, subtrahend: str) -> Callable[[Series], Sequence[float]]:
    """Round by round minuend − subtrahend; a half-taken round is dropped."""
    return lambda series: [a - b for a, b in zip(series.get(minuend, ()), series.get(subtrahend, ()), strict=False)]


def percentile_difference(minuend: str, subtrahend: str, percent: float) -> Callable[[Series], Sequence[float]]:
    """One value, a percentile of one series minus the same of another; [] where either was not taken."""

    def values(series: Series) -> Sequence[float]:
        two = [series.get(name, ()) for name in (minuend, subtrahend)]
        if not all(two):
            return []
        above, below = (float(np.percentile(np.asarray(taken, np.float64), percent)) for taken in two)
        return [above - below]

    return values


def share(part: str, whole: str) -> Callable[[Series], Sequence[float]]:
    """One count over another; [] where nothing was counted."""

    def values(series: Series) -> Sequence[float]:
        total = sum(series.get(whole, ()))
        return [sum(series.get(part, ())) / total] if total else []

    return values


def growth(name: str) -> Callable[[Series], Sequence[float]]:
    """By how much the last quarter's median is above that of the second quarter; the first is for the caches."""

    def values(series: Series) -> Sequence[float]:
        readings = np.asarray(series.get(name, ()), dtype=np.float64)
        quarter = len(readings) // 4
        if quarter < 2:
            return []
        return [float(np.median(readings[-quarter:]) - np.median(readings[quarter : 2 * quarter]))]

    return values
