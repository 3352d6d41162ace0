"""Several simulated worlds as one data set, each split in time by itself: the training data of the reference
checkpoint."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from training.data.events import Catalogue, Dataset, Events
from training.data.split import Split, by_time
from training.simulator.expected_actions import expected_actions
from training.simulator.parameters import Parameters
from training.simulator.world import simulate

SHARES = (0.9, 0.08, 0.02)  # of a world's events: these worlds are used for training and early stopping only


def multi_world_with_expected(seeds: Sequence[int], parameters: Parameters) -> tuple[Split, NDArray[np.float32]]:
    """As `multi_world`, with `expected_actions` of the training part, float32 [events, 4]."""
    splits, expected = [], []
    for seed in seeds:
        world = simulate(parameters, seed)
        split = by_time(world.dataset, SHARES)
        splits.append(split)
        in_training = world.dataset.events.time_us <= split.train.events.time_us.max()
        expected.append(expected_actions(world)[in_training])
    return _joined(splits, seeds, parameters), np.concatenate(expected)


def multi_world(seeds: Sequence[int], parameters: Parameters) -> Split:
    """The worlds of these seeds in one data set. Users and items are distinct: ids have the seed as a prefix, and every
    world has its own catalogue_id."""
    return _joined([by_time(simulate(parameters, seed).dataset, SHARES) for seed in seeds], seeds, parameters)


def _joined(splits: Sequence[Split], seeds: Sequence[int], parameters: Parameters) -> Split:
    if len(splits) == 1:
        return splits[0]
    return Split(*(side_by_side([split[part] for split in splits], seeds, parameters) for part in range(3)))


def side_by_side(parts: Sequence[Dataset], seeds: Sequence[int], parameters: Parameters) -> Dataset:
    """Several data sets as one, each with its own catalogue_id."""
    catalogues = [part.catalogue for part in parts]
    users = np.cumsum([0, *(len(part.users) for part in parts)])
    items = np.cumsum([0, *(len(catalogue) for catalogue in catalogues)])
    columns = {name: np.concatenate([getattr(part.events, name) for part in parts]) for name in vars(parts[0].events)}
    world = np.repeat(np.arange(len(parts)), [len(part.events) for part in parts])
    columns["user"] = (columns["user"] + users[world]).astype(np.int32)
    columns["item"] = (columns["item"] + items[world]).astype(np.int32)
    preferences = [part.preference_embedding for part in parts if part.preference_embedding is not None]
    return replace(
        parts[0],
        name=f"{len(seeds)} simulated worlds, {parameters.describe()}, seeds {seeds_text(seeds)}",
        users=[f"{seed}/{id}" for seed, part in zip(seeds, parts, strict=True) for id in part.users],
        catalogue=Catalogue(
            ids=[f"{seed}/{id}" for seed, one in zip(seeds, catalogues, strict=True) for id in one.ids],
            texts=[text for one in catalogues for text in one.texts],
            vectors=np.concatenate([one.vectors for one in catalogues]),
            created_us=np.concatenate([one.created_us for one in catalogues]),
            category=np.concatenate([one.category for one in catalogues]),
        ),
        events=Events(**columns),
        catalogue_id=np.repeat(np.arange(len(parts)), [len(one) for one in catalogues]).astype(np.int16),
        preference_embedding=np.concatenate(preferences) if preferences else None,
    )


def seeds_text(seeds: Sequence[int]) -> str:
    """ "0 to 23" where they are in a row, else each."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
