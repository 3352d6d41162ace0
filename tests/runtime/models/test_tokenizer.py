"""Pieces give the tokens of the whole text, whatever it is made of; what can be seen is what leaves a token."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.pre_tokenizers import Whitespace

from runtime.models import tokenizer as module
from runtime.models.tokenizer import MAX_TOKENS_PER_CHAR, PIECE_CHARS, Tokenizer
from runtime.system.text import visible

EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]

# What makes cutting hard: special tokens, accents and jamo at an edge, marks that are reordered, characters that the
# normaliser drops or turns into others, words too long to read, scripts without spaces.
HARD = [
    "a", "barn", "x" * 30, "y" * 101, "[SEP]", "[CLS]", "[", "]", "[MASK", "SEP]", "!", "=", "\u0338", "\u0301",
    "e\u0301", "\u302e", "\U0001d165", "\u3099", "か", "あ", "花", "。", "สวน", "\u0e31", "각", "\u1161",
    "\u1100\u1161", "😀", "👩\u200d🚒",
    "ß", "İ", "ﬁ", "\u00a8", "²", "ﷺ", "\uf900", "\U0002f800", " ", "   ", "\n", "\u2028", "\u00a0", "\x00",
    "\x0b", "\x85", "\u00ad", "\u200b", "\ufffd", "\ufeff",
]  # fmt: skip
hard_texts = st.one_of(
    st.lists(st.sampled_from(HARD), max_size=120).map("".join),
    st.lists(st.sampled_from(HARD), min_size=1, max_size=3).flatmap(
        lambda few: st.lists(st.sampled_from(few), max_size=200).map("".join)
    ),
    st.text(max_size=200),
)


@pytest.fixture(scope="module")
def whole(bundle_path, encoder):
    """Token ids by the library at once, of the whole text and uncut, styled letters aside."""
    library = HuggingFaceTokenizer.from_file(str(bundle_path / "tokenizer.json"))
    library.no_truncation()
    library.no_padding()
    return lambda text: library.encode(encoder.tokenizer.readable(text)).ids


@pytest.fixture(scope="module")
def small_pieces(bundle_path):
    """The tokenizer with pieces of 12 characters, so that every text of some length is cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE_CHARS", 12)
        patch.setattr(module, "_STEP_CHARS", 30)
        patch.setattr(module, "_PIECE", re.compile(f"(?s).{{0,11}}[{module._ENDS_PIECE}]"))
        yield Tokenizer(bundle_path / "tokenizer.json", max_tokens=32)


def assert_same(tokens, ids, most):
    assert tokens.ids.tolist() == (ids if len(ids) <= most else [*ids[: most - 1], 102])
    assert (tokens.count, tokens.unknown) == (len(ids), ids.count(100))


@given(text=hard_texts)
@settings(max_examples=300)
def test_pieces_have_the_tokens_of_the_whole_text(small_pieces, whole, text):
    assert_same(small_pieces.tokenize(text), whole(text), 32)


@given(texts=st.lists(hard_texts, max_size=6))
@settings(max_examples=60)
def test_steps_have_the_tokens_of_the_whole_texts_in_order(small_pieces, whole, texts):
    done = [tokens for step in small_pieces.in_steps(texts) for tokens in step]
    assert len(done) == len(texts)
    for tokens, text in zip(done, texts, strict=True):
        assert_same(tokens, whole(text), 32)


@pytest.mark.parametrize(
    "unit", ["!", "barn ", "花嫁", "สวนดอกไม้", "あ", "😀", "[", "[SEP]", "\u200b", " ", "a\u0301", "\u302e", "ﷺ"]
)
def test_long_texts_in_real_pieces(encoder, whole, unit):
    for text in (unit * (2 * PIECE_CHARS + 7), "x" * (PIECE_CHARS - 2) + unit * 9, unit * PIECE_CHARS + "[SEP] barn"):
        assert_same(encoder.tokenize(text), whole(text), 256)


def test_a_piece_may_end_after_each_of_these_whatever_follows(encoder):
    ids, ends = encoder.tokenizer._ids, re.compile(f"[{module._ENDS_PIECE}]")
    after = ["a", "\u0301", "\u0338", "!", "字", "[", "SEP]", "\u1161", "\u3099", "\u05b0", "\u200d", " "]
    last = [one for one in EVERY_CHARACTER if ends.match(one)]
    last = [one for one in last if not "\u4e00" < one < "\u9fff" or ord(one) % 97 == 0]  # alike by their kind
    for one in last:
        texts = [before + one + following for before in ("", "a", "[") for following in after]
        firsts = [before + one for before in ("", "a", "[") for _ in after]
        for text, first, following in zip(ids(texts), ids(firsts), ids(after * 3), strict=True):
            assert text == first + following, hex(ord(one))


def test_normalising_words_again_changes_nothing(encoder):
    normalise = encoder.tokenizer._tokenizer.normalizer.normalize_str
    for one in EVERY_CHARACTER:
        once = normalise(one)
        assert once in (one, "") or normalise(once).split() == once.split(), hex(ord(one))


def test_what_can_be_seen_leaves_a_token_and_what_cannot_leaves_none(encoder):
    """Except for marks that Unicode knows better by now than the tokenizer: accents and controls that it takes for
    letters it has not learned."""
    tokenizer = encoder.tokenizer._tokenizer
    words = {one for one in EVERY_CHARACTER if tokenizer.normalizer.normalize_str(one).strip()}
    seen = {one for one in EVERY_CHARACTER if visible(one)}
    assert seen <= words
    assert {unicodedata.category(one) for one in words - seen} <= {"Mn", "Cf"}


def test_a_character_comes_to_few_tokens(encoder):
    decomposed = [one for one in EVERY_CHARACTER if len(unicodedata.normalize("NFKD", one)) > 2 or one == "a"]
    assert max(map(len, encoder.tokenizer._ids(decomposed))) <= MAX_TOKENS_PER_CHAR
    readable = [
        encoder.tokenizer.readable(one) for one in EVERY_CHARACTER if one not in encoder.tokenizer.readable(one)
    ]
    assert len(readable) > 2_000
    assert max(map(len, encoder.tokenizer._ids(readable))) <= MAX_TOKENS_PER_CHAR


@pytest.mark.parametrize(
    ("styled", "plain"),
    [
        ("𝓻𝓾𝓼𝓽𝓲𝓬 𝔟𝔞𝔯𝔫", "rustic barn"),
        ("the ﬁnest ﬂowers, oﬃce", "the finest flowers, office"),
        ("ＲＵＳＴＩＣ barn １２", "RUSTIC barn 12"),
        ("ｶﾞｰﾃﾞﾝ", "ガーデン"),
        ("ﺣﺪﻳﻘﺔ", "حديقة"),
    ],
)
def test_styled_letters_are_read_as_plain_ones(encoder, styled, plain):
    assert encoder.tokenize(styled).ids.tolist() == encoder.tokenize(plain).ids.tolist()


def test_what_the_vocabulary_knows_is_read_as_the_original_model_reads_it(encoder):
    for text in (
        "a barn… and a loft",
        "Sony™",
        "room for 2½",
        "300 m²",
        "№ 7",
        "！（）",
        "ℓ ℝ",
        "naïve café",
        "δούλος",
    ):
        assert encoder.tokenizer.readable(text) == text


def test_another_kind_of_tokenizer_is_refused(bundle_path, tmp_path):
    other = HuggingFaceTokenizer.from_file(str(bundle_path / "tokenizer.json"))
    other.pre_tokenizer = Whitespace()
    other.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="this server knows BERT's rules"):
        Tokenizer(tmp_path / "tokenizer.json", max_tokens=256)
