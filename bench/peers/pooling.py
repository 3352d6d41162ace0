"""What engines that stop at hidden states need around them: token ids padded to the longest, mean pooling.

It runs in an engine's own environment, which has numpy and tokenizers.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

MAX_TOKENS = 256


def load_tokenizer(model: Path) -> Any:
    """The tokenizer of a model folder, cut at 256 tokens, without padding."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer


def token_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, [CLS] and [SEP] included."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def padded(ids: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids int64 [n, longest], 0 where a text has ended, and the mask int64 [n, longest] of those that count."""
    out = np.zeros((len(ids), max(map(len, ids))), np.int64)
    mask = np.zeros_like(out)
    for row, text in enumerate(ids):
        out[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return out, mask


def pool(hidden: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit vectors float32 [n, 384]: the mean of hidden states [n, longest, 384] over the tokens that count."""
    weights = mask.astype(np.float32)
    means = np.matmul(weights[:, None, :], hidden)[:, 0, :]  # [n, 384]; the length cancels out of the unit vector
    vectors: NDArray[np.float32] = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    return vectors
