"""What the study runs, the most valuable first: where time runs out, the end of the list is missing."""

from dataclasses import dataclass

from training.evaluation.baselines import Logistic
from training.experiments.study.baselines import RANKERS
from training.experiments.study.data import KINDS, NO_ORDER, ORDER, OWN_LAWS, REAL_SETS, TOGETHER, world_key
from training.experiments.study.jobs import COMMITTED, ORACLE, Job
from training.experiments.study.variants import FULL, INPUTS, PLAIN, WITHOUT, WITHOUT_IDS, differs
from training.published.model import PUBLISHED, WITH_TEXT
from training.recipes import RECIPES

PARTS_OF_STUDY = ("ablations", "published", "worlds")


@dataclass(frozen=True)
class Size:
    """seeds of every training; held-out worlds of each kind and the first of their seeds; worlds to pre-train on."""

    seeds: int = 3
    worlds: int = 3
    first_world: int = 2_001
    pretraining: int = 16
    sets: tuple[str, ...] = REAL_SETS


def plan(parts: tuple[str, ...], size: Size) -> list[Job]:
    """The jobs of these parts of PARTS_OF_STUDY, each once: pre-training, then round by round one more seed and one
    more world, so that a study that is cut short has a little of everything."""
    trained = tuple(range(size.pretraining))
    half = trained[: max(1, size.pretraining // 2)]
    jobs: list[Job] = []
    if "worlds" in parts:
        jobs += [Job(kind, model, pretraining=trained) for kind in (OWN_LAWS, ORDER) for model in (FULL, PLAIN)]
        jobs.append(Job(NO_ORDER, FULL, pretraining=half))
    for number in range(max(size.seeds, size.worlds)):
        seed, held_out = number, size.first_world + number
        ordered, unordered = (world_key(kind, held_out) for kind in (ORDER, NO_ORDER))
        if "ablations" in parts and number < size.seeds:
            jobs += [
                Job(name, model, seed) for name in size.sets for model in _variants(name, (PLAIN, *WITHOUT, *INPUTS))
            ]
        if "worlds" in parts and number < size.worlds:
            jobs += [job for kind in KINDS for job in _on_world(kind, held_out)]
        if "worlds" in parts and number < size.seeds:
            jobs += [Job(name, FULL, seed, COMMITTED) for name in size.sets]
            jobs += [Job(name, model, seed, f"{model}, {OWN_LAWS}") for name in size.sets for model in (FULL, PLAIN)]
        if "ablations" in parts and number < size.worlds:
            jobs += [Job(key, model) for key in (ordered, unordered) for model in (FULL, PLAIN, *WITHOUT, *INPUTS)]
            jobs += [Job(key, model, start=COMMITTED) for key in (ordered, unordered) for model in (FULL, WITHOUT_IDS)]
        if "published" in parts and number < size.seeds:
            jobs += [Job(name, one.name, seed) for name in size.sets for one in (*PUBLISHED, WITH_TEXT)]
        if "published" in parts and number < size.worlds:
            jobs += [Job(ordered, one.name) for one in (*PUBLISHED, WITH_TEXT)]
    held_out_worlds = range(size.first_world, size.first_world + size.worlds)
    if "ablations" in parts:
        jobs += [Job(TOGETHER, model, pretraining=tuple(held_out_worlds)) for model in (FULL, PLAIN, *WITHOUT)]
        jobs += [
            Job(world_key(ORDER, one), model, start=f"{model}, {TOGETHER}")
            for model in (FULL, PLAIN, *WITHOUT)
            for one in held_out_worlds
        ]
    if "worlds" in parts:
        jobs += [Job(world_key(kind, one), name) for one in held_out_worlds for kind in KINDS for name in RANKERS]
    if "ablations" in parts and "worlds" in parts:
        jobs += [Job(OWN_LAWS, model, pretraining=trained) for model in WITHOUT]
        jobs += [
            Job(world_key(kind, one), model, start=f"{model}, {OWN_LAWS}")
            for one in held_out_worlds
            for kind in (OWN_LAWS, ORDER)
            for model in WITHOUT
        ]
    return list(dict.fromkeys(jobs))


def _on_world(kind: str, seed: int) -> list[Job]:
    """One held-out world: fine-tuned from each pre-training that has something to say about it, and from random
    weights."""
    key = world_key(kind, seed)
    own, same = (tuple(f"{model}, {of}" for model in (FULL, PLAIN)) for of in (OWN_LAWS, ORDER))
    starts = {ORDER: (*own, *same), OWN_LAWS: (*own, *same), NO_ORDER: (f"{FULL}, {NO_ORDER}",)}.get(kind, own)
    return [
        *(Job(key, start.split(", ")[0], start=start) for start in starts),
        Job(key, FULL, start=COMMITTED),
        *(Job(key, model) for model in (FULL, PLAIN, Logistic.name, ORACLE)),
    ]


def _variants(name: str, models: tuple[str, ...]) -> list[str]:
    """The full model, and those of `models` that differ from it on a public set."""
    return [model for model in (FULL, *models) if differs(model, RECIPES[name]())]
