"""Texts of an exact number of tokens, drawn from a seed; no two alike, so that no cache can answer for the model."""

import random
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bench.suite import Conditions

SPECIAL_TOKENS = 2  # [CLS] and [SEP]
WORDS = (
    "wedding garden summer white rustic barn modern city silk lace gold flower rose wild forest beach lake river "
    "mountain stone glass wood candle light evening morning dance music band piano guest table dinner cake chocolate "
    "lemon wine champagne photo film portrait story family friend bride groom ring dress veil suit shoe paper card "
    "letter ink blue green pink red black silver winter spring autumn sun moon star sky rain snow open small large "
    "quiet happy simple classic romantic elegant warm fresh natural traditional historic hall church house castle "
    "hotel island village valley north south old new hand made local flowers with and in the by for"
)


def load_tokenizer(bundle: Path) -> Any:
    """The bundle's tokenizer, without truncation or padding.

    Raises FileNotFoundError naming the file when there is no bundle.
    """
    path = bundle / "tokenizer.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; make the bundle with `vows-edge export minilm --out {bundle}`")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


class TextSource:
    """Draws texts of given token counts; the same seed gives the same texts in the same order."""

    def __init__(self, tokenizer: Any, seed: int) -> None:
        self._random = random.Random(seed)
        self._tokenizer = tokenizer
        self._words = [word for word in WORDS.split() if self._count(word) == SPECIAL_TOKENS + 1]

    def text(self, tokens: int) -> str:
        """A text of exactly `tokens` tokens, [CLS] and [SEP] included. Raises ValueError below 3."""
        if tokens <= SPECIAL_TOKENS:
            raise ValueError(f"a text has at least {SPECIAL_TOKENS + 1} tokens, {tokens} were requested")
        text = " ".join(self._random.choices(self._words, k=tokens - SPECIAL_TOKENS))
        found = self._count(text)
        if found != tokens:
            raise ValueError(f"this is a bug: {text!r} has {found} tokens, {tokens} were wanted")
        return text

    def texts(self, tokens: int, count: int) -> list[str]:
        """`count` such texts."""
        return [self.text(tokens) for _ in range(count)]

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text).ids)


def text_source(conditions: Conditions) -> TextSource:
    """Texts for a case, drawn from the seed of its run."""
    return TextSource(load_tokenizer(conditions.models / "minilm"), conditions.seed)
