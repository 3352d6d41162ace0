"""How a taste moved: the user vector as it was at the end of each week, and what its neighbourhood is called."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization import user_vector
from runtime.personalization.actions import MICROSECONDS_PER_DAY
from runtime.personalization.user_vector import Sums

WEEK_US = 7 * MICROSECONDS_PER_DAY


class Weeks:
    """The user vector at `ends_us`, a week apart, the last of them `now_us`; fed with the history in any order.

    Holds one pair of sums a week, however long the history is.
    """

    def __init__(self, now_us: int, weeks: int, *, decay_per_day: float) -> None:
        self.ends_us = [now_us - back * WEEK_US for back in reversed(range(weeks))]
        self.interactions = [0] * weeks  # in the week before each end; in the first one's place all before it
        self._sums: list[Sums | None] = [None] * weeks
        self._decay_per_day = decay_per_day

    def add(self, strengths: NDArray[np.int64], times_us: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Some interactions: strengths [n], embeddings [n, d]. One after `now_us`, by a clock that is
        ahead, counts as of now."""
        times = np.minimum(np.array(times_us, np.int64), self.ends_us[-1])
        weeks = np.searchsorted(self.ends_us, times)  # of the first end that is not before the time
        for week in sorted(set(weeks.tolist())):
            its = weeks == week
            count = int(its.sum())
            self.interactions[week] += count
            its_sums = user_vector.from_log(
                strengths[its], times[its], np.arange(count), [embeddings[its]], decay_per_day=self._decay_per_day
            )
            self._sums[week] = user_vector.merged(self._sums[week], its_sums, decay_per_day=self._decay_per_day)

    def vectors(self) -> list[NDArray[np.float32] | None]:
        """At each end the unit vector [d] of all before it; None where there was no direction yet."""
        until: Sums | None = None
        vectors = []
        for sums in self._sums:
            until = user_vector.merged(until, sums, decay_per_day=self._decay_per_day)
            vectors.append(user_vector.unit_vector(until))
        return vectors


class Named(NamedTuple):
    """`share`: of the items' weights, the part that is on items with this name."""

    name: str
    items: int
    share: float


def _caseless(name: str) -> str:
    return " ".join(name.casefold().split())


def prevalent(
    items: Iterable[tuple[Sequence[str], float]], k: int, *, key: Callable[[str], str] = _caseless
) -> list[Named]:
    """The k names with most weight among items given as (names, weight ≥ 0). Names with the same `key`
    are one, those without one are none; a name is written as it is found first, and equals stay in that order."""
    total = 0.0
    written: dict[str, str] = {}
    counts: dict[str, int] = {}
    weights: dict[str, float] = {}
    for names, weight in items:
        total += weight
        its: dict[str, str] = {}
        for name in names:
            its.setdefault(key(name), name.strip())
        its.pop("", None)
        for one, name in its.items():
            written.setdefault(one, name)
            counts[one] = counts.get(one, 0) + 1
            weights[one] = weights.get(one, 0.0) + weight
    best = sorted(weights, key=lambda one: -weights[one])[:k]
    return [Named(written[one], counts[one], weights[one] / total if total else 0.0) for one in best]
