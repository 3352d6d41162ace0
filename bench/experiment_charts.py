"""The chart of the suite `experiments`."""

from pathlib import Path

import numpy as np

from bench.case_result import CaseResult
from bench.charts import new_figure, save

_METHODS = (("ours", "always valid (ours)", "-"), ("growthbook", "GrowthBook, sequential", ":"))
_COLOURS = {5: "#d1662b", 10: "#0b6e6e", 20: "#26323a"}  # by the lift in per cent


def power(result: CaseResult, path: Path) -> None:
    """The share of worlds with an effect that were detected by then, over users relative to a z-test's horizon."""
    figure, axes = new_figure("Detected, by users relative to a fixed-horizon z-test with 80 % power")
    for percent, colour in _COLOURS.items():
        horizon = float(str(result.notes[f"horizon.{percent}"]))
        for name, label, line in _METHODS:
            users = np.asarray(result.series[f"{name}.curve.{percent}"]) / horizon
            share = np.linspace(0.05, 0.95, len(users)) * result.series[f"{name}.detected_late.{percent}"][0]
            axes.plot(users, share, line, color=colour, label=f"+{percent} %, {label}")
        fixed = result.series[f"fixed.detected.{percent}"][0]
        axes.plot([1.0], [fixed], "o", color=colour, label=f"+{percent} %, z-test, one look")
    axes.set_xlabel("users / horizon")
    axes.set_ylabel("share detected")
    axes.set_ylim(0, 1)
    save(figure, path, columns=3)
