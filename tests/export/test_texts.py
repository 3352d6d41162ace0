"""The committed texts, truncation, and the similarity benchmark."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from export import stsb
from export.corpus import calibration_texts, held_out_texts
from export.source import find_source
from export.stsb import load_stsb, spearman
from export.tokens import MAX_TOKENS, load_tokenizer, token_ids


def test_no_held_out_text_was_used_for_calibration() -> None:
    assert not set(calibration_texts()) & set(held_out_texts())


@pytest.mark.parametrize("texts", [calibration_texts(), held_out_texts()], ids=["calibration", "held out"])
def test_texts_span_the_lengths_the_model_takes(texts: list[str]) -> None:
    tokenizer = load_tokenizer(find_source(None).folder / "tokenizer.json")
    lengths = [len(tokenizer.encode(text).ids) for text in texts]
    assert min(lengths) == 3
    assert max(lengths) > MAX_TOKENS
    assert sum(length >= 64 for length in lengths) >= 20


def test_a_long_text_keeps_its_start_and_its_closing_token() -> None:
    tokenizer = load_tokenizer(find_source(None).folder / "tokenizer.json")
    text = "barn " * 400
    whole = tokenizer.encode(text).ids
    assert len(whole) == 402
    assert token_ids(tokenizer, text)[0].tolist() == [*whole[:255], whole[-1]]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30))
def test_spearman_is_pearson_of_counted_ranks(pairs: list[tuple[int, int]]) -> None:
    a, b = np.asarray(pairs, float).T
    assume(len(set(a)) > 1 and len(set(b)) > 1)

    def rank(values: np.ndarray, x: float) -> float:  # 1 + how many are smaller + half of the others that tie
        return 1 + sum(values < x) + (sum(values == x) - 1) / 2

    ranks = [[rank(values, x) for x in values] for values in (a, b)]
    assert spearman(a, b) == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)


def test_stsb_is_none_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stsb, "PACKAGE", "no-such-benchmark")
    assert load_stsb("dev") is None


def test_stsb_dev_has_its_published_size() -> None:
    pairs = load_stsb("dev")
    if pairs is None:
        pytest.skip(f"STS-B is not installed: {stsb.INSTALL}")
    assert len(pairs.first) == len(pairs.second) == len(pairs.scores) == 1500
    assert (pairs.scores.min(), pairs.scores.max()) == (0, 5)
