"""Charts of the comparison with other engines."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.case_result import CaseResult
from bench.charts import COLOURS, MACHINE_MIB, new_figure, save
from bench.indexes.engines import INDEXES
from bench.indexes.results import ENOUGH, case_name, p95_ms, recall, settings
from bench.peers.compare import LENGTHS, SPEED, instead_case, limit_case, memory_case, passes_gate
from bench.peers.engines import ENGINES, INSTEAD, SAME_MODEL

OTHER_COLOURS = ("#8a949b", "#c2a14d", "#7d6b9e", "#5f8fbf", "#a8705d", "#6f9a62", "#b98fb0", "#4f5a61", "#d9a441")
_SURVIVED, _FAILED = "#9cc7c5", "#e3c4bf"


def latency_of_peers(results: Mapping[str, CaseResult], path: Path) -> None:
    """p50 of a text by its length as a multiple of the fp32 roofline of the same rounds: a line an engine."""
    series = results[SPEED].series
    roofline = [statistics.median(series[f"roofline_ms.{tokens}"]) for tokens in LENGTHS]
    figure, axes = new_figure("Time of one text, as a multiple of the fp32 roofline")
    colours = iter(OTHER_COLOURS)
    for engine in SAME_MODEL:
        ours = engine.model == "bundle"
        times = [series.get(f"round_ms.{engine.name}.{tokens}") for tokens in LENGTHS]
        colour = (COLOURS["http"] if engine.own_server else COLOURS["ours"]) if ours else next(colours)
        if not all(times):
            continue
        ratios = [statistics.median(taken or ()) / least for taken, least in zip(times, roofline, strict=True)]
        passes = passes_gate(series, engine.name)
        style: dict[str, Any] = {} if passes else {"linestyle": ":", "alpha": 0.6}
        label = f"{engine.label} ({engine.arithmetic}{'' if passes else ', misses the quality gate'})"
        axes.plot(LENGTHS, ratios, marker="o", color=colour, linewidth=3 if ours else 1.5, label=label, **style)
    axes.axhline(1, color=COLOURS["roofline"], linestyle="--", label="fp32 roofline")
    axes.set_xscale("log", base=2)
    axes.set_xticks(LENGTHS, [str(n) for n in LENGTHS])
    axes.set_yscale("log", base=2)
    ticks = (0.5, 0.75, 1, 1.5, 2, 3, 4, 6)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("tokens")
    axes.set_ylabel("time / fp32 roofline")
    save(figure, path, columns=2)


def memory_of_peers(results: Mapping[str, CaseResult], path: Path) -> None:
    """Peak after the large batch and what is held when ready; whether a hard limit of 256 MiB was survived."""
    shown = [one for one in ENGINES if _first(results, memory_case(one.name), "batch_peak_mib") is not None]
    shown.sort(key=lambda one: -(_first(results, memory_case(one.name), "batch_peak_mib") or 0.0))
    figure, axes = new_figure("Memory: peak after a batch of 32 texts of 256 tokens")
    places = np.arange(len(shown))
    peaks = [_first(results, memory_case(one.name), "batch_peak_mib") or 0.0 for one in shown]
    ready = [_first(results, memory_case(one.name), "ready_rss_mib") or 0.0 for one in shown]
    lived = [_first(results, limit_case(one.name), "survived") == 1.0 for one in shown]
    for survived, label in ((True, "peak; survived 256 MiB"), (False, "peak; did not survive 256 MiB")):
        where = [n for n, one in enumerate(lived) if one is survived]
        axes.barh(places[where], [peaks[n] for n in where], 0.6, color=_SURVIVED if survived else _FAILED, label=label)
    axes.scatter(ready, places, color=COLOURS["ink"], s=18, zorder=3, label="ready")
    axes.axvline(MACHINE_MIB, color=COLOURS["limit"], linestyle="--", label=f"{MACHINE_MIB} MiB machine")
    axes.set_yticks(places, [f"{one.label} ({one.arithmetic})" for one in shown])
    axes.set_xlabel("MiB, resident")
    axes.grid(visible=False, axis="y")
    save(figure, path)


def quality_against_time(results: Mapping[str, CaseResult], path: Path) -> None:
    """STS-B score of each model that one might choose instead, and its median time for a text of 32 tokens."""
    figure, axes = new_figure("Quality of a model against the time of a text of 32 tokens")
    others = iter(OTHER_COLOURS)
    for engine in INSTEAD:
        colour = next(others) if engine.instead else COLOURS["ours"]
        time = _first(results, instead_case(engine.name), f"round_ms.{engine.name}.32")
        score = _first(results, instead_case(engine.name), f"stsb.{engine.name}")
        if time is not None and score is not None:
            axes.plot(time, score, marker="o", markersize=8, linestyle="", color=colour, label=engine.label)
    axes.set_xscale("log")
    axes.set_xlabel("time, ms")
    axes.set_ylabel("Spearman, STS-B test")
    save(figure, path, columns=2)


def memory_of_indexes(results: Mapping[str, CaseResult], items: int, path: Path) -> None:
    """What an index of so many items adds to its process: after the searches, what cannot be given back, and the peak
    while it was built."""
    case = {engine: case_name(engine, items) for engine in INDEXES}
    shown = [engine for engine in INDEXES if _first(results, case[engine], "added_resident_mib") is not None]
    figure, axes = new_figure(f"Memory of an index of {items:,} items")
    places = np.arange(len(shown))[::-1]
    for series, colour, label in (
        ("added_resident_mib", "#d5dbde", "after the searches, mapped files included"),
        ("added_anonymous_mib", COLOURS["ours"], "of it not to be given back"),
    ):
        axes.barh(places, [_first(results, case[one], series) or 0.0 for one in shown], 0.6, color=colour, label=label)
    peaks = [_first(results, case[one], "added_peak_mib") or 0.0 for one in shown]
    axes.scatter(peaks, places, color=COLOURS["ink"], s=18, zorder=3, label="peak while it was built")
    axes.set_yticks(places, [one.label for one in shown])
    axes.set_xlabel("MiB")
    axes.grid(visible=False, axis="y")
    save(figure, path)


def recall_against_time(results: Mapping[str, CaseResult], items: int, path: Path) -> None:
    """p95 of a search and its recall with so many items: a line an index, one mark if it is exact."""
    figure, axes = new_figure(f"Recall@10 against the time of a search, {items:,} items, one core")
    others, ours = iter(OTHER_COLOURS), iter("sDo")
    for engine in INDEXES:
        marker, colour = (next(ours), COLOURS["ours"]) if engine.ours else (".", next(others))
        result = results.get(case_name(engine, items))
        if result is None or result.failed or not (tried := settings(result.series, "plain")):
            continue
        times = [p95_ms(result.series, "plain", one) for one in tried]
        recalls = [recall(result.series, "plain", one) for one in tried]
        axes.plot(times, recalls, marker=marker, color=colour, label=engine.label)
    axes.axhline(ENOUGH, color=COLOURS["roofline"], linestyle="--")
    axes.set_xscale("log")
    axes.set_xlabel("95th percentile of the time of a search, ms")
    axes.set_ylabel("recall@10")
    save(figure, path, columns=3)


def _first(results: Mapping[str, CaseResult], case: str, series: str) -> float | None:
    """The median of a series; None where it was not taken."""
    result = results.get(case)
    values = result.series.get(series) if result else None
    return statistics.median(values) if values else None
