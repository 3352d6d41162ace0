"""How often everybody engaged with an item lately: exponentially decayed counts, one a half-life.

A count is Σ 2^(−ageᵢ / half-life) over the item's engaged events (views, saves, shares; skips count nothing). What is
kept is its logarithm at a fixed origin, log Σ exp(tᵢ / τ) with τ = half-life / ln 2: the time of reading cancels out,
so a new event costs the same whatever happened before, events may arrive in any order, and nothing has to be decayed
while nothing happens. The float64 logarithm neither overflows nor loses an hour's half-life after decades.

Times are integer microseconds since 1970, UTC.
"""

import math

import numpy as np
from numpy.typing import NDArray

# An hour to a year. Measured on four public logs (docs/decisions/017): three of them lose, five gain nothing.
HALF_LIVES_HOURS = (1.0, 24.0, 720.0, 8760.0)

# Of one item's counts: what is kept beside its vector.
COUNT_BYTES = 8 * len(HALF_LIVES_HOURS)

_HOUR_US = 3_600_000_000
_TAU_US = np.array(HALF_LIVES_HOURS) * (_HOUR_US / math.log(2))

# Where less than this share of a count is left without an event, what is left is rounding of the logarithm.
_RESIDUE = 1e-6
_MOST_EVENTS = math.log(1e9)  # of one item
_LARGEST = 80.0  # of an exponent: what is far in the future stays finite, as float32 too

Counts = NDArray[np.float64]  # [..., half-lives], logarithms; −inf for no event


def no_counts(items: int) -> Counts:
    """Of items that nobody has engaged with: float64 [items, half-lives]."""
    return np.full((items, len(HALF_LIVES_HOURS)), -np.inf)


def add(counts: Counts, time_us: int) -> Counts:
    """An item's counts [half-lives] with one more event."""
    added: Counts = np.logaddexp(counts, time_us / _TAU_US)
    return added


def add_all(counts: Counts, rows: NDArray[np.integer], times_us: NDArray[np.int64]) -> None:
    """Add events in place, in their order: event i to row rows[i] of `counts` [items, half-lives]."""
    np.logaddexp.at(counts, rows, times_us[:, np.newaxis] / _TAU_US)


def remove(counts: Counts, time_us: int) -> Counts | None:
    """An item's counts [half-lives] without an event that is in them; None where too little would remain, so that its
    rounding would tell: compute them from the log."""
    left = 1.0 - np.exp((time_us / _TAU_US - counts).clip(max=0.0))
    if (left < _RESIDUE).any():
        return None
    remaining: Counts = counts + np.log(left)
    return remaining


def until(counts: Counts, latest_us: int) -> Counts:
    """An item's counts [half-lives] as they are; those that hold an event later than `latest_us`, which only a clock
    that was wrong can have written, become those of one event at that time."""
    if counts[0] <= latest_us / _TAU_US[0] + _MOST_EVENTS:
        return counts
    latest: Counts = latest_us / _TAU_US
    return latest


def from_log(times_us: NDArray[np.int64]) -> Counts:
    """An item's counts [half-lives] from its engaged events, in the order they came."""
    counts = no_counts(1)
    add_all(counts, np.zeros(len(times_us), np.intp), times_us)
    one: Counts = counts[0]
    return one


def decayed(counts: Counts, now_us: int) -> Counts:
    """The counts as of `now_us`, 0 and up, of the same shape. An event after it weighs more than 1."""
    values: Counts = np.exp((counts - now_us / _TAU_US).clip(max=_LARGEST))
    return values


def encode(counts: Counts) -> bytes:
    """An item's counts [half-lives] as little-endian float64."""
    return counts.astype("<f8", copy=False).tobytes()


def decode(data: bytes | None) -> Counts:
    """Inverse of encode; None stands for an item without events. Raises ValueError for another number of half-lives."""
    if data is None:
        return from_log(np.zeros(0, np.int64))
    if len(data) != COUNT_BYTES:
        raise ValueError(f"stored counts have {len(data)} bytes, {len(HALF_LIVES_HOURS)} half-lives take {COUNT_BYTES}")
    return np.frombuffer(data, "<f8").copy()
