"""A checkpoint's model card, written from its own files."""

from pathlib import Path

from training.checkpoint import WEIGHTS, Checkpoint

_CARD = """\
---
license: apache-2.0
library_name: pytorch
tags: [sequential-recommendation, personalisation]
---
# Sequence model, recipe {name}

What a user did → a 128-d vector of what they want now, and the probabilities of skip, view, save and share for a
candidate. Code: `training/model.py`. Made by `vows-edge train`, served after
`vows-edge export sequence --checkpoint` with this folder. This card is generated.

| | |
|---|---|
| parameters | {parameters:,} ({bytes:.1f} MB on disk) |
| size | {layers} layers of {width}, {heads} heads, window of {window} events, context of {context} |
| trained on | {data} |
| events | {training_events:,} for training, {validation_events:,} for validation |
| items | {items:,}, of which {known:,} have an id-embedding of weight above 0 |
| licence of the data | {licence} |
| seed | {seed} |
| time | {seconds:,.0f} s in {epochs} epochs; the best was number {best} |

Validation chose the epoch, so these figures flatter it; a test set is measured by `vows-edge evaluate`.

| epoch | loss | action | next item | accuracy of the action | hits in 10 |
|---|---|---|---|---|---|
{curve}

## What it is for, and what not
{limits}
"""

_SIMULATED = """\
It learned how a simulator of wedding planning behaves: phases, budgets of attention, what follows what. It shows that
the whole path works, and what it can learn where there is an order to learn. It has never seen a person. Train on your
own log (`--events`) before you rank with it; until then it is a starting point, and `--from` takes it as one."""
_REAL = """\
It learned from the log named above and knows the items of that log by their ids; other items it knows by their text."""


def checkpoint_card(checkpoint: Checkpoint, folder: Path) -> str:
    """Markdown."""
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
        training_events=data["training_events"],
        validation_events=data["validation_events"],
        items=data["items"],
        known=int((checkpoint.interactions > 0).sum()),
        licence=data["licence"] or "not stated",
        seed=recipe.seed,
        seconds=curve[-1]["seconds"],
        epochs=len(curve),
        best=best["epoch"],
        curve="\n".join(rows),
        limits=_SIMULATED if "simulated" in data["name"] else _REAL,
    )
