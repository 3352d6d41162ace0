"""The runtime's encoder, one text a run as in the server."""

from pathlib import Path

import numpy as np

from bench.peers.front import Embed
from runtime.models.bundle import Bundle
from runtime.models.text_encoder import load_encoder


def load(model: Path) -> Embed:
    """Texts to float32 [n, 384]."""
    encoder, _ = load_encoder(Bundle.load(model, kind="text-encoder"))
    return lambda texts: np.stack([encoder.embed(tokens.ids) for tokens in map(encoder.tokenize, texts)])
