import numpy as np
import pytest

from bench.roofline import EncoderShape, encoder_flops, roofline_ms, sgemm_flops_per_s

MINILM_A_TOKEN = 21_233_664  # 6 layers x (8 x 384^2 + 4 x 384 x 1536)


def products(tokens, shape):
    """Every matrix product of one forward pass, as (m, k, n), head by head."""
    heads, width = 12, shape.hidden // 12
    for _ in range(shape.layers):
        yield from [(tokens, shape.hidden, shape.hidden)] * 4
        yield from [(tokens, width, tokens), (tokens, tokens, width)] * heads
        yield (tokens, shape.hidden, shape.feed_forward)
        yield (tokens, shape.feed_forward, shape.hidden)


@pytest.mark.parametrize("tokens", [1, 16, 32, 256])
def test_the_roofline_counts_every_matrix_product_of_the_model(tokens):
    shape = EncoderShape()
    assert encoder_flops(tokens) == sum(2 * m * k * n for m, k, n in products(tokens, shape))
    assert encoder_flops(tokens) == MINILM_A_TOKEN * tokens + 9216 * tokens**2


def test_the_roofline_depends_on_the_encoder_shape():
    assert encoder_flops(8, EncoderShape(layers=12)) == 2 * encoder_flops(8)


def test_roofline_is_flops_over_rate():
    assert roofline_ms(32, encoder_flops(32) * 100.0) == pytest.approx(10.0)


def test_the_matrix_product_rate_is_plausible():
    rate = sgemm_flops_per_s()
    assert np.isfinite(rate)
    assert 1e8 < rate < 1e14
