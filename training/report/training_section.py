"""The report's section on training: the reference's curve, tuned recipes, incremental training."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from training.evaluation import charts, incremental_records, trial_records
from training.evaluation.incremental_records import IncrementalResult
from training.evaluation.markdown import table
from training.evaluation.trial_records import Trial


def training_section(folder: Path, checkpoint: Path, charts_folder: Path) -> str:
    """Markdown from the record files in `folder` and a checkpoint's metrics; parts without a file are left out."""
    incremental = incremental_records.read(folder / incremental_records.INCREMENTAL)
    parts = [
        _curve(checkpoint, charts_folder),
        *(_incremental(list(rows)) for _, rows in _by_data(incremental)),
        _tuning(trial_records.read(folder / trial_records.TUNING)),
    ]
    return "\n".join(part for part in parts if part)


def _curve(checkpoint: Path, folder: Path) -> str:
    file = checkpoint / "metrics.json"
    if not file.exists():
        return ""
    curve = json.loads(file.read_text())
    epochs = curve[-1]["epoch"]
    data = json.loads((checkpoint / "config.json").read_text())["data"]
    charts.training_curve(curve, data["name"], folder / "training-curve.svg")
    return "\n".join(
        [
            "## Training curve of the reference checkpoint",
            "",
            f"`{checkpoint.as_posix()}`: {data['training_events']:,} events of {data['name']}, "
            f"{epochs} epoch{'s' * (epochs > 1)}, {curve[-1]['seconds']:,.0f} s. "
            "The epoch with the lowest validation loss is kept.",
            "",
            "![training curve](charts/training-curve.svg)",
            "",
        ]
    )


def _incremental(rows: Sequence[IncrementalResult]) -> str:
    rows = [row for row in rows if row.recipe == rows[-1].recipe]
    before = next((row for row in rows if row.name == "before"), rows[0])
    cells = [
        [
            row.name, f"{row.events:,}", f"{row.seconds:.0f}",
            f"{row.old.loss:.4f} ({row.old.loss - before.old.loss:+.4f})", f"{row.old.accuracy:.1%}",
            f"{row.old.hit_rate:.1%}", f"{row.new.loss:.4f} ({row.new.loss - before.new.loss:+.4f})",
            f"{row.new.accuracy:.1%}", f"{row.new.hit_rate:.1%}",
        ]
        for row in rows
    ]  # fmt: skip
    head = [
        "model", "events per epoch", "seconds", "old period: loss", "accuracy", "HR@10", "new period: loss", "accuracy",
        "HR@10",
    ]  # fmt: skip
    return "\n".join(
        [
            f"## Incremental training: {rows[0].data}",
            "",
            f"Tested on {before.old.events:,} events of the old period and {before.new.events:,} of the new period, "
            "on which no model was trained. In brackets: the difference to the earlier checkpoint; a higher loss on "
            "the old period is forgetting. Replay: windows of older events per window of new ones.",
            "",
            table(head, cells),
            "",
        ]
    )


def _tuning(rows: Sequence[Trial]) -> str:
    if not rows:
        return ""
    cells = []
    for data, found in _by_data(rows):
        trials = list(found)
        start, best = trials[0], max(trials, key=lambda row: row.ndcg10)
        changes = {key: value for key, value in best.recipe.items() if value != start.recipe[key]}
        changed = ", ".join(f"{key} {_short(value)}" for key, value in changes.items()) or "nothing"
        cells.append([data, str(len(trials)), f"{start.ndcg10:.4f}", f"{best.ndcg10:.4f}", changed])
    return "\n".join(
        [
            "## Recipes tuned on real data",
            "",
            "NDCG@10 on the validation events that baselines are tuned on. The best recipe is the one that is tested.",
            "",
            table(["data", "recipes tried", "first", "best", "changed in the best"], cells),
            "",
        ]
    )


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_short(part)}" for key, part in value.items())
    return "/".join(f"{part:g}" for part in value) if isinstance(value, list) else str(value)


def _by_data(rows: Iterable[Any]) -> Iterable[tuple[str, Iterable[Any]]]:
    return groupby(sorted(rows, key=lambda row: row.data), key=lambda row: row.data)
