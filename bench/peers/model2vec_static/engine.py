"""model2vec with a table distilled from the same weights."""

from pathlib import Path

import numpy as np
from model2vec import StaticModel

from bench.peers.front import Embed


def load(model: Path) -> Embed:
    """Texts to float32 [n, 256]."""
    static = StaticModel.from_pretrained(str(model))
    return lambda texts: static.encode(texts, use_multiprocessing=False).astype(np.float32)
