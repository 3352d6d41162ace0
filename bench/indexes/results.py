"""What is read from the samples of an index: the setting that is enough, and a row of the table."""

from collections.abc import Mapping

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
    """A Markdown table with a row for every index, the failed ones included."""
    lines = [
        f"| {items:,} items | setting | recall@10 | p50, ms | p95, ms | filtered: setting | recall@10 | p50, ms "
        "| p95, ms | build, CPU s | peak, MiB | resident | anonymous | disk, MiB |",
        "|---" * 14 + "|",
    ]
    return "\n".join([*lines, *(_row(engine, results.get(case_name(engine, items))) for engine in INDEXES)])


def _row(engine: IndexEngine, result: CaseResult | None) -> str:
    if result is None:
        return f"| {engine.label} | not measured |" + " |" * 12
    if why := result.failed or result.not_measured:
        return f"| {engine.label} | {why[:120]} |" + " |" * 12
    series = result.series
    sizes = ("build_cpu_s", "added_peak_mib", "added_resident_mib", "added_anonymous_mib", "disk_mib")
    held = [f"{series[name][0]:,.0f}" if name in series else "–" for name in sizes]
    return "| " + " | ".join([engine.label, *_times(series, "plain"), *_times(series, "filtered"), *held]) + " |"


def _times(series: Series, kind: str) -> list[str]:
    setting = chosen(series, kind)
    if setting is None:
        return ["cannot", "", "", ""]
    p50 = float(np.median(series[f"ms.{kind}.{setting}"]))
    shown = "–" if setting == "exact" else setting
    return [shown, f"{recall(series, kind, setting):.4f}", _ms(p50), _ms(p95_ms(series, kind, setting))]


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
