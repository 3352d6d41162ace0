"""infinity-emb's engine on torch, which batches requests that arrive together; one thread, defaults otherwise."""

from pathlib import Path

import numpy as np
import torch
from infinity_emb import AsyncEmbeddingEngine, EngineArgs
from numpy.typing import NDArray

from bench.peers.front import Embed


def load(model: Path) -> Embed:
    """Texts to an awaitable float32 [n, 384]."""
    torch.set_num_threads(1)
    arguments = EngineArgs(model_name_or_path=str(model), engine="torch", device="cpu", bettertransformer=False)
    engine = AsyncEmbeddingEngine.from_args(arguments)

    async def embed(texts: list[str]) -> NDArray[np.float32]:
        if not engine.is_running:
            await engine.astart()
        vectors, _ = await engine.embed(sentences=texts)
        return np.stack(vectors).astype(np.float32)

    return embed
