"""Sizes of the sequence model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelConfig:
    """What a checkpoint's weights fit.

    items                         rows of the id embedding
    layers, width, heads, window  of the encoder; 4 to 24 layers; events that an event attends to
    id_rank, id_half              rank of the id embedding; interactions at which it has half of its full weight
    dropout, id_dropout           of the encoder; of id embeddings, so that the text has to do for new items
    preference_embedding_dropout  of the onboarding preferences, which most users do not have
    candidate_layers              blocks of a candidate over the encoded events
    similarity                    size of the embedding that tells which items are alike
    traits                        item traits that the preference regression weighs
    preference_regression, similarity_kernels, pointer  whether the model has these parts; its shapes stay the same
    regression_steps              gradient steps of the preference regression, at least 1
    pointer_gain, pointer_decay   initial weight of the pointer in the user vector; initial score it loses per event in
                                  between
    content, output               sizes of content vectors and of user and item vectors
    """

    items: int
    layers: int = 4
    width: int = 64
    heads: int = 4
    window: int = 64
    dropout: float = 0.1
    id_rank: int = 16
    id_half: float = 20.0
    id_dropout: float = 0.3
    preference_embedding_dropout: float = 0.3
    candidate_layers: int = 2
    similarity: int = 32
    traits: int = 16
    regression_steps: int = 4
    preference_regression: bool = True
    similarity_kernels: bool = True
    pointer: bool = True
    pointer_gain: float = 1.0
    pointer_decay: float = 0.0
    content: int = 384
    output: int = 128

    def __post_init__(self) -> None:
        if not 4 <= self.layers <= 24:
            raise ValueError(f"layers is {self.layers}, the model is made for 4 to 24")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of {self.heads} heads")

    @property
    def encoded(self) -> tuple[int, int, int, int]:
        """Sizes of what stands for an encoded event, see `training.model.EncodedHistory`."""
        return self.width, self.traits, self.output, self.similarity

    @property
    def hidden(self) -> int:
        """The sum of `encoded`."""
        return sum(self.encoded)
