"""The model card of a checkpoint, written from its own files."""

from pathlib import Path

from training.checkpoint import WEIGHTS, Checkpoint

_CARD = """\
---
license: apache-2.0
library_name: pytorch
tags: [sequential-recommendation, personalisation]
---
# Sequence model, recipe {name}

From a user's history to a 128-d user vector, and to the probabilities of skip, view, save and share for a candidate.
Code: `training/model.py`. Made by `vows-edge train`; served after `vows-edge export sequence --checkpoint`
with this folder. This card is generated.

| | |
|---|---|
| parameters | {parameters:,} ({bytes:.1f} MB on disk) |
| size | {layers} layers of {width}, {heads} heads, window of {window} events, context of {context} |
| trained on | {data} |
| targets of the next action | {targets} |
| events | {training_events:,} for training, {validation_events:,} for validation |
| items | {items:,}, of which {known:,} have an id embedding of weight above 0 |
| licence of the data | {licence} |
| seed | {seed} |
| started from | {start} |
| time | {seconds:,.0f} s for {epochs} epochs; the best was number {best} |

The epoch with the lowest validation loss is kept, so these figures are optimistic; `vows-edge evaluate`
measures on test events.

| epoch | loss | action loss | next-item loss | next-action accuracy | HR@10 |
|---|---|---|---|---|---|
{curve}

## Intended use and limits
{limits}
"""

_SIMULATED = """\
Trained on a simulator of couples who plan a wedding: phases, satiation, complements. It shows that the whole pipeline
works, and what the model learns where there is an order to learn. It has never seen data of real people. Train on your
own log (`--events`) before you rank with it, from random weights or from this checkpoint (`--from`)."""
_REAL = """\
Trained on the log named above. It knows the items of that log by their ids, other items by their text."""


def checkpoint_card(checkpoint: Checkpoint, folder: Path) -> str:
    """The card as Markdown. folder: with the weights, whose size is stated."""
    curve = [line for line in checkpoint.metrics if line["epoch"] > 0]
    best = min(curve, key=lambda line: line["validation"]["loss"])
    rows = [
        f"| {line['epoch']} | {v['loss']:.4f} | {v['action_loss']:.4f} | {v['item_loss']:.4f} | {v['accuracy']:.1%} | "
        f"{v['hit_rate']:.1%} |"
        for line in curve
        for v in (line["validation"],)
    ]
    recipe, data = checkpoint.recipe, checkpoint.data
    return _CARD.format(
        name=recipe.name,
        parameters=sum(parameter.numel() for parameter in checkpoint.model.parameters()),
        bytes=(folder / WEIGHTS).stat().st_size / 1e6,
        layers=recipe.layers,
        width=recipe.width,
        heads=recipe.heads,
        window=recipe.window,
        context=recipe.context,
        data=data["name"],
        targets="their probabilities, which the simulator knows" if recipe.expected_actions else "what was done",
        training_events=data["training_events"],
        validation_events=data["validation_events"],
        items=data["items"],
        known=int((checkpoint.interactions > 0).sum()),
        licence=data["licence"] or "unknown",
        seed=recipe.seed,
        start=f"the run {checkpoint.lineage[-2]}" if len(checkpoint.lineage) > 1 else "random weights",
        seconds=curve[-1]["seconds"],
        epochs=len(curve),
        best=best["epoch"],
        curve="\n".join(rows),
        limits=_SIMULATED if "simulated" in data["name"] else _REAL,
    )
