"""Training recipes: every parameter of a run in one frozen dataclass; each recipe is a function that states its
cost."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from training.errors import TrainingError
from training.model_config import ModelConfig

_NEWER = ("preference_regression", "similarity_kernels", "pointer", "expected_actions", "averaged")
KNOWN = 0.5  # share of events with items that were met before, from which on ids are learned
FULL_SOFTMAX = 5_000  # items; larger catalogues train the next item against sampled negatives


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss.

    action, item  of each action (skip, view, save, share) in the two cross entropies. A skipped item is no target of
                  the next-item loss: it was shown, not wanted
    contrastive   of the contrastive loss, relative to the next-item loss
    next_item     of both of these, relative to the action loss: their gradients are many times as large
    """

    action: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    item: tuple[float, float, float, float] = (0.0, 1.0, 1.0, 1.0)
    contrastive: float = 0.1
    next_item: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """One complete run.

    layers … pointer_decay  see ModelConfig
    context, batch          events per window, windows per step
    epochs, patience        at most; epochs without a better validation loss before the run stops
    learning_rate, warmup   the peak, reached after `warmup` steps, then a cosine down to a tenth of it over all epochs
    id_rate_factor          learning rate of id embeddings, of which a step touches few, relative to the others
    negatives               items sampled per step for catalogues of more than FULL_SOFTMAX items
    factorised_ids          initialise id embeddings by factorising what texts leave unexplained (id_embeddings.py):
                            after the first epoch or, where the weights come from another catalogue, before it
    expected_actions        train on the probabilities of actions, which a simulator knows, in place of the drawn ones
                            (simulator/expected_actions.py): for pre-training on simulated worlds alone
    averaged                keep the mean of the weights after every step since the first epoch, not the last ones
    min_events              users with fewer events get the cold-start vector from the served model
    """

    name: str
    layers: int = 4
    width: int = 64
    heads: int = 4
    window: int = 64
    dropout: float = 0.1
    id_rank: int = 16
    id_half: float = 20.0
    id_dropout: float = 0.3
    candidate_layers: int = 2
    regression_steps: int = 4
    preference_regression: bool = True
    similarity_kernels: bool = True
    pointer: bool = True
    pointer_gain: float = 1.0
    pointer_decay: float = 0.0
    context: int = 128
    batch: int = 32
    epochs: int = 30
    patience: int = 4
    learning_rate: float = 2e-3
    id_rate_factor: float = 1.0
    warmup: int = 100
    weight_decay: float = 0.02
    clip: float = 1.0
    negatives: int = 2_048
    factorised_ids: bool = False
    expected_actions: bool = False
    averaged: bool = False
    min_events: int = 3
    seed: int = 0
    loss: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        if self.window > self.context:
            raise TrainingError(
                f"window {self.window} is longer than the context of {self.context} events: distances beyond the "
                "context would be served but never trained; lower window or raise context"
            )
        self.model(items=1)  # raises for contradictions, before any data is loaded

    def model(self, items: int) -> ModelConfig:
        """The model's configuration for a catalogue of this size. Raises TrainingError."""
        try:
            shared = {one.name for one in fields(ModelConfig)} & {one.name for one in fields(self)}
            return ModelConfig(items=items, **{name: getattr(self, name) for name in shared})
        except ValueError as error:
            raise TrainingError(f"recipe {self.name}: {error}") from error

    def parameters(self) -> dict[str, Any]:
        """As a plain dictionary, which checkpoints record. Fields that are newer than some checkpoints are left out
        where they have their default: a recipe that did not change stays equal to its records."""
        defaults = {one.name: one.default for one in fields(self)}
        return {name: value for name, value in asdict(self).items() if name not in _NEWER or value != defaults[name]}

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> "Recipe":
        """Inverse of `parameters`."""
        loss: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in parameters["loss"].items()}
        return cls(**{**parameters, "loss": LossWeights(**loss)})


def tiny() -> Recipe:
    """For tests, seconds: the complete path at a size that shows nothing about quality."""
    return Recipe(
        "tiny", width=16, heads=2, window=8, id_rank=4, context=16, batch=8, epochs=2, warmup=4, learning_rate=5e-3,
        factorised_ids=True,
    )  # fmt: skip


def reference() -> Recipe:
    """The committed checkpoint: 4 layers of width 64 over 16 simulated worlds, 1.9 million events per epoch, then three
    epochs over 24 others and one over 56 more, with the probabilities of actions as targets (`make train`).

    One core processes 3,000 to 6,000 events per second: five to eleven minutes per epoch of 16 worlds, and up to six
    for the factorisation of the id embeddings. Up to 2 GB of memory.
    """
    return Recipe(
        "reference", window=128, batch=8, dropout=0.0, id_dropout=0.25, epochs=5, patience=3, learning_rate=2.5e-3,
        warmup=400, factorised_ids=True, loss=LossWeights(next_item=0.2),
    )  # fmt: skip


def world() -> Recipe:
    """One simulated world from random weights, trained on the same events as its baselines: minutes on one core."""
    return replace(reference(), name="world", dropout=0.1, epochs=10, patience=2)


# The machinery beyond a standard transformer: each part by its name, with the recipe that lacks it.
PARTS: dict[str, Callable[[Recipe], Recipe]] = {
    "preference regression": lambda recipe: replace(recipe, preference_regression=False),
    "factorised ids": lambda recipe: replace(recipe, factorised_ids=False),
    "pointer": lambda recipe: replace(recipe, pointer=False),
    "similarity kernels": lambda recipe: replace(recipe, similarity_kernels=False),
    "candidate blocks": lambda recipe: replace(recipe, candidate_layers=0),
    "contrastive loss": lambda recipe: replace(recipe, loss=replace(recipe.loss, contrastive=0.0)),
}


# What no real log defends, by the rule of docs/decisions/024. The recipe of a log of your own leaves them out.
NOT_FOR_LOGS = ("factorised ids", "similarity kernels", "candidate blocks")


def without(recipe: Recipe, parts: Iterable[str]) -> Recipe:
    """The recipe without these parts of PARTS. Without all of them it is a standard transformer over text and ids."""
    for part in parts:
        recipe = PARTS[part](recipe)
    return recipe


def fine_tuning(recipe: Recipe) -> Recipe:
    """A checkpoint's recipe for fine-tuning on another world's past: a low learning rate, because the laws are the
    same, and a high one for the id embeddings of its items, which are new. Selected among three on development world
    900."""
    return replace(
        recipe,
        name="fine-tuned from other worlds",
        epochs=4,
        learning_rate=3e-4,
        id_rate_factor=40.0,
        warmup=20,
        expected_actions=False,
        averaged=True,
    )


def full() -> Recipe:
    """8 layers of width 128 over windows of 256, for a log with millions of events: hours on two cores."""
    return Recipe(
        "full", layers=8, width=128, heads=8, window=128, context=256, id_rank=64, learning_rate=1e-3, epochs=40,
    )  # fmt: skip


def deskdrop() -> Recipe:
    """The public data set Deskdrop, tuned on its validation part (experiments/tuning.py): minutes on one core.

    Without id embeddings: the articles of next month have none.
    """
    return Recipe(
        "deskdrop", context=64, batch=32, epochs=4, patience=2, learning_rate=3e-3, warmup=40, id_rank=0,
        pointer_gain=6.0, pointer_decay=0.3, dropout=0.3, weight_decay=0.5,
    )  # fmt: skip


def ml_100k() -> Recipe:
    """The public data set MovieLens 100K, not tuned: titles say little about films, so ids matter; minutes on one
    core."""
    return Recipe(
        "ml-100k", context=128, batch=16, epochs=4, patience=2, learning_rate=3e-3, warmup=40, dropout=0.2, id_rank=64,
        id_half=5.0, id_dropout=0.1,
    )  # fmt: skip


def kuairand() -> Recipe:
    """The public data set KuaiRand, not tuned: its items have no texts, only ids; minutes on one core."""
    return Recipe(
        "kuairand_explicit", context=64, batch=32, epochs=6, patience=2, learning_rate=3e-3, warmup=40, id_rank=64,
        id_half=5.0, id_dropout=0.0,
    )  # fmt: skip


def completejourney() -> Recipe:
    """The public data set Complete Journey, not tuned, for a sample of its households: minutes on one core."""
    return Recipe(
        "completejourney", context=128, batch=16, epochs=4, patience=2, learning_rate=3e-3, warmup=40, id_half=5.0
    )  # fmt: skip


def of_log(events: int, known: float) -> Recipe:
    """For your own log with so many engaged events: minutes on one core for a hundred thousand, a quarter of an hour
    for a million.

    known: share of the newest events whose item had been met often before. Where it is small, as in a feed of news, ids
    of items say nothing about what comes next, and the model reads texts alone. A small log is read more often: the
    number of steps stays what the public sets of this size were tuned to. Parts that no real log defends are left out,
    and no log gets a larger model: whether one is better was not measured (`full` is one).
    """
    epochs = max(3, min(20, math.ceil(200_000 / max(events, 1))))
    chosen = replace(ml_100k() if known >= KNOWN else deskdrop(), epochs=epochs)
    return without(replace(chosen, name="log"), NOT_FOR_LOGS)


RECIPES: dict[str, Callable[[], Recipe]] = {
    "tiny": tiny,
    "reference": reference,
    "world": world,
    "full": full,
    # By the names of the public sets (training.data.public.NAMES)
    "deskdrop": deskdrop,
    "ml-100k": ml_100k,
    "kuairand_explicit": kuairand,
    "completejourney": completejourney,
}
