"""Models of the study that differ from the full one: in a part of the sequence model, or in what items are known by."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from training.data.events import Dataset
from training.data.split import Split
from training.recipes import PARTS, Recipe, without

FULL, PLAIN = "full", "plain"  # with all parts, and without any
WITHOUT = tuple(f"without {part}" for part in PARTS)
WITHOUT_IDS = "without factorised ids"  # the one part that a checkpoint trained with it can be fine-tuned without
NO_TEXT = "without texts"

# What an item is known by, each left out: with the recipe that lacks it.
INPUTS: dict[str, Callable[[Recipe], Recipe]] = {
    "without ids": lambda recipe: replace(recipe, id_rank=0),
    NO_TEXT: lambda recipe: recipe,  # the data set is another, see `data_of`
}


def parts_off(model: str) -> tuple[str, ...]:
    """The parts that a model of the study lacks: "without X", or "without X + Y"."""
    if model == PLAIN:
        return tuple(PARTS)
    found = tuple(model.removeprefix("without ").split(" + "))
    return found if set(found) <= set(PARTS) else ()


def recipe_of(model: str, recipe: Recipe) -> Recipe:
    """A data set's recipe as this model has it."""
    return INPUTS[model](recipe) if model in INPUTS else without(recipe, parts_off(model))


def data_of(model: str, split: Split) -> Split:
    """A data set as this model reads it."""
    return Split(*map(without_text, split)) if model == NO_TEXT else split


def differs(model: str, recipe: Recipe) -> bool:
    """Whether this model is another one on a data set with this recipe: what it does not use cannot be left out."""
    return model in (FULL, NO_TEXT) or recipe_of(model, recipe) != recipe


def without_text(dataset: Dataset) -> Dataset:
    """The same log with content vectors of zero: items are known by their ids alone."""
    catalogue = dataset.catalogue
    return replace(dataset, catalogue=replace(catalogue, vectors=np.zeros_like(catalogue.vectors)))
