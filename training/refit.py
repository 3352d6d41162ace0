"""A checkpoint that has seen everything: one more epoch over the whole log, what chose its epochs included."""

from dataclasses import replace

from training.batches import Windows
from training.checkpoint import Checkpoint
from training.data.events import Dataset
from training.train import epoch_order, optimizer_of, step, usable_device, with_items_of

_RATE = 0.3  # of the recipe's learning rate


def refitted(checkpoint: Checkpoint, data: Dataset, device: str = "cpu") -> Checkpoint:
    """The checkpoint after one epoch over all of `data`, at a low and falling learning rate. Raises TrainingError for
    a loss that is not finite."""
    recipe = replace(checkpoint.recipe, learning_rate=_RATE * checkpoint.recipe.learning_rate, warmup=1)
    model, counts = with_items_of(checkpoint, data)
    model.to(usable_device(device))
    optimizer = optimizer_of(model, recipe)
    order = epoch_order(Windows(data, recipe.context, negatives=recipe.negatives), None, recipe, recipe.epochs, 0.0)
    for number, (source, chosen) in enumerate(order):
        batch = source.batch(chosen, (recipe.seed, recipe.epochs, number))
        step(model, optimizer, batch, recipe, number, len(order))
    return replace(checkpoint, model=model.eval(), interactions=counts)
