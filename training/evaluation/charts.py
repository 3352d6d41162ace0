"""The report's charts as SVG files, drawn from the results alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from training.evaluation.results import Actions, Figure, Ranking

_INK = "#26323a"
_PALETTE = ("#0b6e6e", "#d1662b", "#5b5ea6", "#b3261e", "#7a8b1c", "#8a949b")
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "vows-edge",  # the same figures give the same bytes
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "grid.color": "#e3e7e9",
    "figure.facecolor": "white",
}


def omega_curve(series: Mapping[str, Sequence[tuple[float, Figure]]], label: str, path: Path) -> None:
    """A line a contender with its interval, over omega."""
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(f"{label} as order comes to matter")
        for number, (name, points) in enumerate(series.items()):
            omegas = [omega for omega, _ in points]
            middle = [figure.value for _, figure in points]
            colour = _PALETTE[number % len(_PALETTE)]
            bound = name.startswith("attainable")
            axes.plot(omegas, middle, label=name, color=_INK if bound else colour, linestyle="--" if bound else "-")
            axes.fill_between(
                omegas, [f.low for _, f in points], [f.high for _, f in points], alpha=0.15,
                color=_INK if bound else colour, linewidth=0,
            )  # fmt: skip
        axes.set_xlabel("ω: 0 order means nothing, 1 everything follows it")
        axes.set_ylabel(label)
        _save(canvas, path)


def training_curve(curve: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Losses of training and validation, and validation accuracy on an axis of its own, over epochs."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(8, 4.4), layout="constrained")
        left, right = canvas.subplots(1, 2)
        epochs = [line["epoch"] for line in curve]
        for colour, part, name in ((_PALETTE[0], "action", "next action"), (_PALETTE[1], "item", "next item")):
            left.plot(
                epochs,
                [line["training"][part] for line in curve],
                color=colour,
                linestyle="--",
                label=f"{name}, training",
            )
            left.plot(
                epochs,
                [line["validation"][f"{part}_loss"] for line in curve],
                color=colour,
                marker="o",
                label=f"{name}, validation",
            )
        for colour, part, name in (
            (_PALETTE[2], "accuracy", "accuracy of the action"),
            (_PALETTE[3], "hit_rate", "hits in 10"),
        ):
            right.plot(
                epochs,
                [line["validation"][part] for line in curve],
                color=colour,
                marker="o",
                label=f"{name}, validation",
            )
        for axes, label in ((left, "cross entropy"), (right, "share")):
            axes.set_axisbelow(True)
            axes.set_xlabel("epoch")
            axes.set_ylabel(label)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.suptitle(f"Trained on {title}", x=0.01, ha="left", color=_INK, fontsize=11)
        _save(canvas, path)


def cold_start(rankings: Sequence[Ranking], title: str, path: Path) -> None:
    """R(k): NDCG@10 from the last k events over NDCG@10 from all, on the same targets."""
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(f"R(k) on {title}")
        for number, ranking in enumerate(rankings):
            figures = ranking.cold_start_ndcg10
            warm = figures.get("all", 0.0)
            if warm <= 0:
                continue
            ks = [int(k) for k in figures if k != "all"]
            axes.plot(
                ks, [figures[str(k)] / warm for k in ks], marker="o", label=ranking.contender,
                color=_PALETTE[number % len(_PALETTE)],
            )  # fmt: skip
        axes.axhline(0.9, color=_INK, linestyle=":", linewidth=1)
        axes.set_xlabel("events of history")
        axes.set_ylabel("share of warm NDCG@10")
        axes.set_ylim(bottom=0)
        _save(canvas, path)


def calibration(actions: Sequence[Actions], title: str, path: Path) -> None:
    """Stated probability against how often it happened, all actions together; bins with few events are left out."""
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(f"Calibration on {title}")
        axes.plot([0, 1], [0, 1], color=_INK, linestyle=":", linewidth=1)
        for number, one in enumerate(actions):
            enough = [row for row, count in enumerate(one.bins.count) if count >= 30]
            axes.plot(
                [one.bins.stated[row] for row in enough], [one.bins.observed[row] for row in enough], marker="o",
                label=one.contender, color=_PALETTE[number % len(_PALETTE)],
            )  # fmt: skip
        axes.set_xlabel("stated probability")
        axes.set_ylabel("observed share")
        _save(canvas, path)


def _canvas(title: str) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(8, 4.4), layout="constrained")
    axes = canvas.subplots()
    axes.set_title(title, loc="left", color=_INK)
    axes.set_axisbelow(True)
    return canvas, axes


def _save(canvas: Canvas, path: Path) -> None:
    canvas.legend(frameon=False, loc="outside lower center", ncols=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
