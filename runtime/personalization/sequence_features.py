"""What the sequence model reads of an event beside its content: written once, used by training and by serving.

Plain functions on parallel arrays of one log, sorted by user and then by time; `first` marks each user's first event.
Times are int64 microseconds since 1970, UTC: hour and weekday are UTC's too, because no event says where it was.
"""

import math
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

# Position is the code, as in the log's types: append, never reorder.
DEVICES = ("unknown", "phone", "tablet", "desktop", "other")
_WORDS = {
    "tablet": ("tablet", "ipad"),
    "phone": ("phone", "mobile", "android", "ios"),
    "desktop": ("desktop", "laptop", "web", "mac", "windows", "linux"),
}

# The name in an interaction's context under which clients send the days to the user's event. A bundle can name another.
DAYS_TO_EVENT_KEY = "days_to_wedding"
_LARGEST_DAYS = 36_500

# Columns of a query context: log gap, gap known, hour sin and cos, weekday sin and cos, log days to the event,
# known, past.
QUERY_CONTEXT = 9
# Columns of an event: a query context, log duration, duration known.
EVENT = QUERY_CONTEXT + 2

_US_PER_SECOND = 1_000_000
_US_PER_DAY = 86_400 * _US_PER_SECOND
# A logarithm of these is scaled to 1: a gap of 30 days, two years to the event, an hour of looking.
_LONG_GAP_S, _LONG_PLANNING_DAYS, _LONG_LOOK_MS = 30 * 86_400, 730, 3_600_000

Floats = NDArray[np.float32]
Times = NDArray[np.int64]


class Features(NamedTuple):
    """Of n events. `events` float32 [n, EVENT]: what is known of each once it has happened. `query_contexts` float32
    [n, QUERY_CONTEXT]: what was known just before it, when it had to be predicted."""

    events: Floats
    query_contexts: Floats


def device_code(device: str | None) -> int:
    """The code in DEVICES of a client's free text: the first kind whose word occurs in it, so that an iPad is a tablet
    and an unnamed Android a phone; else "other", and "unknown" for none."""
    lowered = (device or "").strip().lower()
    if not lowered:
        return DEVICES.index("unknown")
    for kind, words in _WORDS.items():
        if any(word in lowered for word in words):
            return DEVICES.index(kind)
    return DEVICES.index("other")


def days_to_event(context: bytes | None, key: str = DAYS_TO_EVENT_KEY) -> float:
    """The days to the user's event (a wedding, a move, a trip) that the context of an interaction, a JSON object, gives
    under `key`. NaN without one, where it is no number or more than a hundred years away, and where the context cannot
    be read: one event says nothing then, and the others are read."""
    if context is None:
        return math.nan
    try:
        days = msgspec.json.decode(context).get(key)
    except (AttributeError, ValueError, RecursionError):  # no object, no JSON, a number of thousands of digits
        return math.nan
    is_number = isinstance(days, int | float) and not isinstance(days, bool)
    return float(days) if is_number and abs(days) < _LARGEST_DAYS else math.nan


def features(time_us: Times, duration_ms: Floats, days_to_event: Floats, first: NDArray[np.bool_]) -> Features:
    """Features of a whole log, all arrays [n]; NaN stands for an unknown duration or number of days."""
    previous_us = np.where(first, -1, np.roll(time_us, 1))
    own = event_date_us(time_us, days_to_event, first)  # as known up to and with each interaction
    before = np.where(first, np.nan, np.roll(own, 1))
    looked = np.nan_to_num(duration_ms, nan=0.0).clip(0, None)
    known = ~np.isnan(duration_ms)
    duration = np.stack([np.log1p(looked) / np.log1p(_LONG_LOOK_MS), known], axis=1).astype(np.float32)  # [n, 2]
    return Features(
        np.concatenate([query_contexts(time_us, previous_us, own), duration], axis=1),
        query_contexts(time_us, previous_us, before),
    )


def query_contexts(time_us: Times, previous_us: Times, event_us: NDArray[np.float64]) -> Floats:
    """float32 [n, QUERY_CONTEXT] of n query contexts.

    previous_us [n]: the event before, −1 for none. event_us [n]: the user's event in microseconds, NaN unknown.
    """
    had = previous_us >= 0
    gap_s = np.where(had, (time_us - previous_us) / _US_PER_SECOND, 0.0).clip(0, None)
    day = 2 * np.pi * (time_us % _US_PER_DAY) / _US_PER_DAY
    week = 2 * np.pi * (time_us // _US_PER_DAY % 7) / 7
    known = ~np.isnan(event_us)
    days = np.where(known, (event_us - time_us) / _US_PER_DAY, 0.0)
    columns = [
        np.log1p(gap_s) / np.log1p(_LONG_GAP_S),
        had,
        np.sin(day),
        np.cos(day),
        np.sin(week),
        np.cos(week),
        np.log1p(days.clip(0, None)) / np.log1p(_LONG_PLANNING_DAYS),
        known,
        known & (days < 0),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def event_date_us(time_us: Times, days_to_event: Floats, first: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The date of each user's event as they last gave it, up to and with each interaction: float64 microseconds [n],
    NaN before they gave any."""
    n = len(time_us)
    index = np.arange(n)
    given = np.maximum.accumulate(np.where(np.isnan(days_to_event), -1, index)) if n else index
    start = np.maximum.accumulate(np.where(first, index, 0)) if n else index
    date = time_us + days_to_event.astype(np.float64) * _US_PER_DAY
    return np.where(given >= start, date[given.clip(0)], np.nan) if n else date


def seconds(time_us: Times, origin_us: int) -> NDArray[np.int32]:
    """Whole seconds since an origin, int32 [n]: exact in the graph for 68 years, where float32 would lose minutes."""
    since = (time_us - origin_us) // _US_PER_SECOND
    limits = np.iinfo(np.int32)
    return since.clip(limits.min, limits.max).astype(np.int32)


def id_weight(interactions: NDArray[np.int64], half: float) -> Floats:
    """w in (1 − w)·metadata + w·id-embedding, [n] → float32 [n]: n / (n + half).

    The design this came from has sigmoid(n / 100), which is 0.5 at n = 0: an item nobody has seen would be half noise.
    This is 0 there, one half at `half` interactions, and tends to 1.
    """
    counts = interactions.astype(np.float64)
    return (counts / (counts + half)).astype(np.float32)
