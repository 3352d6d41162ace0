"""embed_anything, which runs the float32 weights on candle, in Rust."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers.embed_anything.build import NAME
from bench.peers.front import Embed


def load(model: Path) -> Embed:
    """Texts to float32 [n, 384]."""
    os.environ["HF_HOME"] = str(model)  # read as it looks for the weights
    import embed_anything as library

    embedder = library.EmbeddingModel.from_pretrained_hf(model_id=NAME)

    def embed(texts: list[str]) -> NDArray[np.float32]:
        return np.asarray([one.embedding for one in library.embed_query(texts, embedder=embedder)], np.float32)

    return embed
