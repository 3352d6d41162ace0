"""WordLlama: a table trained from a language model's token embeddings, which its package brings."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import wordllama
from numpy.typing import NDArray

from bench.peers.front import Embed


def load(model: Path) -> Embed:
    """Texts to float32 [n, 256]."""
    with tempfile.TemporaryDirectory() as folder:  # it looks for its tokenizer in a folder of another name
        shutil.copytree(Path(wordllama.__file__).parent / "tokenizers", Path(folder) / "tokenizers")
        shutil.copytree(Path(wordllama.__file__).parent / "tokenizers", Path(folder) / "tokenizer")
        table = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def embed(texts: list[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = table.embed(texts, norm=True).astype(np.float32)
        return vectors

    return embed
