"""fastembed with the float32 export as a custom model, one thread, defaults otherwise."""

from pathlib import Path

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

from bench.peers.front import Embed

NAME = "all-MiniLM-L6-v2 (exported)"


def load(model: Path) -> Embed:
    """Texts to float32 [n, 384]."""
    TextEmbedding.add_custom_model(
        model=NAME,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="http://127.0.0.1/not-fetched"),  # one has to be named; the folder is given below
        dim=384,
        model_file="model.onnx",
    )
    engine = TextEmbedding(NAME, specific_model_path=str(model), threads=1)
    return lambda texts: np.stack(list(engine.embed(texts))).astype(np.float32)
