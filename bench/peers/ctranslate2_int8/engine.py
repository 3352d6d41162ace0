"""CTranslate2's encoder with int8 products."""

from pathlib import Path

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from bench.peers.front import Embed
from bench.peers.pooling import load_tokenizer, pool, token_ids


def load(model: Path) -> Embed:
    """Texts to float32 [n, 384]."""
    encoder = ctranslate2.Encoder(str(model), device="cpu", compute_type="int8", inter_threads=1, intra_threads=1)
    tokenizer = load_tokenizer(model)

    def embed(texts: list[str]) -> NDArray[np.float32]:
        ids = token_ids(tokenizer, texts)
        hidden = np.asarray(encoder.forward_batch(ids).last_hidden_state)  # [n, longest, 384]
        lengths = np.asarray([len(text) for text in ids])
        return pool(hidden, (np.arange(hidden.shape[1]) < lengths[:, None]).astype(np.int64))

    return embed
