"""The user vector Σ wᵢ·eᵢ / Σ wᵢ with wᵢ = strengthᵢ·exp(−λ·age_daysᵢ), kept as two sums.

"Now" cancels out of the quotient, so ages may be measured back from any reference time. The sums are kept at the time
of the latest event that has a strength: every factor is then at most 1 (nothing overflows), and that event alone weighs
at least 1 (the sum of weights never underflows). An event that is taken back leaves the reference where it was, as long
as what remains still weighs at least 1. A new event costs the same however long the history is, and the order
in which events arrive does not matter.

Times are integer microseconds since 1970, UTC.
"""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.actions import MICROSECONDS_PER_DAY

# Below this length the weighted mean of unit vectors is rounding noise: opposite tastes have cancelled out, and there
# is no direction to tell. Rounding of a 100,000-event sum stays under 1e-11.
_NO_DIRECTION = 1e-9

_HEADER = struct.Struct("<qd")  # reference time, Σ weights


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Σ wᵢ·eᵢ (float64 [384]) and Σ wᵢ, with ages measured back from `reference_us`."""

    reference_us: int
    weight: float
    weighted: NDArray[np.float64]

    def encode(self) -> bytes:
        """8 bytes of time, 8 of weight, 8 for each dimension, little-endian: 3,088 bytes for 384 dimensions."""
        return _HEADER.pack(self.reference_us, self.weight) + self.weighted.astype("<f8", copy=False).tobytes()

    @classmethod
    def decode(cls, data: bytes, dimensions: int) -> "Sums":
        """Inverse of encode. The length is the version of the layout: ValueError for any other."""
        expected = _HEADER.size + 8 * dimensions
        if len(data) != expected:
            raise ValueError(
                f"stored sums have {len(data)} bytes, {dimensions} dimensions take {expected}; rebuild them"
            )
        reference_us, weight = _HEADER.unpack_from(data)
        return cls(reference_us, weight, np.frombuffer(data, "<f8", offset=_HEADER.size))


def decay(age_us: int, decay_per_day: float) -> float:
    """exp(−λ·age_days), for an age of zero or more."""
    return math.exp(-decay_per_day * (age_us / MICROSECONDS_PER_DAY))


def add(
    sums: Sums | None, strength: int, embedding: NDArray[np.float32], time_us: int, *, decay_per_day: float
) -> Sums | None:
    """The sums with one more event, `embedding` float32 [384]. `None` stands for no event with a strength yet."""
    if strength == 0:
        return sums
    if sums is None:
        return Sums(time_us, float(strength), np.multiply(embedding, strength, dtype=np.float64))
    if time_us <= sums.reference_us:
        weight = strength * decay(sums.reference_us - time_us, decay_per_day)
        added = np.multiply(embedding, weight, dtype=np.float64)
        return Sums(sums.reference_us, sums.weight + weight, sums.weighted + added)
    kept = decay(time_us - sums.reference_us, decay_per_day)
    added = np.multiply(embedding, strength, dtype=np.float64)
    return Sums(time_us, kept * sums.weight + strength, kept * sums.weighted + added)


def merged(one: Sums | None, other: Sums | None, *, decay_per_day: float) -> Sums | None:
    """The sums of two histories together."""
    if one is None or other is None:
        return one or other
    later, earlier = (one, other) if one.reference_us >= other.reference_us else (other, one)
    kept = decay(later.reference_us - earlier.reference_us, decay_per_day)
    weighted = later.weighted + kept * earlier.weighted
    return Sums(later.reference_us, later.weight + kept * earlier.weight, weighted)


def remove(
    sums: Sums, strength: int, embedding: NDArray[np.float32], time_us: int, *, decay_per_day: float
) -> Sums | None:
    """The sums without one event that is in them; None where too little would remain, so that its rounding would tell:
    compute them from the log."""
    if strength == 0:
        return sums
    if time_us > sums.reference_us:  # by a clock that was wrong: what it weighs in the sums cannot be told
        return None
    weight = strength * decay(sums.reference_us - time_us, decay_per_day)
    if sums.weight - weight < 1:
        return None
    return Sums(sums.reference_us, sums.weight - weight, sums.weighted - weight * embedding.astype(np.float64))


def from_log(
    strengths: NDArray[np.int64],
    times_us: NDArray[np.int64],
    rows: NDArray[np.int64],
    embeddings: Iterable[NDArray[np.float32]],
    *,
    decay_per_day: float,
) -> Sums | None:
    """The sums of a whole history at once; None when no event has a strength.

    strengths, times_us, rows: [events]; rows[i] is the row of event i's content in the matrix that the chunks
    `embeddings` (float32 [k, 384] each) make when stacked. Chunks are taken one at a time, so a history of any length
    needs memory for one of them.
    """
    counted = strengths > 0
    if not counted.any():
        return None
    strengths, times_us, rows = strengths[counted], times_us[counted], rows[counted]
    reference_us = int(times_us.max())
    weights = strengths * np.exp(-decay_per_day * ((reference_us - times_us) / MICROSECONDS_PER_DAY))  # [events]
    weight_of_row = np.bincount(rows, weights).astype(np.float64, copy=False)  # [last row + 1]
    weighted: NDArray[np.float64] | None = None
    start = 0
    for chunk in embeddings:
        chunk_weights = weight_of_row[start : start + len(chunk)]
        start += len(chunk)
        part = chunk_weights @ chunk[: len(chunk_weights)].astype(np.float64)  # [384]
        weighted = part if weighted is None else weighted + part
    if weighted is None or start < len(weight_of_row):
        raise ValueError(f"the history names row {len(weight_of_row) - 1} of a matrix of {start} rows")
    return Sums(reference_us, float(weights.sum()), weighted)


def unit_vector(sums: Sums | None) -> NDArray[np.float32] | None:
    """The L2-normalised user vector, float32 [384]; None without usable history or where tastes cancel out."""
    if sums is None:
        return None
    mean = sums.weighted / sums.weight
    length = float(np.linalg.norm(mean))
    if length < _NO_DIRECTION:
        return None
    return (mean / length).astype(np.float32)
