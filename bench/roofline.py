"""The fp32 roofline: how fast one core could embed a text in float32 if it did nothing but the matrix products."""

import time
from dataclasses import dataclass

import numpy as np

SGEMM_SHAPES = ((512, 512, 512), (768, 768, 768), (1024, 1024, 1024), (1024, 384, 1536))  # (m, k, n)
SGEMM_TRIES = 3


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of a BERT encoder that its arithmetic depends on; the defaults are all-MiniLM-L6-v2's config."""

    layers: int = 6
    hidden: int = 384
    feed_forward: int = 1536


def encoder_flops(tokens: int, shape: EncoderShape | None = None) -> int:
    """Floating-point operations of the matrix products for one text of `tokens` (a multiply-add counts as two).

    Per layer and token: four hidden x hidden projections (query, key, value, output), two hidden x feed_forward
    products, and two attention products over all `tokens` (Vaswani et al. 2017, section 3). Softmax, GELU, layer
    norm, pooling and the embedding lookup are left out: no float32 implementation can be faster.
    """
    shape = shape or EncoderShape()
    projections = 4 * 2 * shape.hidden**2
    feed_forward = 2 * 2 * shape.hidden * shape.feed_forward
    attention = 2 * 2 * tokens * shape.hidden
    return shape.layers * tokens * (projections + feed_forward + attention)


def sgemm_flops_per_s() -> float:
    """Best rate of numpy's float32 matrix product over a few large shapes, now, on this core.

    The caller pins the process to one core and sets OPENBLAS_NUM_THREADS=1 before numpy is imported.
    """
    best = 0.0
    for m, k, n in SGEMM_SHAPES:
        left, right = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
        out = np.empty((m, n), np.float32)
        for _ in range(SGEMM_TRIES):
            start = time.perf_counter()
            np.matmul(left, right, out=out)
            best = max(best, 2 * m * k * n / (time.perf_counter() - start))
    return best


def roofline_ms(tokens: int, flops_per_s: float) -> float:
    """Milliseconds that `encoder_flops(tokens)` take at that rate."""
    return encoder_flops(tokens) / flops_per_s * 1e3
