"""Rows of target against measured, computed from raw samples, and their aligned text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.case_result import CaseResult
from bench.suite import Metric, Suite
from bench.targets import Target, for_metric

HEADER = ("metric", "unit", "target", "measured (min-max)", "n", "verdict")


@dataclass(frozen=True)
class Row:
    """One metric beside one of its targets (or none). `measured` is None where `why` says what happened instead."""

    metric: Metric
    target: Target | None
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    count: int = 0
    why: str | None = None
    failed: bool = False

    @property
    def missed(self) -> bool:
        """The target is not met: measured on the wrong side, or its case failed."""
        if self.target is None:
            return False
        return self.failed if self.measured is None else not self.metric.keeps(self.target.limit, self.measured)

    @property
    def verdict(self) -> str:
        """`ok`, `missed`, `failed: …`, `not measured: …`, or `-` where there is no target."""
        if self.measured is None:
            return self.why or "not measured"
        if self.target is None:
            return "-"
        return "missed" if self.missed else "ok"


def rows_of(suite: Suite, results: Mapping[str, CaseResult], targets: Iterable[Target]) -> list[Row]:
    """Every metric of a suite as one row a target, in the order of the declaration."""
    rows: list[Row] = []
    targets = tuple(targets)
    for metric in suite.metrics:
        against: Sequence[Target | None] = for_metric(targets, metric) or [None]
        rows += [_row(metric, target, results.get(metric.case)) for target in against]
    return rows


def _row(metric: Metric, target: Target | None, result: CaseResult | None) -> Row:
    if result is None:
        return Row(metric, target, why="not measured: did not run")
    if result.not_measured is not None:
        return Row(metric, target, why=f"not measured: {result.not_measured}")
    values = list(metric.values(result.series))
    if not values:
        return Row(metric, target, why=f"failed: {result.failed or 'no samples'}", failed=True)
    if result.failed is not None:  # what it measured before it broke is shown, but counts as a failure
        return Row(metric, target, why=f"failed: {result.failed}", failed=True, count=len(values))
    return Row(metric, target, metric.measured(values), min(values), max(values), len(values))


def figure(value: float | None) -> str:
    """A number to about four significant digits, thousands grouped."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"


def cells(row: Row) -> tuple[str, str, str, str, str, str]:
    """The texts of a row, in the order of HEADER."""
    sign = "<=" if row.metric.worse == "higher" else ">="
    target = "-" if row.target is None else f"{sign} {row.target.limit:g}"
    measured = "-"
    if row.measured is not None:
        measured = figure(row.measured)
        if row.count > 1:
            measured += f" ({figure(row.low)}-{figure(row.high)})"
    verdict = " ".join(row.verdict.split())
    return row.metric.name, row.metric.unit, target, measured, str(row.count or "-"), verdict[:100]


def aligned(rows: Iterable[Row]) -> str:
    """The rows as a text table with a header, columns padded to the widest cell."""
    lines = [HEADER, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    right = {2, 4}
    padded = (
        "  ".join(text.rjust(width) if column in right else text.ljust(width)
                  for column, (text, width) in enumerate(zip(line, widths, strict=True)))
        for line in lines
    )  # fmt: skip
    return "\n".join(line.rstrip() for line in padded)


def missed_gates(rows: Iterable[Row]) -> list[Row]:
    """Rows that fail `--check`: a missed target that is a ratio or a size, never an absolute time."""
    return [row for row in rows if row.target is not None and row.target.gates and row.missed]
