"""The data of the study: public sets, and held-out worlds of several kinds."""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.checkpoint import replacing
from training.data import public
from training.data.events import Dataset
from training.data.split import Split, by_time
from training.experiments.study.effort import EFFORTS, USUAL
from training.simulator.multi_world import SHARES, side_by_side
from training.simulator.parameters import Parameters
from training.simulator.world import World, simulate

REAL_SETS = ("deskdrop", "ml-100k", "kuairand_explicit", "completejourney")
HOUSEHOLDS = 300  # of completejourney: its evaluation would take longer than all others together

# Kinds of worlds. In all of them but the first something differs from what the sequence model or the reference assumes.
ORDER, OWN_LAWS, WEAKEST, FRESH, NO_ORDER = "order", "own laws", "weakest traits", "freshness", "no order"
KINDS = (ORDER, OWN_LAWS, WEAKEST, FRESH, NO_ORDER)
TOGETHER = f"{ORDER}, together"  # one model of all held-out worlds' pasts, tested on their futures


def parameters_of(kind: str, seed: int, effort: str = USUAL) -> Parameters:
    """The parameters of a world, with what the effort changes.

    own laws: phase needs and complements permuted. weakest traits: utility has another form than the model's preference
    regression. freshness: an item's appeal fades in hours. no order: order strength 0.
    """
    base = Parameters(**EFFORTS[effort].world)
    return {
        ORDER: base,
        OWN_LAWS: replace(base, laws=seed + 1),
        WEAKEST: replace(base, utility_form="weakest"),
        FRESH: replace(base, items=5 * base.items // 2, born_later=0.75, freshness=1.2, policy_freshness=12.0),
        NO_ORDER: replace(base, order_strength=0.0),
    }[kind]


def world_key(kind: str, seed: int) -> str:
    """Name of a world as data of a job."""
    return f"world {seed}, {kind}"


def kind_of(pretraining: str) -> str:
    """The kind of the worlds of a pre-training."""
    return ORDER if pretraining == TOGETHER else pretraining


def is_world(key: str) -> bool:
    """Whether a key names a simulated world."""
    return key.startswith("world ")


def seed_of(key: str) -> int:
    """The seed of a world, by its key."""
    return int(key.removeprefix("world ").split(", ", 1)[0])


def load_world(key: str, folder: Path, effort: str = USUAL) -> World:
    """A world by its key, simulated once and kept in `folder`."""
    seed, kind = seed_of(key), key.split(", ", 1)[1]
    file = folder / f"{kind.replace(' ', '-')}-{seed}-{effort}" / "world.pickle"
    if not file.exists():
        world = simulate(parameters_of(kind, seed, effort), seed)
        with replacing(file.parent) as made:
            (made / file.name).write_bytes(pickle.dumps(world))
    found: World = pickle.loads(file.read_bytes())
    return found


def load_set(name: str, folder: Path, data_dir: Path | None) -> Dataset:
    """A public set with the vectors of its texts, made once and kept in `folder`."""
    file = folder / name / "set.pickle"
    if not file.exists():
        dataset = public.load(name, data_dir)
        dataset = dataset.some_users(HOUSEHOLDS) if name == "completejourney" else dataset
        with replacing(file.parent) as made:
            (made / file.name).write_bytes(pickle.dumps(dataset))
    found: Dataset = pickle.loads(file.read_bytes())
    return found


def load_split(key: str, folder: Path, data_dir: Path | None, effort: str = USUAL) -> Split:
    """A public set or a world, split in time."""
    if is_world(key):
        return by_time(load_world(key, folder, effort).dataset)
    return by_time(load_set(key, folder, data_dir))


def training_worlds(kind: str, seeds: Sequence[int], folder: Path, effort: str = USUAL) -> Split:
    """Several worlds of one kind side by side, for pre-training; of those that are tested together, only their past."""
    shares, kind = ((), ORDER) if kind == TOGETHER else ((SHARES,), kind)
    splits = [by_time(load_world(world_key(kind, seed), folder, effort).dataset, *shares) for seed in seeds]
    if len(splits) == 1:
        return splits[0]
    parameters = parameters_of(kind, 0) if kind != OWN_LAWS else Parameters()
    parts = [side_by_side([split[part] for split in splits], seeds, parameters) for part in range(3)]
    return Split(*(replace(part, name=f"{part.name}, {kind}") for part in parts))
