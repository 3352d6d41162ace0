"""Low-bit codes of what vectors differ from the centres of their clusters by, from which cosines are estimated.

Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
Neighbor Search", SIGMOD 2024, arXiv 2405.12497. Vectors are turned by a random rotation R. Of x with the centre c, the
signs s = ±1 of r = R·x − R·c are kept. With q the query, ‖r‖² ⟨R·q − R·c, s⟩ / ⟨r, s⟩ is an unbiased estimate of
⟨R·q − R·c, r⟩ over the choice of R, so ⟨q, x⟩ is about

    ⟨q, c⟩ + factor · ⟨R·q, s⟩ + offset,   factor = ‖r‖² / ⟨r, s⟩,   offset = ⟨R·c, r⟩ − factor · ⟨R·c, s⟩

where only the product with the signs depends on both query and row. It is off by a share of ‖r‖ · ‖q − c‖: near a
centre by half of what codes of x itself are off by. Those are the case c = 0.

With a second bit a component is one of −3, −1, 1, 3 instead of ±1, and the estimate half as far off (Gao and others,
"Practical and asymptotically optimal quantization of high-dimensional vectors in Euclidean space for approximate
nearest neighbor search", SIGMOD 2025, arXiv 2409.09913).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Halves = NDArray[np.float16]

FINER_BYTES = 4  # of a row beside its second bits: factor and offset of both bits

# Between the numbers that two bits stand for, in standard deviations of a component: it leaves the least error of a
# normal distribution (Max, "Quantizing for minimum distortion", 1960, table II).
_LEVEL_STEP = 0.9957
# Of the components of a random rotation, and of what such numbers of them leave out: the share of the square.
_ONE_BIT_ERROR = 1 - 2 / math.pi
_TWO_BITS_ERROR = 0.1175
_TWO_BITS_SQUARE = 1 + 8 * 0.3194  # of a number, on average

# Standard deviations that a score is taken to be off by at most: 95 % of the rows are closer to their estimate.
_DEVIATIONS = 2.0


class Codes(NamedTuple):
    """Of n rows: `signs`, packed, uint8 [n, dimensions / 8], with `factors` and `offsets` [n]; `finer`, uint8
    [n, dimensions / 8 + FINER_BYTES]: second bits, with the factor and the offset of both."""

    signs: NDArray[np.uint8]
    factors: Halves
    offsets: Halves
    finer: NDArray[np.uint8]


def encode(rotated: Vectors, centres: Vectors) -> Codes:
    """Of vectors [n, dimensions] and the centre of each, both rotated."""
    left = rotated - centres
    squares = np.einsum("nd,nd->n", left, left)
    along = np.einsum("nd,nd->n", left, centres)
    far = np.abs(left) > np.sqrt(squares)[:, np.newaxis] * np.float32(_LEVEL_STEP / math.sqrt(left.shape[1]))
    positive = left > 0

    def line(numbers: Vectors) -> tuple[Halves, Halves]:
        products = np.einsum("nd,nd->n", numbers, left)
        factors = np.divide(squares, products, out=np.zeros_like(squares), where=products > 0).astype(np.float16)
        return factors, (along - factors * np.einsum("nd,nd->n", numbers, centres)).astype(np.float16)

    signs = np.where(positive, np.float32(1), np.float32(-1))
    first, both = line(signs), line(signs * np.where(far, np.float32(3), np.float32(1)))
    second = np.packbits(positive == far, axis=1)
    return Codes(
        np.packbits(positive, axis=1), *first, np.concatenate([second, np.stack(both, axis=1).view(np.uint8)], axis=1)
    )


def finer_parts(finer: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Vectors, Vectors]:
    """Second bits, factors and offsets of both bits: see `Codes.finer`."""
    numbers = np.ascontiguousarray(finer[:, -FINER_BYTES:]).view(np.float16).astype(np.float32)
    return np.ascontiguousarray(finer[:, :-FINER_BYTES]), numbers[:, 0], numbers[:, 1]


def one_bit_errors(factors: Vectors, distances: Vectors, dimensions: int) -> Vectors:
    """Two standard deviations of estimates. distances: of the query from each row's centre."""
    return _errors(_ONE_BIT_ERROR, factors, distances, dimensions)


def two_bits_errors(factors: Vectors, distances: Vectors, dimensions: int) -> Vectors:
    """As `one_bit_errors`."""
    return _errors(_TWO_BITS_ERROR * _TWO_BITS_SQUARE, factors, distances, dimensions)


def _errors(share: float, factors: Vectors, distances: Vectors, dimensions: int) -> Vectors:
    """From ‖r‖², which is nearly the same multiple of the squared factor for all rows, the part that is left out."""
    found: Vectors = factors * distances * np.float32(_DEVIATIONS * math.sqrt(share * dimensions / (dimensions - 1)))
    return found
