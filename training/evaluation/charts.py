"""The report's charts as SVG files, drawn from the results alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from training.evaluation.results import Actions, Figure, Ranking

ORACLE = "oracle (Bayes-optimal)"
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


def order_strength_curve(series: Mapping[str, Sequence[tuple[float, Figure]]], label: str, path: Path) -> None:
    """A metric with its interval over the order strength ω, one line per model. series: model → (ω, figure)."""
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(f"{label} over order strength ω")
        for number, (name, points) in enumerate(series.items()):
            strengths = [strength for strength, _ in points]
            colour, line = (_INK, "--") if name == ORACLE else (_PALETTE[number % len(_PALETTE)], "-")
            axes.plot(strengths, [figure.value for _, figure in points], label=name, color=colour, linestyle=line)
            low, high = ([getattr(figure, bound) for _, figure in points] for bound in ("low", "high"))
            axes.fill_between(strengths, low, high, alpha=0.15, color=colour, linewidth=0)
        axes.set_xlabel("order strength ω (0: the order of events does not matter, 1: it matters fully)")
        axes.set_ylabel(label)
        _save(canvas, path)


def training_curve(curve: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Training and validation loss, and beside them validation accuracy and HR@10, over epochs; epoch 0, which has
    no training loss, is before a fine-tuning."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(8, 4.4), layout="constrained")
        left, right = canvas.subplots(1, 2)
        epochs, trained = [line["epoch"] for line in curve], [line for line in curve if line["epoch"] > 0]
        for colour, part, name in ((_PALETTE[0], "action", "next action"), (_PALETTE[1], "item", "next item")):
            left.plot(
                [line["epoch"] for line in trained],
                [line["training"][part] for line in trained],
                color=colour,
                linestyle="--",
                marker=".",
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
            (_PALETTE[2], "accuracy", "next-action accuracy"),
            (_PALETTE[3], "hit_rate", "HR@10"),
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
        canvas.suptitle(f"Training on {title}", x=0.01, ha="left", color=_INK, fontsize=11)
        _save(canvas, path)


def cold_start(rankings: Sequence[Ranking], title: str, path: Path) -> None:
    """R(k): NDCG@10 from the last k events divided by NDCG@10 from the whole history, on the same targets."""
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(f"Cold start, R(k), on {title}")
        for number, ranking in enumerate(rankings):
            figures = ranking.cold_start_ndcg10
            warm = figures.get("all", 0.0)
            if warm <= 0:
                continue
            ks = [int(k) for k in figures if k != "all"]
            axes.plot(
                ks, [figures[str(k)] / warm for k in ks], marker="o", label=ranking.model,
                color=_PALETTE[number % len(_PALETTE)],
            )  # fmt: skip
        axes.axhline(0.9, color=_INK, linestyle=":", linewidth=1)
        axes.set_xlabel("k: events of history")
        axes.set_ylabel("R(k): share of the NDCG@10 with the whole history")
        axes.set_ylim(bottom=0)
        _save(canvas, path)


def calibration(actions: Sequence[Actions], title: str, path: Path) -> None:
    """Predicted probability against observed share, all actions together; bins with fewer than 30 events are left
    out."""
    with mpl.rc_context(_STYLE):
        canvas, axes = _canvas(f"Calibration on {title}")
        axes.plot([0, 1], [0, 1], color=_INK, linestyle=":", linewidth=1)
        for number, one in enumerate(actions):
            enough = [row for row, count in enumerate(one.bins.count) if count >= 30]
            axes.plot(
                [one.bins.predicted[row] for row in enough], [one.bins.observed[row] for row in enough], marker="o",
                label=one.model, color=_PALETTE[number % len(_PALETTE)],
            )  # fmt: skip
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("observed share")
        _save(canvas, path)


def intervals(labels: Sequence[str], series: Mapping[str, Sequence[Figure]], title: str, path: Path) -> None:
    """Figures with their intervals, a row a label, a colour a series. series: name → one figure a label."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(8, 1.4 + 0.42 * len(labels)), layout="constrained")
        axes = canvas.subplots()
        axes.set_title(title, loc="left", color=_INK)
        axes.set_axisbelow(True)
        for number, (name, figures) in enumerate(series.items()):
            height = [row + 0.15 * (number - (len(series) - 1) / 2) for row in range(len(labels))]
            values = [figure.value for figure in figures]
            around = [
                [max(0.0, figure.value - figure.low) for figure in figures],
                [max(0.0, figure.high - figure.value) for figure in figures],
            ]
            axes.errorbar(
                values, height, xerr=around, label=name, color=_PALETTE[number % len(_PALETTE)], linestyle="none",
                marker="o", markersize=4,
            )  # fmt: skip
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlim(left=0)
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
