"""The recipes: every parameter of a training run in one frozen place, each a function that says what it costs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from training.errors import TrainingError
from training.layers import ModelConfig
from training.losses import LossWeights

FULL_SOFTMAX = 5_000  # items; beyond it, the next item is told from sampled ones


@dataclass(frozen=True)
class Recipe:
    """One complete run.

    layers … pointer_decay: see ModelConfig. context: events a window. batch: windows a step. epochs: at most; patience:
    epochs without a better validation loss before it stops. learning_rate: the peak, reached after warmup steps and
    falling to a tenth along a cosine over all epochs; item codes, of which a step touches few, learn code_rate times as
    fast. negatives: items drawn a step where there are more than FULL_SOFTMAX. factors: item codes begin as what texts
    leave unexplained (training/factors.py), after the first epoch or, where the weights come from another catalogue,
    before it. min_events: fewer than these and the served model leaves a user to the cold start.
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
    taste_steps: int = 4
    pointer_gain: float = 1.0
    pointer_decay: float = 0.0
    context: int = 128
    batch: int = 32
    epochs: int = 30
    patience: int = 4
    learning_rate: float = 2e-3
    code_rate: float = 1.0
    warmup: int = 100
    weight_decay: float = 0.02
    clip: float = 1.0
    negatives: int = 2_048
    factors: bool = False
    min_events: int = 3
    seed: int = 0
    loss: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        if self.window > self.context:
            raise TrainingError(
                f"window {self.window} is longer than the context of {self.context} events: what lies beyond would "
                "be served and never trained; lower window or raise context"
            )
        self.model(items=1)  # its own refusals, before anything is loaded

    def model(self, items: int) -> ModelConfig:
        """The model's configuration for a catalogue of so many items. Raises TrainingError."""
        try:
            shared = {one.name for one in fields(ModelConfig)} & {one.name for one in fields(self)}
            return ModelConfig(items=items, **{name: getattr(self, name) for name in shared})
        except ValueError as error:
            raise TrainingError(f"recipe {self.name}: {error}") from error

    def parameters(self) -> dict[str, Any]:
        """What the checkpoint records."""
        return asdict(self)

    @classmethod
    def of(cls, parameters: dict[str, Any]) -> "Recipe":
        """Inverse of `parameters`."""
        loss: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in parameters["loss"].items()}
        return cls(**{**parameters, "loss": LossWeights(**loss)})


def tiny() -> Recipe:
    """Seconds, in the tests: the whole path at a size that proves nothing about quality."""
    return Recipe(
        "tiny", width=16, heads=2, window=8, id_rank=4, context=16, batch=8, epochs=2, warmup=4, learning_rate=5e-3,
        factors=True,
    )  # fmt: skip


def reference() -> Recipe:
    """The committed checkpoint: 4 layers of 64 over 16 simulated worlds, 1.9 million events an epoch.

    A core reads 3,000 to 4,000 events a second: eight to eleven minutes an epoch, and six for the factors. Up to 2 GB
    of memory.
    """
    return Recipe(
        "reference", window=128, batch=8, dropout=0.0, id_dropout=0.25, epochs=5, patience=3, learning_rate=2.5e-3,
        warmup=400, factors=True, loss=LossWeights(next_item=0.2),
    )  # fmt: skip


def world() -> Recipe:
    """One simulated world from random weights, knowing of it what its baselines know: a few minutes on a core."""
    return replace(reference(), name="world", dropout=0.1, epochs=10, patience=2)


def going_on(recipe: Recipe) -> Recipe:
    """The recipe of a checkpoint for another world's past: a low rate, because the laws are known, and a high one for
    the codes of its items, which are not. Chosen on development world 900 among three."""
    return replace(recipe, name="pretrained on other worlds", epochs=4, learning_rate=3e-4, code_rate=40.0, warmup=20)


def full() -> Recipe:
    """8 layers of 128 over windows of 256: hours on two cores, for a log of your own with millions of events."""
    return Recipe(
        "full", layers=8, width=128, heads=8, window=128, context=256, id_rank=64, learning_rate=1e-3, epochs=40,
    )  # fmt: skip


def deskdrop() -> Recipe:
    """The public set of that name, chosen on its validation part (see training/tuning.py): a minute or two on a core.

    Without ids: the articles of next month have none.
    """
    return Recipe(
        "deskdrop", context=64, batch=32, epochs=4, patience=2, learning_rate=3e-3, warmup=40, id_rank=0,
        pointer_gain=6.0, pointer_decay=0.3, dropout=0.3, weight_decay=0.5,
    )  # fmt: skip


def ml_100k() -> Recipe:
    """The public set of that name, not searched for: titles say little about films, so ids count; minutes on a core."""
    return Recipe(
        "ml-100k", context=128, batch=16, epochs=4, patience=2, learning_rate=3e-3, warmup=40, dropout=0.2, id_rank=64,
        id_half=5.0, id_dropout=0.1,
    )  # fmt: skip


def kuairand() -> Recipe:
    """The public set of that name, not searched for: items are known by their ids alone there."""
    return Recipe(
        "kuairand_explicit", context=64, batch=32, epochs=6, patience=2, learning_rate=3e-3, warmup=40, id_rank=64,
        id_half=5.0, id_dropout=0.0,
    )  # fmt: skip


def completejourney() -> Recipe:
    """The public set of that name, not searched for, for some of its households: a few minutes on a core."""
    return Recipe(
        "completejourney", context=128, batch=16, epochs=4, patience=2, learning_rate=3e-3, warmup=40, id_half=5.0
    )  # fmt: skip


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
