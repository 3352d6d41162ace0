"""The recipes: every parameter of a quantisation and of its gate, in one frozen place each."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Gate:
    """What a bundle must reach to be written. Cosines are to the fp32 graph, over texts not used for calibration."""

    min_mean_cosine: float = 0.998
    min_cosine: float = 0.99
    max_spearman_loss: float = 0.003  # on STS-B dev; 0.3 points of 100
    max_model_bytes: int | None = 25_000_000  # each of the graph's files


@dataclass(frozen=True)
class Recipe:
    """How the fp32 graph becomes what is shipped.

    quantise       False keeps fp32 weights and one encoding named "fp32".
    per_channel    one weight scale per output channel, instead of one for the matrix.
    equalise_alpha how much of the activations' per-channel range moves into the weights, 0 … 1; None leaves them
                   as they are.
    split_neurons  neurons added to each feed-forward layer to share the load of its outliers.
    calm_detectors rescale the neurons that fire at one token per text; the feed-forward's second product, for which
                   they are the reason to equalise, is then not equalised.
    """

    name: str
    quantise: bool = True
    per_channel: bool = True
    equalise_alpha: float | None = 0.75
    split_neurons: int = 16
    calm_detectors: bool = True
    gate: Gate = field(default_factory=Gate)

    def parameters(self) -> dict[str, Any]:
        """What the manifest records."""
        return asdict(self)


# fp32 against fp32: only the order of sums may differ.
_SAME_ARITHMETIC = Gate(0.99999, 0.99999, 0.0001, max_model_bytes=None)

INT8 = Recipe("int8")
FP32 = Recipe(
    "fp32",
    quantise=False,
    per_channel=False,
    equalise_alpha=None,
    split_neurons=0,
    calm_detectors=False,
    gate=_SAME_ARITHMETIC,
)
# What INT8 adds, one thing at a time; `compare` shows what each is worth, and the gate refuses the first three.
_PLAIN = Recipe("int8-plain", equalise_alpha=None, split_neurons=0, calm_detectors=False)
PER_TENSOR = replace(_PLAIN, name="int8-per-tensor", per_channel=False)
PER_CHANNEL = replace(_PLAIN, name="int8-per-channel")
EQUALISED = Recipe("int8-equalised", split_neurons=0, calm_detectors=False)
SPLIT = Recipe("int8-split", calm_detectors=False)
STEPS_TO_INT8 = (PER_TENSOR, PER_CHANNEL, EQUALISED, SPLIT, INT8)

RECIPES = {recipe.name: recipe for recipe in (FP32, *STEPS_TO_INT8)}
