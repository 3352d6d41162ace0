"""One query's scores of rows from their codes."""

import math
from typing import Any

import numpy as np
import simsimd
from numpy.typing import NDArray

from runtime.catalog.clusters import Clusters
from runtime.catalog.codes import finer_parts, one_bit_errors, two_bits_errors

# The query is kept to so many bits a dimension: five or six found no more by one bit of the rows (docs/decisions/021),
# and six missed half as many by two (docs/decisions/027).
_QUERY_BITS, _CLOSER_QUERY_BITS = 4, 6

# Rows that are estimated by both bits, and of these those that are scored exactly: measured on a million, they held
# over 99 % of the ten nearest, also where what is nearest is hardly nearer than the rest (docs/decisions/021); and of
# codes by clusters, which are half as far off (docs/decisions/027).
MOST_ESTIMATED, MOST_RESCORED = 2_560, 640
MOST_ESTIMATED_BY_CLUSTERS, MOST_RESCORED_BY_CLUSTERS = 1_024, 256

# By which a product with the signs may differ from what the query's signs alone say, in standard deviations.
_ROUGH_DEVIATIONS = 2.5

_NEAR = 16  # where one row in so many is read, all are


class BinaryScan:
    """See `Scan` and `Estimates`.

    The rotated query is 15 steps of equal size wide, so it is a weighted sum of four vectors of ±1, and its product
    with a row's signs a sum of four Hamming distances. The last of these vectors is the query's signs: the distance to
    them alone gives the angle (Charikar, "Similarity estimation techniques from rounding algorithms", 2002), whose
    cosine is nearly a multiple of the product.
    """

    most_rescored = MOST_ESTIMATED
    most_exact = MOST_RESCORED

    def __init__(
        self,
        codes: NDArray[np.uint8],
        factors: NDArray[np.float16],
        offsets: NDArray[np.float16],
        clusters: Clusters,
        rotated: NDArray[np.float32],
    ) -> None:
        """codes, factors, offsets: by row; relative to the centre of the row's cluster. rotated: the query."""
        self._codes, self._factors, self._offsets, self._clusters = codes, factors, offsets, clusters
        if clusters.finished:
            self.most_rescored, self.most_exact = MOST_ESTIMATED_BY_CLUSTERS, MOST_RESCORED_BY_CLUSTERS
        self._dimensions = len(rotated)
        self._rotated = rotated
        self._meet_clusters()
        self._query, self._closer_query = (_Query(rotated, bits) for bits in (_QUERY_BITS, _CLOSER_QUERY_BITS))
        self._largest = float(np.abs(rotated).sum())  # product with signs
        left_out = math.sqrt(max(float(rotated @ rotated) - self._largest**2 / self._dimensions, 0))
        self._rough_error = np.float32(_ROUGH_DEVIATIONS * left_out)
        self._scratch = codes[:0]

    @property
    def estimates(self) -> "BinaryScan":
        """See `Scan`."""
        return self

    def scores(self, start: int, stop: int) -> NDArray[np.float32]:
        """See `Scan`."""
        rows = slice(start, stop)
        return self._cosines(self._query.products(self._codes[rows]), rows)

    def scores_of(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """See `Estimates`."""
        return self._cosines(self._query.products(of_rows(self._codes, rows)), rows)

    def at_most(self, start: int, stop: int) -> NDArray[np.float32]:
        """See `Estimates`."""
        return self._at_most(slice(start, stop))

    def possible(self, rows: NDArray[np.intp] | slice, least: np.float32) -> NDArray[np.bool_] | None:
        """See `Estimates`."""
        found: NDArray[np.bool_] = self._at_most(rows) > least
        return found

    def closer(
        self, rows: NDArray[np.intp], finer: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Estimates`."""
        second, factors, offsets = finer_parts(finer)
        clusters = self._clusters.numbers[rows]
        products = self._closer_query.products
        scores = 2 * products(of_rows(self._codes, rows)) + products(second)
        scores *= factors
        scores += offsets
        scores += self._of_centres_now()[clusters]
        return scores, two_bits_errors(factors, self._distances[clusters], self._dimensions)

    def errors(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        """See `Scan`."""
        self._of_centres_now()
        distances = self._distances[self._clusters.numbers[rows]]
        return one_bit_errors(self._factors[rows].astype(np.float32), distances, self._dimensions)

    def _at_most(self, rows: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        codes = self._brought_near(rows)
        if not len(codes):
            return np.empty(0, np.float32)
        found = _hamming(self._query.planes[-1:], codes)[0]
        found *= np.float32(math.pi / self._dimensions)  # the angle
        np.cos(found, out=found)
        found *= np.float32(self._largest)
        found += self._rough_error
        return self._cosines(found, rows)

    def _cosines(self, products: NDArray[np.float32], rows: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        """From the products with the signs of these rows, in place."""
        products *= _some(self._factors, rows)
        of_centres = self._of_centres_now()
        if len(of_centres) > 1:
            products += _some(self._offsets, rows)
            products += np.take(of_centres, _some(self._clusters.numbers, rows))
        return products

    def _of_centres_now(self) -> NDArray[np.float32]:
        """The products of the query with the centres of clusters, which may be made during a scan."""
        if self._centres is not self._clusters.centres:
            self._meet_clusters()
        return self._of_centres

    def _meet_clusters(self) -> None:
        self._centres = self._clusters.centres
        self._of_centres = self._centres @ self._rotated
        squares = self._clusters.squares + self._rotated @ self._rotated
        self._distances = np.sqrt(np.maximum(squares - 2 * self._of_centres, 0))

    def _brought_near(self, rows: NDArray[np.intp] | slice) -> NDArray[np.uint8]:
        """The codes of rows, where the next pass finds them quickly."""
        if isinstance(rows, slice):
            codes = self._codes[rows]
            if len(codes):
                codes.max()  # the kernel alone waits for the memory (6 of 21 ms for a million rows)
            return codes
        if not len(rows):
            return self._codes[:0]
        between = self._codes[rows[0] : rows[-1] + 1]
        if len(between) < _NEAR * len(rows):
            between.max()  # one by one they take three times as long
        if len(self._scratch) < len(rows):  # the system makes each large array of new pages, which takes its time
            self._scratch = np.empty((len(rows), self._codes.shape[1]), np.uint8)
        return np.take(self._codes, rows, axis=0, out=self._scratch[: len(rows)], mode="clip")  # else a copy more


class _Query:
    """A rotated query in steps of equal size, 2 ** bits of them with both ends: `planes` of ±1, from the least to the
    signs, packed."""

    def __init__(self, rotated: NDArray[np.float32], bits: int) -> None:
        largest = float(np.abs(rotated).max()) or 1.0
        self._steps, self._dimensions = 2**bits - 1, len(rotated)
        level = np.rint((rotated / largest + 1) * (self._steps / 2)).astype(np.uint8)  # 0 to steps
        self.planes = np.packbits(level >> np.arange(bits, dtype=np.uint8)[:, np.newaxis] & 1, axis=1)
        self._weights: NDArray[np.float32] = (2.0 ** np.arange(bits)).astype(np.float32)
        self._step = np.float32(largest / self._steps)

    def products(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """With vectors of ±1, packed [n, dimensions / 8]: [n]."""
        if not len(codes):
            return np.empty(0, np.float32)
        products: NDArray[np.float32] = self._weights @ _hamming(self.planes, codes)
        products *= np.float32(-2)
        products += np.float32(self._steps * self._dimensions)
        products *= self._step
        return products


def of_rows(codes: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    """A copy. `codes[rows]` takes 16 times as long of many rows: 5.9 ms for 100,000 of a million."""
    found: NDArray[np.uint8] = np.take(codes, rows, axis=0)
    return found


def _some(values: NDArray[Any], rows: NDArray[np.intp] | slice) -> NDArray[Any]:
    found: NDArray[Any] = values[rows] if isinstance(rows, slice) else np.take(values, rows)
    return found


def _hamming(planes: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Hamming distances [planes, n]. Not with `out`, see vector_matrix."""
    return np.asarray(simsimd.cdist(planes, codes, "hamming", dtype="bin8", out_dtype="float32"))
