"""Distance of a quantised encoder from the fp32 one: cosines of vectors, Spearman correlation of scores."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from export.encoder import INPUT
from export.recipes import Gate
from export.stsb import Pairs, spearman
from export.tokens import TokenIds, token_ids
from runtime.models.session import create_session

Vectors = NDArray[np.float32]  # [texts, dimensions], unit rows


class Encoder:
    """A graph on disk, run as the runtime runs it, with its tokenizer."""

    def __init__(self, model_file: Path, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._session = create_session(model_file)
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    def ids(self, text: str) -> TokenIds:
        """Token ids int32 [1, tokens], cut as the runtime cuts."""
        return token_ids(self._tokenizer, text, self._max_tokens)

    def embed_ids(self, ids: TokenIds) -> NDArray[np.float32]:
        """Unit vector float32 [dimensions]."""
        (vector,) = self._session.run(None, {INPUT: ids})
        return np.asarray(vector[0], np.float32)

    def embed(self, texts: Iterable[str]) -> Vectors:
        """Unit rows float32 [texts, dimensions]."""
        return np.stack([self.embed_ids(self.ids(text)) for text in texts])


@dataclass(frozen=True)
class Cosines:
    """Cosines between two encoders' vectors of the same texts."""

    texts: int
    mean: float
    min: float


def cosines(reference: Vectors, candidate: Vectors) -> Cosines:
    """Of unit rows, summed in float64."""
    products = np.einsum("td,td->t", reference.astype(np.float64), candidate.astype(np.float64))
    return Cosines(texts=len(products), mean=float(products.mean()), min=float(products.min()))


def vectors_spearman(first: Vectors, second: Vectors, pairs: Pairs) -> float:
    """Spearman correlation between the cosine of a pair's vectors and people's score of the pair."""
    return spearman(np.einsum("td,td->t", first, second).astype(np.float64), pairs.scores)


def cosine_misses(what: str, measured: Cosines, gate: Gate) -> list[str]:
    """One sentence per missed limit, with the distance to it; empty when it passes."""
    misses = []
    for name, value, limit in (
        ("mean", measured.mean, gate.min_mean_cosine),
        ("minimum", measured.min, gate.min_cosine),
    ):
        if not value >= limit:  # a NaN misses
            misses.append(
                f"{what}: {name} cosine to fp32 is {value:.5f}, the gate is {limit:.5f}: {limit - value:.5f} short"
            )
    return misses


def spearman_misses(what: str, reference: float, measured: float, gate: Gate) -> list[str]:
    """One sentence when a similarity benchmark lost more than the gate allows."""
    loss = reference - measured
    if loss <= gate.max_spearman_loss:
        return []
    return [
        f"{what}: Spearman is {measured:.4f}, fp32 has {reference:.4f}; it may lose {gate.max_spearman_loss:.4f} and "
        f"loses {loss:.4f}: {loss - gate.max_spearman_loss:.4f} too much"
    ]
