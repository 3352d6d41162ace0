"""Several simulated worlds as one data set, each cut in time by itself: what the reference checkpoint is trained on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.data.events import Catalogue, Dataset, Events
from training.data.split import Split, by_time
from training.simulator.parameters import Parameters
from training.simulator.world import simulate

SHARES = (0.9, 0.08, 0.02)  # of a world's events: nothing is measured on these worlds but when to stop


def worlds(seeds: Sequence[int], parameters: Parameters) -> Split:
    """The worlds of these seeds side by side. Their users and items stay apart: ids carry the seed, and a market is a
    world."""
    splits = [by_time(simulate(parameters, seed).dataset, SHARES) for seed in seeds]
    if len(splits) == 1:
        return splits[0]
    return Split(*(beside([split[part] for split in splits], seeds, parameters) for part in range(3)))


def beside(parts: Sequence[Dataset], seeds: Sequence[int], parameters: Parameters) -> Dataset:
    """One data set of several, each a market of its own."""
    catalogues = [part.catalogue for part in parts]
    users = np.cumsum([0, *(len(part.users) for part in parts)])
    items = np.cumsum([0, *(len(catalogue) for catalogue in catalogues)])
    columns = {name: np.concatenate([getattr(part.events, name) for part in parts]) for name in vars(parts[0].events)}
    world = np.repeat(np.arange(len(parts)), [len(part.events) for part in parts])
    columns["user"] = (columns["user"] + users[world]).astype(np.int32)
    columns["item"] = (columns["item"] + items[world]).astype(np.int32)
    stated = [part.stated for part in parts if part.stated is not None]
    return replace(
        parts[0],
        name=f"{len(seeds)} simulated worlds, omega {parameters.omega:g}, seeds {seeds_text(seeds)}",
        users=[f"{seed}/{id}" for seed, part in zip(seeds, parts, strict=True) for id in part.users],
        catalogue=Catalogue(
            ids=[f"{seed}/{id}" for seed, one in zip(seeds, catalogues, strict=True) for id in one.ids],
            texts=[text for one in catalogues for text in one.texts],
            vectors=np.concatenate([one.vectors for one in catalogues]),
            created_us=np.concatenate([one.created_us for one in catalogues]),
            category=np.concatenate([one.category for one in catalogues]),
        ),
        events=Events(**columns),
        market=np.repeat(np.arange(len(parts)), [len(one) for one in catalogues]).astype(np.int16),
        stated=np.concatenate(stated) if stated else None,
    )


def seeds_text(seeds: Sequence[int]) -> str:
    """ "0 to 23" where they are in a row, else each."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
