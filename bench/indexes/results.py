"""What is read from the samples of an index: the setting that is enough, and a row of the table."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bench.case_result import CaseResult, Series
from bench.indexes.engines import INDEXES, IndexEngine

SIZES = (100_000, 1_000_000)
ENOUGH = 0.99  # recall at which a setting is not raised any more


def case_name(engine: IndexEngine, items: int) -> str:
    """The case that measures it with so many items."""
    return f"{items:,} items, {engine.name}"


def settings(series: Series, kind: str) -> list[str]:
    """The settings that were tried, from the fastest on."""
    before = f"recall.{kind}."
    return [name.removeprefix(before) for name in series if name.startswith(before)]


def recall(series: Series, kind: str, setting: str) -> float:
    """Of one of them."""
    return series[f"recall.{kind}.{setting}"][0]


def p95_ms(series: Series, kind: str, setting: str) -> float:
    """Of one of them."""
    return float(np.percentile(series[f"ms.{kind}.{setting}"], 95))


def chosen(series: Series, kind: str) -> str | None:
    """The first setting with enough recall, or else the one that had the most; None where none was tried."""
    tried = settings(series, kind)
    enough = [setting for setting in tried if recall(series, kind, setting) >= ENOUGH]
    return enough[0] if enough else max(tried, key=lambda setting: recall(series, kind, setting), default=None)


def comparison(results: Mapping[str, CaseResult], items: int) -> str:
    """Two Markdown tables, of searches and of what an index takes; a row for every index, the failed ones included."""
    searches = ("index", "setting", "recall@10", *_TIMES, "filtered: setting", "recall@10", *_TIMES)
    costs = ("index", "build, CPU s", "memory: peak, MiB", "resident, MiB", "anonymous, MiB", "disk, MiB")
    shown = [(engine, results.get(case_name(engine, items))) for engine in INDEXES]
    return "\n".join(
        [
            f"**{items:,} items: how much does a search find, and how long does it take?**",
            "",
            *_heading(searches),
            *(_row(engine, result, len(searches), _searches) for engine, result in shown),
            "",
            f"**{items:,} items: what does the index take?**",
            "",
            *_heading(costs),
            *(_row(engine, result, len(costs), _costs) for engine, result in shown),
        ]
    )


_TIMES = ("p50, ms", "p95, ms")
_COSTS = ("build_cpu_s", "added_peak_mib", "added_resident_mib", "added_anonymous_mib", "disk_mib")


def _heading(columns: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def _row(engine: IndexEngine, result: CaseResult | None, columns: int, cells: Callable[[Series], Sequence[str]]) -> str:
    why = "not measured" if result is None else result.failed or result.not_measured
    if result is None or why:
        return f"| {engine.label} | {why} |" + " |" * (columns - 2)
    return "| " + " | ".join([engine.label, *cells(result.series)]) + " |"


def _searches(series: Series) -> Sequence[str]:
    return [*_times(series, "plain"), *_times(series, "filtered")]


def _costs(series: Series) -> Sequence[str]:
    return [f"{series[name][0]:,.0f}" if name in series else "–" for name in _COSTS]


def _times(series: Series, kind: str) -> list[str]:
    setting = chosen(series, kind)
    if setting is None:
        return ["cannot", "", "", ""]
    p50 = float(np.median(series[f"ms.{kind}.{setting}"]))
    return [
        "–" if setting == "exact" else setting.replace("_", " "),  # an index without settings
        f"{recall(series, kind, setting):.4f}",
        _ms(p50),
        _ms(p95_ms(series, kind, setting)),
    ]


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
