"""The real model: sameness, truncation, sense."""

import numpy as np
import pytest

from runtime.models.bundle import Bundle
from runtime.models.text_encoder import load_encoder

TEXTS = [
    "a rustic barn with string lights",
    "x",
    "",
    "Grand ballroom, crystal chandeliers and a marble staircase. " * 8,
    "花嫁 💍 mariée — naïve café",
    "word " * 254,
    "word " * 255,
    "word " * 900,
]


@pytest.mark.parametrize("text", TEXTS)
def test_unit_vector_and_token_count(encoder, text):
    tokens = encoder.tokenize(text)
    vector = encoder.embed(tokens.ids)
    assert vector.shape == (384,)
    assert vector.dtype == np.float32
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-6
    assert tokens.ids[0] == 101
    assert tokens.ids[-1] == 102  # [CLS] … [SEP], also where the text was cut


@pytest.mark.parametrize(("words", "count", "kept"), [(254, 256, 256), (255, 257, 256), (900, 902, 256)])
def test_truncation_is_reported(encoder, words, count, kept):
    tokens = encoder.tokenize("word " * words)
    assert (tokens.count, tokens.ids.size, tokens.truncated) == (count, kept, count > kept)


def test_batch_tokenising_is_the_same(encoder):
    batch = [tokens for step in encoder.tokenizer.in_steps(TEXTS) for tokens in step]
    for one, batched in zip(map(encoder.tokenize, TEXTS), batch, strict=True):
        assert one.ids.tolist() == batched.ids.tolist()
        assert one.count == batched.count


def test_the_vector_is_the_same_every_time(encoder):
    for text in TEXTS:
        ids = encoder.tokenize(text).ids
        assert len({encoder.embed(ids).tobytes() for _ in range(3)}) == 1


def test_neighbours_in_meaning_are_neighbours_in_space(encoder):
    barn, hay, ballroom = (
        encoder.embed(encoder.tokenize(text).ids)
        for text in (
            "a rustic barn wedding",
            "country wedding on a farm with hay bales",
            "black-tie hotel ballroom gala",
        )
    )
    assert float(barn @ hay) > float(barn @ ballroom) + 0.1


def test_the_recorded_vectors_are_reproduced(encoder):
    result = encoder.self_test()
    assert result.texts >= 10
    assert result.min_cosine_to_recorded >= 0.9999
    assert result.mean_cosine_to_fp32 >= 0.998


def test_a_start_looks_at_the_shorter_of_the_recorded_texts(bundle_path):
    encoder, at_start = load_encoder(Bundle.load(bundle_path, kind="text-encoder"))
    assert 10 <= at_start.texts < encoder.self_test().texts
    assert at_start.mean_cosine_to_fp32 >= 0.998
