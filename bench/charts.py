"""The report's charts as SVG files, drawn from the history's raw samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.case_result import CaseResult
from bench.suites import embed, memory

MACHINE_MIB = 256
TREND = (
    ("embed.ratio_to_roofline.32", "32 tokens / roofline", "x roofline"),
    ("embed.ratio_to_roofline.128", "128 tokens / roofline", "x roofline"),
    ("memory.peak_rss_mib.load", "peak RSS", "MiB"),
    ("memory.anonymous_mib.load", "anonymous", "MiB"),
    ("start.first_answer_s", "start to first answer", "s"),
)
TREND_METRICS = {metric for metric, _, _ in TREND}
COLOURS = {"ink": "#26323a", "ours": "#0b6e6e", "http": "#d1662b", "roofline": "#8a949b", "limit": "#b3261e"}
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: smaller files, readable by a screen reader
    "svg.hashsalt": "vows-edge",  # the same figures give the same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["ink"],
    "axes.grid": True,
    "grid.color": "#e3e7e9",
    "figure.facecolor": "white",
}
_EXPERIMENT_METHODS = (("ours", "always valid (ours)", "-"), ("growthbook", "GrowthBook, sequential", ":"))
_LIFT_COLOURS = {5: "#d1662b", 10: "#0b6e6e", 20: "#26323a"}  # by the lift in per cent


def latency_by_length(result: CaseResult, path: Path) -> None:
    """p50 in process and over HTTP (bars to p95) and the fp32 roofline, by tokens, both axes logarithmic."""
    figure, axes = new_figure("Latency of one text, one core")
    lengths = [n for n in embed.LENGTHS if result.series.get(f"text_ms.{n}")]
    lowest: list[float] = []
    highest: list[float] = []
    for name, label, colour in (("text_ms", "in process", "ours"), ("http_ms", "over HTTP", "http")):
        values = [np.asarray(result.series[f"{name}.{n}"]) for n in lengths]
        middle = np.asarray([np.median(v) for v in values])
        upper = np.asarray([np.percentile(v, 95) for v in values]) - middle
        lowest.append(float(middle.min()))
        highest.append(float((middle + upper).max()))
        axes.errorbar(
            lengths, middle, yerr=[np.zeros_like(upper), upper], label=f"{label}, p50 to p95",
            color=COLOURS[colour], marker="o", capsize=3,
        )  # fmt: skip
    roofline = [float(np.median(result.series[f"roofline_ms.{n}"])) for n in lengths]
    axes.plot(lengths, roofline, label="fp32 roofline", color=COLOURS["roofline"], linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(lengths, [str(n) for n in lengths])
    ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(0.8 * min(min(roofline), *lowest), 1.25 * max(max(roofline), *highest))
    axes.set_xlabel("tokens")
    axes.set_ylabel("ms")
    save(figure, path)


def memory_staircase(result: CaseResult, path: Path) -> None:
    """Anonymous and file-backed memory after each step, the peak so far, and the machine's 256 MiB."""
    figure, axes = new_figure("Memory of the server")
    steps = [step for step in memory.STEPS if result.series.get(f"rss_mib.{step}")]
    labels = {"start": "ready", "warm": "one text of\neach length", "load": "500 mixed requests,\n32 x 256 tokens"}
    anonymous = np.asarray([result.series[f"anonymous_mib.{step}"][0] for step in steps])
    file_backed = np.asarray([result.series[f"file_backed_mib.{step}"][0] for step in steps])
    peak = [result.series[f"peak_rss_mib.{step}"][0] for step in steps]
    places = np.arange(len(steps))
    axes.bar(places, anonymous, 0.5, label="anonymous", color=COLOURS["ours"])
    axes.bar(places, file_backed, 0.5, bottom=anonymous, label="file-backed", color="#9cc7c5")
    axes.hlines(peak, places - 0.3, places + 0.3, color=COLOURS["http"], linewidth=2, label="peak RSS so far")
    axes.axhline(MACHINE_MIB, color=COLOURS["limit"], linestyle="--", label=f"{MACHINE_MIB} MiB machine")
    axes.set_xticks(places, [labels[step] for step in steps])
    axes.set_ylim(0, MACHINE_MIB * 1.2)
    axes.set_ylabel("MiB")
    axes.grid(visible=False, axis="x")
    save(figure, path)


def memory_over_requests(result: CaseResult, path: Path) -> None:
    """Anonymous memory over mixed requests."""
    figure, axes = new_figure("Anonymous memory over mixed traffic")
    settling = result.series.get("settling_anonymous_mib", [])
    readings = [*settling, *result.series["flat_anonymous_mib"]]
    axes.plot(np.arange(1, len(readings) + 1) * memory.READ_EVERY, readings, label="anonymous", color=COLOURS["ours"])
    axes.axvspan(0, len(settling) * memory.READ_EVERY, color="#eef1f2", label="caches fill; not counted as growth")
    axes.set_ylim(0, 1.25 * max(readings))
    axes.set_xlabel("requests")
    axes.set_ylabel("MiB")
    save(figure, path)


def trend(revisions: Sequence[str], figures: Sequence[dict[str, float]], path: Path) -> None:
    """Key figures over revisions, one small panel each. `figures[i]` maps metric names to what revision i measured."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 1.7 * len(TREND)), layout="constrained")
        panels = np.atleast_1d(figure.subplots(len(TREND), 1, sharex=True))
        places = np.arange(len(revisions))
        for axes, (metric, label, unit) in zip(panels, TREND, strict=True):
            values = [known.get(metric, np.nan) for known in figures]
            axes.plot(places, values, marker="o", color=COLOURS["ours"])
            axes.set_title(label, loc="left", fontsize=10)
            axes.set_ylabel(unit)
            known = [value for value in values if not np.isnan(value)]
            axes.set_ylim(0, 1.3 * max(known, default=1.0))
        panels[-1].set_xticks(places, [revision[:7] for revision in revisions], rotation=45, ha="right")
        _write(figure, path)


def new_figure(title: str) -> tuple[Figure, Axes]:
    """An empty chart in the report's style."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.set_title(title, loc="left", color=COLOURS["ink"])
        axes.set_axisbelow(True)
    return figure, axes


def save(figure: Figure, path: Path, columns: int = 4) -> None:
    """Write it as SVG, the legend below in so many columns."""
    with mpl.rc_context(STYLE):
        figure.legend(frameon=False, loc="outside lower center", ncols=columns)
        _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def power_by_users(result: CaseResult, path: Path) -> None:
    """The share of worlds with an effect that were detected by then, over users relative to a z-test's horizon."""
    figure, axes = new_figure("Detected, by users relative to a fixed-horizon z-test with 80 % power")
    for percent, colour in _LIFT_COLOURS.items():
        horizon = float(str(result.notes[f"horizon.{percent}"]))
        for name, label, line in _EXPERIMENT_METHODS:
            users = np.asarray(result.series[f"{name}.curve.{percent}"]) / horizon
            share = np.linspace(0.05, 0.95, len(users)) * result.series[f"{name}.detected_late.{percent}"][0]
            axes.plot(users, share, line, color=colour, label=f"+{percent} %, {label}")
        fixed = result.series[f"fixed.detected.{percent}"][0]
        axes.plot([1.0], [fixed], "o", color=colour, label=f"+{percent} %, z-test, one look")
    axes.set_xlabel("users / horizon")
    axes.set_ylabel("share detected")
    axes.set_ylim(0, 1)
    save(figure, path, columns=3)
