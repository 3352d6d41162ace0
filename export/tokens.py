"""Text to token ids, cut the way the runtime cuts."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

MAX_TOKENS = 256

TokenIds = NDArray[np.int32]  # [1, tokens]


def load_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that neither cuts nor pads, whatever its file asks for."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_ids(tokenizer: Tokenizer, text: str, max_tokens: int = MAX_TOKENS) -> TokenIds:
    """int32 [1, tokens], tokens ≤ max_tokens: the first max_tokens − 1 ids and the closing [SEP] of a longer text."""
    ids = tokenizer.encode(text).ids
    if len(ids) > max_tokens:
        ids = [*ids[: max_tokens - 1], ids[-1]]
    return np.asarray([ids], dtype=np.int32)
