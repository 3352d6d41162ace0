"""sentence-transformers on torch, one thread, defaults otherwise."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from bench.peers.front import Embed


def load(model: Path) -> Embed:
    """Texts to float32 [n, 384]."""
    torch.set_num_threads(1)
    engine = SentenceTransformer(str(model), device="cpu")
    return lambda texts: engine.encode(texts, normalize_embeddings=True, show_progress_bar=False)
