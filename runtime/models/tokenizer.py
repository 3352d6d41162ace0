"""Text → token ids, a bounded piece at a time: neither memory nor a step's time grows with the text."""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Read when the library loads. Its own thread pool would multiply by our worker threads and outlive every batch.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.pre_tokenizers import BertPreTokenizer

# The library keeps about 80 bytes a token, and 16 a byte of text while it normalises. A piece this long takes at most
# some 2 ms in any script.
PIECE_CHARS = 2048

# Held for pieces while they are tokenised: one of a single text, one of a batch, and what a step's texts become.
SCRATCH_BYTES = 1 << 20

# Texts of a batch are tokenised together up to this many characters: one step of `in_steps`.
_STEP_CHARS = 4096

# Where a piece ends if it can: after white space, punctuation or a Chinese character. BERT's pre-tokenizer takes each
# of these for a word of its own (or drops it), whatever follows. "[" is not among them: it may begin "[SEP]".
_ENDS_PIECE = " \t\n\r!-/:-@\\\\\\]^-`{-~\u3000-\u3002\u4e00-\u9fff"
_PIECE = re.compile(f"(?s).{{0,{PIECE_CHARS - 1}}}[{_ENDS_PIECE}]")

# The library finds these in the text as it was written, before it normalises.
_SPECIAL = re.compile(r"\[(?:PAD|UNK|CLS|SEP|MASK)\]")
_SPECIAL_CHARS = 6

# A character decomposes into at most so many that are words, or parts of words, of their own: Hangul's syllables do.
MAX_TOKENS_PER_CHAR = 4

_WORD_CHARS = 100  # WordPiece reads no word longer than this: it is [UNK]


# Blocks with letters and digits that are written in another style: letterlike symbols, Roman numerals, circled letters,
# Hangul and Japanese of half width, ligatures, Arabic as it is printed, letters of full width, letters of mathematics.
# Unicode promises that what they stand for never changes, so every Python agrees.
_STYLED = (
    (0x2100, 0x218B), (0x2460, 0x24FF), (0x3131, 0x318E), (0xFB00, 0xFDFF), (0xFE70, 0xFEFC), (0xFF10, 0xFFDC),
    (0x1D400, 0x1D7FF),
)  # fmt: skip
_LATIN_LIGATURES = range(0xFB00, 0xFB07)


@dataclass(frozen=True, slots=True)
class Tokens:
    """`ids`: int32 [n], n ≤ the model's maximum. Of the whole text: `count`, its tokens with [CLS] and [SEP], and
    `unknown`, those of them that are [UNK], words that the vocabulary cannot spell."""

    ids: NDArray[np.int32]
    count: int
    unknown: int

    @property
    def truncated(self) -> bool:
        """Whether the text has more tokens than the model reads."""
        return self.count > self.ids.size


class Tokenizer:
    """BERT's tokenizer, as a bundle's `tokenizer.json` describes it. Safe to call from several threads at once.

    Raises ValueError for a tokenizer that splits words otherwise than BERT's, whose texts could not be cut here.
    """

    def __init__(self, file: Path, *, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._tokenizer: Any = HuggingFaceTokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if not isinstance(self._tokenizer.pre_tokenizer, BertPreTokenizer):
            raise ValueError(f"{file} splits words by {self._tokenizer.pre_tokenizer}; this server knows BERT's rules")
        self._cls: int = self._tokenizer.token_to_id("[CLS]")
        self._sep: int = self._tokenizer.token_to_id("[SEP]")
        self._unk: int = self._tokenizer.token_to_id("[UNK]")
        self._vocabulary: int = self._tokenizer.get_vocab_size()

    def tokenize(self, text: str) -> Tokens:
        """Token ids of a text, cut to the model's maximum with [SEP] kept last. 0.2 to 2 µs a character."""
        counted = _Counted(self)
        for ids in self._pieces(self.readable(text)):
            counted.add(ids)
        return counted.tokens()

    def readable(self, text: str) -> str:
        """The text with plain letters in place of styled ones that the vocabulary does not know, as Unicode's NFKC has
        them. What it knows ("½", "™") stays, so that other texts keep the vectors of the original model."""
        return text if text.isascii() else text.translate(self._plain)

    @cached_property
    def _plain(self) -> dict[int, str]:
        """By code point. 0.3 MiB, made for the first text that is not ASCII."""
        plain: dict[int, str] = {}
        for first, last in _STYLED:
            for code in range(first, last + 1):
                one = chr(code)
                letters = unicodedata.normalize("NFKC", one)
                known = code not in _LATIN_LIGATURES and self._tokenizer.token_to_id(one.lower()) is not None
                if unicodedata.category(one)[0] in "LN" and len(letters) <= MAX_TOKENS_PER_CHAR and not known:
                    plain[code] = letters
        return plain

    def in_steps(self, texts: Sequence[str]) -> Iterator[list[Tokens]]:
        """`tokenize` of each text, in order, as they are done: a step takes some milliseconds at most, and for a long
        text brings an empty list until its last one. The interpreter lock is free for most of it."""
        waiting: list[str] = []
        chars = 0
        for text in map(self.readable, texts):
            if waiting and chars + len(text) > _STEP_CHARS:
                yield self._together(waiting)
                waiting, chars = [], 0
            if len(text) <= PIECE_CHARS:
                waiting.append(text)
                chars += len(text)
                continue
            if waiting:
                yield self._together(waiting)
                waiting, chars = [], 0
            counted = _Counted(self)
            for ids in self._pieces(text):
                counted.add(ids)
                yield []
            yield [counted.tokens()]
        if waiting:
            yield self._together(waiting)

    def tokens(self, ids: list[int]) -> Tokens:
        """Token ids that a client made with this tokenizer. Raises ValueError where they cannot be: see below.

        Asking for [CLS] and [SEP] at the ends distinguishes this model's ids from another tokenizer's: those would be
        embedded as other words, without any error.
        """
        if len(ids) > self.max_tokens:
            raise ValueError(f"{len(ids)} token ids, and the model reads {self.max_tokens}; send text, which is cut")
        if len(ids) < 2 or ids[0] != self._cls or ids[-1] != self._sep:
            raise ValueError(
                f"token ids are those of this model's tokenizer, from [CLS] ({self._cls}) to [SEP] ({self._sep}); "
                "these are another tokenizer's (tiktoken's?) or lack the ends: send text instead"
            )
        if not all(0 <= id < self._vocabulary for id in ids):
            wrong = next(id for id in ids if not 0 <= id < self._vocabulary)
            raise ValueError(f"token id {wrong} is outside the vocabulary, 0 to {self._vocabulary - 1}")
        return Tokens(np.array(ids, np.int32), len(ids), ids.count(self._unk))

    def _pieces(self, text: str) -> Iterator[list[int]]:
        """Token ids of a text without [CLS] and [SEP], a piece at a time: the same as of the whole text."""
        start, word = 0, ""  # `word`: normalised, begun in the piece before and not known to be complete
        while len(text) - start > PIECE_CHARS:
            if found := _PIECE.match(text, start):
                yield self._ids([word + found[0]])[0]
                start, word = found.end(), ""
            else:
                end = _not_inside_special(text, start + PIECE_CHARS)
                ids, word = self._without_last_word(word + text[start:end])
                yield ids
                start = end
        yield self._ids([word + text[start:]])[0]

    def _without_last_word(self, piece: str) -> tuple[list[int], str]:
        """Token ids of a piece that may end within a word, and that word, which is not in them.

        The word is normalised, and normalising it again changes nothing. Of one that is too long to be read only so
        much is kept that it stays so.
        """
        (ids,) = self._ids([piece])
        normalised: str = self._tokenizer.normalizer.normalize_str(piece)
        # A bracket is a word of its own. Kept, it could make "[SEP]" of a text that has something invisible inside.
        if not normalised or normalised[-1].isspace() or normalised[-1] == "[":
            return ids, ""
        word: str = self._tokenizer.pre_tokenizer.pre_tokenize_str(normalised)[-1][0]
        return ids[: len(ids) - len(self._ids([word])[0])], word[: _WORD_CHARS + 1]

    def _together(self, texts: list[str]) -> list[Tokens]:
        """Tokens of texts of one piece each."""
        done = []
        for ids in self._ids(texts):
            counted = _Counted(self)
            counted.add(ids)
            done.append(counted.tokens())
        return done

    def _ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without [CLS] and [SEP]."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


class _Counted:
    """The tokens of a text whose pieces are added in order: the first ones kept, all counted."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._of = tokenizer
        self._kept = [tokenizer._cls]
        self._count = self._unknown = 0

    def add(self, ids: list[int]) -> None:
        room = self._of.max_tokens - 1 - len(self._kept)
        self._kept += ids[:room]
        self._count += len(ids)
        self._unknown += ids.count(self._of._unk)

    def tokens(self) -> Tokens:
        return Tokens(np.array([*self._kept, self._of._sep], np.int32), self._count + 2, self._unknown)


def _not_inside_special(text: str, end: int) -> int:
    """`end`, or where the special token begins that it would cut in two."""
    for special in _SPECIAL.finditer(text, end - _SPECIAL_CHARS, end + _SPECIAL_CHARS):
        if special.start() < end < special.end():
            return special.start()
    return end
