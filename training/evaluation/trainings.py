"""The report's part on trainings: the reference's curve, ablations, recipes that were tried, going on from before."""

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from training.evaluation import charts, continued, trials
from training.evaluation.continued import Continued
from training.evaluation.table import table
from training.evaluation.trials import Trial


def trainings(folder: Path, checkpoint: Path, charts_folder: Path) -> str:
    """From the files beside the results in `folder`, and a checkpoint's own; what is not there has no part."""
    parts = [
        _curve(checkpoint, charts_folder),
        *(_ablations(list(rows)) for _, rows in _by_data(trials.read(folder / trials.ABLATIONS))),
        *(_continued(list(rows)) for _, rows in _by_data(continued.read(folder / continued.INCREMENTAL))),
        _tuning(trials.read(folder / trials.TUNING)),
    ]
    return "\n".join(part for part in parts if part)


def _curve(checkpoint: Path, folder: Path) -> str:
    file = checkpoint / "metrics.json"
    if not file.exists():
        return ""
    curve = [line for line in json.loads(file.read_text()) if line["epoch"] > 0]
    config = json.loads((checkpoint / "config.json").read_text())
    charts.training_curve(curve, config["data"]["name"], folder / "training-curve.svg")
    return "\n".join(
        [
            "## How the reference learned",
            "",
            f"`{checkpoint.as_posix()}`: {config['data']['training_events']:,} events of {config['data']['name']}, "
            f"{len(curve)} epochs, {curve[-1]['seconds']:,.0f} s. Validation chose the epoch.",
            "",
            "![training curve](charts/training-curve.svg)",
            "",
        ]
    )


def _ablations(rows: Sequence[Trial]) -> str:
    """Newest recipe last in the file: only trials of one base are comparable, those of the last."""
    last = max(number for number, row in enumerate(rows) if row.group == "as it is" and row.name == "seed 0")
    rows = rows[last:]
    base = rows[0]
    seeds = [row.ndcg10 for row in rows if row.group == "as it is"]
    cells = [
        [
            row.group, row.name, f"{row.loss:.4f}", f"{row.action_loss:.4f}", f"{row.accuracy:.1%}",
            f"{row.hit_rate:.1%}", f"{row.ndcg10:.4f}", f"{row.ndcg10 - base.ndcg10:+.4f}",
            f"{row.best_epoch} of {row.epochs}", f"{row.seconds:.0f}",
        ]
        for row in rows
    ]  # fmt: skip
    head = ["changed", "to", "loss", "action loss", "accuracy", "hits in 10", "NDCG@10", "change", "best epoch", "s"]
    return "\n".join(
        [
            f"## One thing changed at a time: {base.data}",
            "",
            "Validation events; the loss is by the same weights for all. As it is: "
            + ", ".join(f"{key} {base.recipe[key]}" for key in ("layers", "width", "window", "context", "id_rank"))
            + f", all actions alike, contrastive {base.recipe['loss']['contrastive']}, at most {base.recipe['epochs']} "
            f"epochs. Seeds alone move NDCG@10 by {max(seeds) - min(seeds):.4f}: less than that says nothing.",
            "",
            table(head, cells),
            "",
        ]
    )


def _continued(rows: Sequence[Continued]) -> str:
    rows = [row for row in rows if row.recipe == rows[-1].recipe]
    before = next((row for row in rows if row.name == "before"), rows[0])
    cells = []
    for row in rows:
        forgotten = row.old.loss - before.old.loss
        cells.append(
            [
                row.name, f"{row.events:,}", f"{row.seconds:.0f}",
                f"{row.old.loss:.4f} ({forgotten:+.4f})", f"{row.old.accuracy:.1%}", f"{row.old.hit_rate:.1%}",
                f"{row.new.loss:.4f} ({row.new.loss - before.new.loss:+.4f})", f"{row.new.accuracy:.1%}",
                f"{row.new.hit_rate:.1%}",
            ]
        )  # fmt: skip
    head = [
        "model", "events an epoch", "s", "old time: loss", "accuracy", "hits in 10", "new time: loss", "accuracy",
        "hits in 10",
    ]  # fmt: skip
    return "\n".join(
        [
            f"## Going on from an earlier checkpoint: {rows[0].data}",
            "",
            f"{before.old.events:,} events of the old time and {before.new.events:,} of the new one that nobody was "
            "trained on. In brackets: against the checkpoint before; a loss that rises on the old time is what was "
            "forgotten. Replay: older windows for a new one.",
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
        tried = list(found)
        start, best = tried[0], max(tried, key=lambda row: row.ndcg10)
        changes = {key: value for key, value in best.recipe.items() if value != start.recipe[key]}
        said = ", ".join(f"{key} {_short(value)}" for key, value in changes.items()) or "nothing"
        cells.append([data, str(len(tried)), f"{start.ndcg10:.4f}", f"{best.ndcg10:.4f}", said])
    return "\n".join(
        [
            "## Recipes tried on real sets",
            "",
            "NDCG@10 on the validation events that baselines are tuned on; the best is what the test part is asked of.",
            "",
            table(["set", "recipes", "start", "best", "changed"], cells),
            "",
        ]
    )


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_short(part)}" for key, part in value.items())
    return "/".join(f"{part:g}" for part in value) if isinstance(value, list) else str(value)


def _by_data(rows: Iterable[Any]) -> Iterable[tuple[str, Iterable[Any]]]:
    return groupby(sorted(rows, key=lambda row: row.data), key=lambda row: row.data)
